//! What a successor accepts while it proves itself comes back, and is served here.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Instant,
};

use super::{
    channel::{self, ChannelError},
    estate::TakeBack,
};

/// An address as it is displayed; a Unix socket's path is the longest.
const NAME_BYTES: usize = 512;

/// The thread that takes connections back, until the successor has closed its end, which its own end does, too.
#[derive(Debug)]
pub(super) struct Returns(JoinHandle<()>);

impl Returns {
    /// Starts it. Returns the end that the successor is to have. It ends at `deadline` at the latest.
    pub(super) fn start(take_back: Arc<TakeBack>, deadline: Instant) -> io::Result<(Self, OwnedFd)> {
        let (near, far) = channel::pair()?;
        let run = move || receive(&near, &*take_back, deadline);
        Ok((Self(thread::Builder::new().name("returns".into()).spawn(run)?), far))
    }

    /// Waits until all that was handed back has been taken.
    pub(super) fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the thread that takes connections back broke");
        }
    }
}

fn receive(near: &OwnedFd, take_back: &TakeBack, deadline: Instant) {
    let (mut taken, mut lost) = (0_u64, 0_u64);
    let mut name = [0; NAME_BYTES];
    loop {
        let (length, descriptors) = match channel::receive_packet(near.as_fd(), &mut name, deadline) {
            Ok(received) => received,
            Err(ChannelError::Closed) => break,
            Err(error) => {
                tracing::error!(%error, "no more connections are taken back from the successor");
                break;
            }
        };
        let name = String::from_utf8_lossy(name.get(..length).unwrap_or_default());
        for connection in descriptors {
            match take_back(connection, &name) {
                Ok(()) => taken += 1,
                Err(why) => {
                    tracing::warn!(listener = &*name, why, "a connection that came back was closed");
                    lost += 1;
                }
            }
        }
    }
    tracing::debug!(taken, lost, "connections that the successor had accepted were taken back");
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::net::UnixStream,
        sync::{Mutex, PoisonError},
        time::Duration,
    };

    use super::*;

    #[test]
    fn what_a_successor_has_handed_back_is_taken_although_it_died() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let take_back: Arc<TakeBack> = Arc::new(move |_, listener| {
            sink.lock().unwrap_or_else(PoisonError::into_inner).push(listener.to_owned());
            if listener == "gone" { Err("there is no such listener".into()) } else { Ok(()) }
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        let (returns, far) = Returns::start(take_back, deadline).unwrap();
        for name in ["one", "gone", "unix:/two"] {
            let (connection, _) = UnixStream::pair().unwrap();
            channel::send_packet(far.as_fd(), name.as_bytes(), &[connection.as_fd()], deadline).unwrap();
        }
        drop(far);
        returns.join();
        assert_eq!(*seen.lock().unwrap(), ["one", "gone", "unix:/two"]);
    }
}
