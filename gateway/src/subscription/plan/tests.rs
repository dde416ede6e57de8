use routing_cache::{
    model::{Epoch, Generation},
    updater::{Rejection, Summary},
};

use super::*;

fn standing(position: Option<Position>) -> Standing {
    Standing { wants_answers: true, has_table: position.is_some(), position }
}

fn at(generation: u64) -> Position {
    Position { epoch: Epoch::new("e").unwrap(), generation: Generation(generation) }
}

fn published() -> Outcome {
    Outcome::Published(Summary::default())
}

/// A plan in the middle of a quiet day, with what it asks for.
fn following() -> (Plan, Ask) {
    let mut plan = Plan::default();
    let ask = plan.ask(&standing(Some(at(7))));
    assert_eq!(plan.judged(&ask, &published(), true), Pause::None);
    (plan, ask)
}

#[test]
fn without_a_position_a_snapshot_is_asked_for_and_changes_after_it() {
    let mut plan = Plan::default();
    assert_eq!(plan.ask(&standing(None)), Ask::Snapshot);
    assert_eq!(plan.judged(&Ask::Snapshot, &published(), true), Pause::None);
    assert_eq!(plan.ask(&standing(Some(at(7)))), Ask::Changes(at(7)));
}

#[test]
fn a_410_is_answered_by_a_snapshot_at_once_but_a_410_after_a_snapshot_is_a_failure() {
    let (mut plan, ask) = following();
    assert_eq!(plan.failed(&ask, &Failure::Gone), Pause::None);
    assert_eq!(plan.ask(&standing(Some(at(7)))), Ask::Snapshot);
    assert_eq!(plan.judged(&Ask::Snapshot, &published(), true), Pause::None);
    assert!(!plan.is_settled(), "the row of failures must go on growing");
    assert_eq!(plan.failed(&Ask::Changes(at(9)), &Failure::Gone), Pause::BackOff);
    assert_eq!(plan.ask(&standing(Some(at(9)))), Ask::Snapshot);
}

#[test]
fn a_digest_that_differs_is_answered_by_a_snapshot_but_after_a_snapshot_it_is_a_failure() {
    let (mut plan, ask) = following();
    let differs = || Outcome::NeedSnapshot("digest".into());
    assert_eq!(plan.judged(&ask, &differs(), true), Pause::None);
    assert_eq!(plan.judged(&Ask::Snapshot, &published(), true), Pause::None);
    assert_eq!(plan.judged(&ask, &differs(), true), Pause::BackOff);
}

#[test]
fn a_lagging_replica_is_waited_for() {
    let (mut plan, ask) = following();
    assert_eq!(plan.failed(&ask, &Failure::Ahead), Pause::BackOff);
    assert_eq!(plan.ask(&standing(Some(at(7)))), Ask::Changes(at(7)));
}

#[test]
fn an_answer_without_progress_is_backed_off() {
    let (mut plan, ask) = following();
    assert_eq!(plan.judged(&ask, &Outcome::Unchanged(Summary::default()), false), Pause::BackOff);
    assert_eq!(plan.judged(&ask, &Outcome::Rejected(Rejection::NotReady), true), Pause::BackOff);
}

#[test]
fn changes_that_stay_unusable_are_given_up_for_a_snapshot() {
    let (mut plan, ask) = following();
    for _ in 0..MAX_UNUSABLE_CHANGES {
        assert_eq!(plan.ask(&standing(Some(at(7)))), ask);
        assert_eq!(plan.failed(&ask, &Failure::CutShort(String::new())), Pause::BackOff);
    }
    assert_eq!(plan.ask(&standing(Some(at(7)))), Ask::Snapshot);
}

#[test]
fn changes_over_the_limit_are_given_up_for_a_snapshot() {
    let (mut plan, ask) = following();
    assert_eq!(plan.failed(&ask, &Failure::TooLarge { limit: 1 }), Pause::BackOff);
    assert_eq!(plan.ask(&standing(Some(at(7)))), Ask::Snapshot);
}

#[test]
fn retry_after_is_honoured() {
    let (mut plan, ask) = following();
    let delay = Duration::from_secs(7);
    assert_eq!(plan.failed(&ask, &Failure::RetryAfter(delay)), Pause::For(delay));
    assert_eq!(plan.failed(&Ask::Snapshot, &Failure::RetryAfter(delay)), Pause::For(delay));
}

#[test]
fn a_silent_or_broken_orchestrator_is_no_reason_for_a_snapshot() {
    for failure in [Failure::Unreachable(String::new()), Failure::Timeout("x"), Failure::Status(500)] {
        let (mut plan, ask) = following();
        assert_eq!(plan.failed(&ask, &failure), Pause::BackOff);
        assert_eq!(plan.ask(&standing(Some(at(7)))), ask, "{failure}");
    }
}

#[test]
fn what_is_refused_for_good_is_asked_for_again_only_when_there_is_something_else() {
    let (mut plan, ask) = following();
    let mut after = |why| plan.judged(&ask, &Outcome::Rejected(why), true);
    let retired = Rejection::RetiredEpoch { epoch: Epoch::new("old").unwrap() };
    assert_eq!(after(retired), Pause::UntilNews(News::OtherEpoch));
    assert_eq!(after(Rejection::Poisoned { generation: Generation(7) }), Pause::UntilNews(News::OtherTable));
    let invalid = Rejection::TooManyInvalid { invalid: 9, apps: 10 };
    assert_eq!(after(invalid), Pause::UntilNews(News::OtherTable));
    assert_eq!(after(Rejection::Pinned), Pause::BackOff);
}

#[test]
fn an_answer_under_way_is_outdated_by_a_shut_gate_or_a_lost_position() {
    let changes = Ask::Changes(at(7));
    assert!(!Plan::is_outdated(&changes, &standing(Some(at(8)))));
    assert!(Plan::is_outdated(&changes, &standing(None)), "what was received has drifted");
    assert!(!Plan::is_outdated(&Ask::Snapshot, &standing(None)));
    let shut = Standing { wants_answers: false, ..standing(Some(at(7))) };
    assert!(Plan::is_outdated(&changes, &shut) && Plan::is_outdated(&Ask::Snapshot, &shut));
}
