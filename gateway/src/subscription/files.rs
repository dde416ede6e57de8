//! The loop for `kind = "file"`: looks at the path in the rhythm of a state poll, and reads it when something changed.

use routing_cache::{
    gate::Observation,
    updater::{Outcome, Rejection},
    wire::SnapshotCandidate,
};

use super::{SubscriptionOptions, complaint::Complaint, dice, pace};
use crate::{
    orchestrator::{FileClient, file::FileAnswer},
    updates::{Standing, UpdaterGone, Updates},
};

/// What the loop keeps in mind.
struct Files<'a> {
    client: FileClient,
    updates: &'a Updates,
    /// Something has changed that was not offered yet.
    dirty: bool,
    /// Whether answers were wanted at the last look.
    wanted: bool,
    complaint: Complaint,
    problems: Vec<String>,
}

/// Follows the files; returns only when the updater has ended.
pub(super) async fn follow(client: FileClient, updates: &Updates, options: &SubscriptionOptions) -> UpdaterGone {
    let mut files =
        Files { client, updates, dirty: true, wanted: false, complaint: Complaint::new("files"), problems: Vec::new() };
    loop {
        if let Err(gone) = files.look().await {
            return gone;
        }
        let pause = pace::jittered(options.check_every, dice());
        tokio::select! {
            () = files.client.changed() => files.dirty = true,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl Files<'_> {
    /// One look: readiness, and the documents where they have changed and may be taken.
    async fn look(&mut self) -> Result<(), UpdaterGone> {
        if let Err(why) = self.client.probe().await {
            return self.unanswered(why.to_string()).await;
        }
        let standing = self.updates.observe(Observation::Ready).await?;
        // What was passed over while nothing was wanted is offered then: an operator may have had another table in place.
        self.dirty |= standing.wants_answers && !self.wanted;
        self.wanted = standing.wants_answers;
        if self.dirty && standing.wants_answers {
            return self.read(&standing).await;
        }
        Ok(())
    }

    async fn read(&mut self, standing: &Standing) -> Result<(), UpdaterGone> {
        // Cleared before reading: a change that comes meanwhile sets it again.
        self.dirty = false;
        match self.client.read(standing.position.as_ref()).await {
            Ok(FileAnswer { candidate, problems }) => {
                self.complaint.worked();
                self.tell(problems, candidate.partial.as_ref());
                self.offer(candidate).await
            }
            Err(why) => {
                self.dirty = true;
                self.unanswered(why.to_string()).await
            }
        }
    }

    async fn offer(&mut self, candidate: SnapshotCandidate) -> Result<(), UpdaterGone> {
        let outcome = self.updates.offer_snapshot(candidate).await?;
        self.dirty |= is_to_be_offered_again(&outcome);
        Ok(())
    }

    async fn unanswered(&mut self, why: String) -> Result<(), UpdaterGone> {
        self.complaint.failed(&why);
        self.updates.observe(Observation::Unanswered(why)).await.map(drop)
    }

    /// Logs what was passed over, when it is not what was passed over the last time.
    fn tell(&mut self, mut problems: Vec<String>, partial: Option<&String>) {
        problems.extend(partial.map(|why| format!("{why} (deletes wait until every file is whole)")));
        for problem in problems.iter().filter(|p| !self.problems.contains(p)) {
            tracing::warn!(problem, "app documents");
        }
        self.problems = problems;
    }
}

/// What was refused for what it holds is refused again until it changes; some was refused for the moment.
fn is_to_be_offered_again(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Rejected(Rejection::GateShut(_) | Rejection::OldGeneration { .. } | Rejection::Pinned)
        | Outcome::NeedSnapshot(_) => true,
        Outcome::Rejected(_) | Outcome::Published(_) | Outcome::Unchanged(_) | Outcome::Held(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use routing_cache::{gate::ShutReason, updater::Summary};

    use super::*;

    #[test]
    fn what_the_gate_refused_is_offered_again_and_what_the_guard_refused_is_not() {
        assert!(is_to_be_offered_again(&Outcome::Rejected(Rejection::GateShut(ShutReason::NeverHeard))));
        let invalid = Rejection::TooManyInvalid { invalid: 9, apps: 10 };
        assert!(!is_to_be_offered_again(&Outcome::Rejected(invalid)));
        assert!(!is_to_be_offered_again(&Outcome::Held(Summary::default())));
    }
}
