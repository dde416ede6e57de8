//! The queue's bound, the order of lines, the end.

use std::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicU64, Ordering},
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn counters() -> (Counters, Arc<AtomicU64>) {
    let dropped = Arc::new(AtomicU64::new(0));
    (Counters { dropped: Counter::from_arc(Arc::clone(&dropped)), errors: Counter::noop() }, dropped)
}

/// A thread whose formatting waits until the door opens.
fn behind_a_door(counters: Counters) -> (Lines<u64>, Arc<(Mutex<bool>, Condvar)>) {
    let door = Arc::new((Mutex::new(false), Condvar::new()));
    let closed = Arc::clone(&door);
    let wait = move |_: &u64, _: &mut Vec<u8>| {
        let (open, changed) = &*closed;
        let open = open.lock().unwrap();
        drop(changed.wait_timeout_while(open, PATIENCE, |open| !*open).unwrap());
    };
    (Lines::start("test", Target::Off, counters, wait).unwrap(), door)
}

fn open(door: &(Mutex<bool>, Condvar)) {
    *door.0.lock().unwrap() = true;
    door.1.notify_all();
}

#[test]
fn a_full_queue_drops_and_counts_and_never_waits() {
    let (counters, dropped) = counters();
    let (lines, door) = behind_a_door(counters);
    let total = QUEUE_LINES as u64 + 100;
    (0..total).for_each(|line| lines.push(line));
    // One line may have been taken by the thread, which then waits.
    assert!((99..=100).contains(&dropped.load(Ordering::Relaxed)));
    assert!(!lines.flush(Duration::from_millis(1)), "the thread is held up");
    open(&door);
    assert!(lines.flush(PATIENCE));
    assert!(dropped.load(Ordering::Relaxed) <= 100);
}

#[test]
fn lines_keep_their_order_over_a_change_of_the_target() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let (counters, dropped) = counters();
    let format = |line: &u64, out: &mut Vec<u8>| out.extend_from_slice(format!("{line}\n").as_bytes());
    let lines = Lines::start("test", Target::file(&one), counters, format).unwrap();
    (0..1000).for_each(|line| lines.push(line));
    assert!(lines.change(Target::file(&two), PATIENCE));
    (1000..2000).for_each(|line| lines.push(line));
    assert!(lines.flush(PATIENCE));
    let read = |path| std::fs::read_to_string(path).unwrap().lines().map(|l| l.parse().unwrap()).collect::<Vec<u64>>();
    assert_eq!(read(&one), (0..1000).collect::<Vec<_>>());
    assert_eq!(read(&two), (1000..2000).collect::<Vec<_>>());
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
}

#[test]
fn a_flush_of_a_thread_that_is_held_up_ends_at_its_limit() {
    let (counters, _) = counters();
    let (lines, door) = behind_a_door(counters);
    lines.push(1);
    assert!(!lines.flush(Duration::from_millis(10)));
    open(&door);
    assert!(lines.flush(PATIENCE));
}
