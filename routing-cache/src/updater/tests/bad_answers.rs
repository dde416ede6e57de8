//! Answers that lie about themselves.

use super::rig::*;
use crate::{model::Generation, updater::Outcome};

#[test]
fn no_bad_answer_takes_the_table_away() {
    let server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    let empty = |generation: u64, epoch: &str, ready: bool| {
        let mut candidate = Server::new(epoch).snapshot();
        (candidate.generation, candidate.ready) = (Generation(generation), ready);
        candidate
    };
    for candidate in [empty(9, "e1", true), empty(0, "e1", true), empty(9, "e2", true), empty(10, "e1", false)] {
        let what = format!("{candidate:?}");
        rig.open_gate();
        let outcome = rig.offer(candidate);
        assert!(matches!(outcome, Outcome::Held(_) | Outcome::Rejected(_)), "{what}: {outcome:?}");
        assert_eq!(rig.served().len(), 200, "{what}");
    }
}

#[test]
fn a_delta_that_says_everything_is_gone_is_held_and_the_table_it_follows_on_still_serves() {
    let mut server = Server::with_apps(200);
    let mut rig = Rig::serving(&server);
    server.delete(0..200);
    held(rig.delta(&server));
    assert_eq!(rig.served().len(), 200);
    assert_eq!(rig.restarted().served().len(), 200);
}
