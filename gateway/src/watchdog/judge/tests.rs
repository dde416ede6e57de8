use super::*;

const BACK: Probed = Probed::Back;
const LATE: Probed = Probed::Silent(Why::NoAnswer);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A judge of one listener, at the usual pace: fresh within 750 ms, hung after 5 s.
fn judge() -> Judge {
    Judge::new(Pace::of(None), 1, Duration::ZERO)
}

/// Looks at `now`, with these workers and what became of the probe that began then.
fn look(judge: &mut Judge, now: u64, workers: &[Option<u64>], probed: Probed) -> Judgement {
    let workers: Vec<_> = workers.iter().map(|last| last.map(ms)).collect();
    judge.judge(Sight { now: ms(now), workers: &workers, listeners: &[(ms(now), probed)], draining: false })
}

fn faults(judgement: &Judgement) -> Vec<(Subject, u64)> {
    let since = |fault: &Fault| (fault.subject, u64::try_from(fault.since.as_millis()).unwrap());
    judgement.verdict.faults.iter().map(since).collect()
}

#[test]
fn a_worker_without_progress_is_not_fed_on_and_hangs_later() {
    let mut judge = judge();
    assert!(look(&mut judge, 1000, &[Some(900), Some(250)], BACK).well);
    let soon = look(&mut judge, 2000, &[Some(1900), Some(1000)], BACK);
    assert!(!soon.well && soon.verdict.is_good());
    let edge = look(&mut judge, 6000, &[Some(5900), Some(1000)], BACK);
    assert!(!edge.well && edge.verdict.is_good());
    let hung = look(&mut judge, 6001, &[Some(5900), Some(1000)], BACK);
    assert_eq!(faults(&hung), [(Subject::Worker(1), 1000)]);
    assert!(look(&mut judge, 7000, &[Some(6900), Some(6900)], BACK).well);
}

#[test]
fn a_worker_that_has_drained_is_no_worker() {
    let mut judge = judge();
    let judgement = look(&mut judge, 60_000, &[None, Some(59_900)], BACK);
    assert!(judgement.well && judgement.verdict.is_good());
}

#[test]
fn one_late_probe_is_not_fed_on_and_is_no_hang() {
    let mut judge = judge();
    assert!(look(&mut judge, 1000, &[], BACK).well);
    let slow = look(&mut judge, 2000, &[], LATE);
    assert!(!slow.well && slow.verdict.is_good());
    assert!(look(&mut judge, 3000, &[], BACK).well);
    // Nor is a second one, long after.
    let again = look(&mut judge, 30_000, &[], LATE);
    assert!(!again.well && again.verdict.is_good());
}

#[test]
fn a_listener_that_answers_no_probe_hangs_since_the_first_of_them() {
    let mut judge = judge();
    for now in [3000, 6000] {
        assert!(look(&mut judge, now, &[], LATE).verdict.is_good(), "{now}");
    }
    let hung = look(&mut judge, 9000, &[], Probed::Silent(Why::Broken));
    assert_eq!(faults(&hung), [(Subject::Listener(0), 3000)]);
    assert_eq!(hung.verdict.faults.first().map(|fault| fault.why), Some(Why::Broken), "why it fails now");
    assert_eq!(faults(&look(&mut judge, 12_000, &[], LATE)), [(Subject::Listener(0), 3000)]);
    assert!(look(&mut judge, 13_000, &[], BACK).well);
    assert!(look(&mut judge, 19_000, &[], LATE).verdict.is_good(), "it begins anew");
}

#[test]
fn a_single_probe_is_no_evidence_however_long_it_took() {
    let mut judge = judge();
    let sight = Sight { now: ms(9000), workers: &[], listeners: &[(ms(1000), LATE)], draining: false };
    assert!(judge.judge(sight).verdict.is_good());
}

#[test]
fn what_could_not_be_asked_is_said_and_held_against_nobody() {
    let mut judge = judge();
    for (now, doubt) in [(1000, Doubt::NoSocket), (9000, Doubt::NoSocket), (18_000, Doubt::Elsewhere)] {
        let doubtful = look(&mut judge, now, &[], Probed::Unknown(doubt));
        assert!(doubtful.well && doubtful.verdict.is_good());
        assert_eq!(doubtful.verdict.doubts, [(0, doubt)]);
    }
}

#[test]
fn in_a_drain_only_workers_are_judged() {
    let mut judge = judge();
    let drains = |now, workers: &[Option<Duration>], judge: &mut Judge| {
        let refused = Probed::Silent(Why::Refused);
        judge.judge(Sight { now: ms(now), workers, listeners: &[(ms(now), refused)], draining: true })
    };
    look(&mut judge, 1000, &[], LATE);
    for now in [4000, 8000, 12_000] {
        let judgement = drains(now, &[Some(ms(now)), None], &mut judge);
        assert!(judgement.well && judgement.verdict.is_good(), "{now}");
    }
    assert_eq!(faults(&drains(18_000, &[Some(ms(12_000))], &mut judge)), [(Subject::Worker(0), 12_000)]);
}

#[test]
fn after_the_whole_process_stood_still_nobody_is_blamed_for_it() {
    let mut judge = judge();
    assert!(look(&mut judge, 1000, &[Some(900)], BACK).well);
    judge.stood_still(ms(60_000));
    let awake = look(&mut judge, 60_000, &[Some(900)], LATE);
    assert!(!awake.well && awake.verdict.is_good());
    assert!(look(&mut judge, 65_000, &[Some(900)], BACK).verdict.is_good());
    let hung = look(&mut judge, 65_001, &[Some(900)], BACK);
    assert_eq!(faults(&hung), [(Subject::Worker(0), 60_000)], "time awake counts");
}
