//! The line of the log before the process aborts.
//!
//! Not by the log: its queue and its thread are of the process that hangs. It is put together without taking memory, and
//! written straight to standard error, where that takes it at once; a standard error that nobody reads is no reason not to end.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::config::LogFormat;

/// One write of so many bytes to a pipe that is ready for writing does not wait (pipe(7), PIPE_BUF).
const LINE_BYTES: usize = 4096;
/// How long standard error may take to be ready.
const PATIENCE: Duration = Duration::from_millis(200);

/// Says that the process aborts because of `what`, one of `all` things that hang.
pub(super) fn say(format: LogFormat, what: &impl fmt::Display, all: usize) {
    let mut line = Line { bytes: [0; LINE_BYTES], length: 0 };
    // ignored: of a line that is too long the beginning is written
    let _ = line.put(format, what, all);
    let stderr = std::io::stderr();
    let patience = Timespec { tv_sec: 0, tv_nsec: i64::from(PATIENCE.subsec_nanos()) };
    let ready = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&patience));
    if ready.is_ok_and(|ready| ready > 0) {
        // ignored: there is nobody left to tell
        let _ = rustix::io::write(&stderr, line.bytes.get(..line.length).unwrap_or_default());
    }
}

struct Line {
    bytes: [u8; LINE_BYTES],
    length: usize,
}

impl Line {
    /// Names of workers and listeners have nothing that JSON would have to escape (`config::keys`, `Kind::Name`).
    fn put(&mut self, format: LogFormat, what: &impl fmt::Display, all: usize) -> fmt::Result {
        let now = jiff::Timestamp::now();
        let target = module_path!();
        let more = all.saturating_sub(1);
        match format {
            LogFormat::Json => {
                write!(
                    self,
                    r#"{{"timestamp":"{now}","level":"ERROR","message":"aborting, to be started anew: {what}","#
                )?;
                writeln!(self, r#""hanging_besides":{more},"target":"{target}"}}"#)
            }
            LogFormat::Text => {
                writeln!(self, "{now} ERROR {target}: aborting, to be started anew: {what} hanging_besides={more}")
            }
        }
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.length..).and_then(|room| room.get_mut(..text.len())).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: LogFormat, what: &str) -> String {
        let mut line = Line { bytes: [0; LINE_BYTES], length: 0 };
        // ignored: a line too long is looked at below
        let _ = line.put(format, &what, 2);
        String::from_utf8(line.bytes[..line.length].to_vec()).unwrap()
    }

    #[test]
    fn it_is_a_line_of_the_log_in_either_form() {
        let json: serde_json::Value = serde_json::from_str(&line(LogFormat::Json, "worker-1 stands")).unwrap();
        assert_eq!(json["message"], "aborting, to be started anew: worker-1 stands");
        assert_eq!((json["level"].as_str(), json["hanging_besides"].as_u64()), (Some("ERROR"), Some(1)));
        let text = line(LogFormat::Text, "worker-1 stands");
        assert!(text.ends_with(": worker-1 stands hanging_besides=1\n") && text.contains(" ERROR "), "{text}");
    }

    #[test]
    fn of_a_line_that_is_too_long_the_beginning_is_there() {
        let text = line(LogFormat::Text, &"x".repeat(2 * LINE_BYTES));
        assert!(text.len() <= LINE_BYTES && text.contains("aborting, to be started anew: "), "{text}");
    }
}
