//! How much a thread stands back behind those that serve.
//!
//! On Linux a nice value is one of a thread's own (setpriority(2), "C library/kernel differences"), and a thread begins with
//! that of the one that started it. Where there is a core for each thread, none of this changes anything.

/// For what changes the table, of which no request waits: a third of a worker's share of a core that both want.
pub const CONTROL: i32 = 5;
/// On top of it, for what nobody waits for: a tenth of that again.
pub const BACKGROUND: i32 = 10;

/// Has the calling thread stand back by so much more. Source: sched(7), nice values go to 19.
pub fn stand_back(by: i32) {
    if let Err(error) = rustix::process::nice(by) {
        tracing::debug!(%error, "a background thread has the priority of everything else");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stands_back_alone_and_what_it_starts_with_it() {
        let nice = || rustix::process::nice(0).unwrap();
        let before = nice();
        let inner = std::thread::spawn(move || {
            stand_back(CONTROL);
            (nice(), std::thread::spawn(nice).join().unwrap())
        });
        let (own, started) = inner.join().unwrap();
        assert_eq!((own, started), ((before + CONTROL).min(19), (before + CONTROL).min(19)));
        assert_eq!(nice(), before);
    }
}
