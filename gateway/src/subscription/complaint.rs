//! A failure that goes on is logged ever more rarely: at the 1st, 2nd, 4th, 8th time and so on.

use std::fmt::Display;

/// The failures of one kind of call, in a row.
#[derive(Debug)]
pub(super) struct Complaint {
    call: &'static str,
    in_a_row: u64,
}

impl Complaint {
    pub(super) fn new(call: &'static str) -> Self {
        Self { call, in_a_row: 0 }
    }

    /// It failed once more.
    pub(super) fn failed(&mut self, why: &dyn Display) {
        if self.count() {
            tracing::warn!(call = self.call, %why, times = self.in_a_row, "the orchestrator gives no usable answer");
        }
    }

    /// It worked.
    pub(super) fn worked(&mut self) {
        let times = std::mem::take(&mut self.in_a_row);
        if times > 0 {
            tracing::info!(call = self.call, times, "the orchestrator answers again");
        }
    }

    /// Counts a failure; true when it is to be logged.
    fn count(&mut self) -> bool {
        self.in_a_row += 1;
        self.in_a_row.is_power_of_two()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_goes_on_is_logged_ever_more_rarely() {
        let mut complaint = Complaint::new("state");
        let logged: Vec<_> = (1..=40).filter(|_| complaint.count()).collect();
        assert_eq!(logged, [1, 2, 4, 8, 16, 32]);
        complaint.worked();
        assert!(complaint.count(), "after a success the first failure is news again");
    }
}
