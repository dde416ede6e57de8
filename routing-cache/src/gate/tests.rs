use proptest::prelude::*;

use super::*;
use crate::model::WallTime;

fn at(ms: u64) -> Now {
    Now { monotonic: Duration::from_millis(ms), wall: WallTime(ms) }
}

fn gate(readiness_url: bool) -> Gate {
    let (stable_for, lost_after) = (Duration::from_secs(5), Duration::from_secs(10));
    Gate::new(GateConfig { stable_for, lost_after, readiness_url })
}

fn timeout() -> Observation {
    Observation::Unanswered("time-out".into())
}

fn starting() -> Observation {
    Observation::NotReady("loading".into())
}

fn see(gate: &mut Gate, seen: &[(u64, Observation)]) {
    seen.iter().for_each(|(ms, o)| gate.observe(o.clone(), at(*ms)));
}

fn open_gate() -> Gate {
    let mut gate = gate(false);
    see(&mut gate, &[(0, Observation::Ready), (2000, Observation::Ready), (5000, Observation::Ready)]);
    assert!(gate.is_open(at(5000)));
    gate
}

#[test]
fn it_is_shut_before_anything_was_heard() {
    let gate = gate(false);
    assert!(!gate.is_open(at(0)));
    assert_eq!(gate.shut_reason(at(0)), Some(ShutReason::NeverHeard));
    assert!(!gate.says_ready(at(0)));
}

#[test]
fn it_opens_once_ready_answers_span_the_stable_period() {
    let mut gate = gate(false);
    see(&mut gate, &[(1000, Observation::Ready), (3000, Observation::Ready), (5999, Observation::Ready)]);
    assert_eq!(gate.shut_reason(at(6500)), Some(ShutReason::Settling { for_s: 4, needed_s: 5 }));
    gate.observe(Observation::Ready, at(6000));
    assert_eq!(gate.shut_reason(at(6000)), None);
}

#[test]
fn it_does_not_open_by_waiting_alone() {
    let mut gate = gate(false);
    gate.observe(Observation::Ready, at(0));
    assert!(!gate.is_open(at(9000)));
}

#[test]
fn without_a_stable_period_the_first_ready_answer_opens_it() {
    let config = GateConfig { stable_for: Duration::ZERO, lost_after: Duration::from_secs(1), readiness_url: false };
    let mut gate = Gate::new(config);
    gate.observe(Observation::Ready, at(0));
    assert!(gate.is_open(at(0)));
}

#[test]
fn it_shuts_at_the_first_answer_that_is_not_ready() {
    let mut gate = open_gate();
    gate.observe(starting(), at(6000));
    assert_eq!(gate.shut_reason(at(6000)), Some(ShutReason::NotReady("loading".into())));
    assert_eq!(gate.denial(), Some("loading"));
    see(&mut gate, &[(7000, Observation::Ready), (11_999, Observation::Ready)]);
    assert!(!gate.is_open(at(11_999)));
    gate.observe(Observation::Ready, at(12_000));
    assert!(gate.is_open(at(12_000)));
}

#[test]
fn a_single_time_out_does_not_shut_an_open_gate() {
    let mut gate = open_gate();
    gate.observe(timeout(), at(7000));
    assert!(gate.is_open(at(7000)));
    gate.observe(Observation::Ready, at(14_000));
    assert!(gate.is_open(at(14_000)));
}

#[test]
fn a_time_out_while_it_settles_starts_the_period_again() {
    let mut gate = gate(false);
    see(&mut gate, &[(0, Observation::Ready), (3000, timeout()), (4000, Observation::Ready)]);
    gate.observe(Observation::Ready, at(8999));
    assert!(!gate.is_open(at(8999)));
    gate.observe(Observation::Ready, at(9000));
    assert!(gate.is_open(at(9000)));
}

#[test]
fn it_shuts_when_nothing_was_answered_for_long_enough() {
    let mut gate = open_gate();
    assert!(gate.is_open(at(14_999)));
    assert_eq!(gate.shut_reason(at(15_000)), Some(ShutReason::Lost(10)));
    gate.observe(Observation::Ready, at(15_000));
    assert!(!gate.is_open(at(15_000)), "silence is a break also when nobody looked while it lasted");
}

#[test]
fn an_answered_table_request_keeps_an_open_gate_open_and_opens_none() {
    let mut gate = open_gate();
    gate.heard(at(14_000));
    assert!(gate.is_open(at(23_999)));
    gate.heard(at(24_000));
    assert!(!gate.is_open(at(24_000)));
}

#[test]
fn the_readiness_url_must_have_answered_throughout() {
    let mut gate = gate(true);
    see(&mut gate, &[(0, Observation::Ready), (2000, Observation::Ready), (5000, Observation::Ready)]);
    assert_eq!(gate.shut_reason(at(5000)), Some(ShutReason::Url("has not answered yet".into())));
    see(&mut gate, &[(6000, Observation::UrlOk), (10_000, Observation::Ready), (11_000, Observation::UrlOk)]);
    assert!(!gate.is_open(at(11_000)), "both must span the period");
    gate.observe(Observation::Ready, at(11_000));
    assert!(gate.is_open(at(11_000)));
    gate.observe(Observation::UrlFailed("503".into()), at(12_000));
    assert_eq!(gate.shut_reason(at(12_000)), Some(ShutReason::Url("503".into())));
}

#[test]
fn a_readiness_url_that_falls_silent_shuts_it() {
    let mut gate = gate(true);
    see(&mut gate, &[(0, Observation::Ready), (0, Observation::UrlOk), (5000, Observation::Ready)]);
    see(&mut gate, &[(5000, Observation::UrlOk), (14_000, Observation::Ready)]);
    assert!(gate.is_open(at(14_999)));
    assert_eq!(gate.shut_reason(at(15_000)), Some(ShutReason::Url("has not answered for 10 s".into())));
}

#[test]
fn a_readiness_url_that_is_not_configured_does_not_matter() {
    let mut gate = open_gate();
    gate.observe(Observation::UrlFailed("503".into()), at(6000));
    assert!(gate.is_open(at(6000)));
}

#[test]
fn a_readiness_url_that_becomes_configured_must_first_prove_itself() {
    let mut gate = open_gate();
    gate.reconfigure(GateConfig { readiness_url: true, ..gate.config.clone() });
    assert!(!gate.is_open(at(5000)));
}

#[test]
fn the_word_of_the_orchestrator_is_good_until_it_is_lost() {
    let mut gate = gate(false);
    gate.observe(Observation::Ready, at(0));
    gate.observe(timeout(), at(1000));
    assert!(gate.says_ready(at(9999)));
    assert!(!gate.says_ready(at(10_000)));
    gate.observe(starting(), at(10_000));
    assert!(!gate.says_ready(at(10_000)));
}

#[derive(Clone, Debug)]
enum Event {
    Seen(Observation),
    Heard,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => Just(Event::Seen(Observation::Ready)),
        6 => Just(Event::Seen(Observation::UrlOk)),
        1 => Just(Event::Seen(starting())),
        2 => Just(Event::Seen(timeout())),
        1 => Just(Event::Seen(Observation::UrlFailed("503".into()))),
        1 => Just(Event::Heard),
    ]
}

/// Keeps everything seen since the last break, and looks through all of it each time.
#[derive(Default)]
struct Naive {
    open: bool,
    good: Vec<(u64, Observation)>,
    answers: Vec<u64>,
}

impl Naive {
    fn of(&self, kind: &Observation) -> Vec<u64> {
        self.good.iter().filter(|(_, seen)| seen == kind).map(|(time, _)| *time).collect()
    }

    fn broken(&self, url: bool, time: u64) -> bool {
        let silent = |times: &[u64]| times.last().is_some_and(|last| time - last >= 10_000);
        silent(&self.answers) || (url && silent(&self.of(&Observation::UrlOk)))
    }

    fn spans(&self, url: bool) -> bool {
        let both = [self.of(&Observation::Ready), self.of(&if url { Observation::UrlOk } else { Observation::Ready })];
        let from = both.iter().map(|times| times.first().copied().unwrap_or(u64::MAX)).max().unwrap();
        let to = both.iter().map(|times| times.last().copied().unwrap_or(0)).min().unwrap();
        from.checked_add(5000).is_some_and(|due| to >= due)
    }

    fn clear(&mut self) {
        self.open = false;
        self.good.clear();
    }

    fn take(&mut self, url: bool, time: u64, event: &Event) {
        if self.broken(url, time) {
            self.clear();
        }
        if let Event::Heard | Event::Seen(Observation::Ready | Observation::NotReady(_)) = event {
            self.answers.push(time);
        }
        match event {
            Event::Heard => {}
            Event::Seen(Observation::Unanswered(_)) if self.open => {}
            Event::Seen(Observation::UrlFailed(_)) if !url => {}
            Event::Seen(good @ (Observation::Ready | Observation::UrlOk)) => self.good.push((time, good.clone())),
            Event::Seen(_) => self.clear(),
        }
        self.open |= self.spans(url);
    }
}

proptest! {
    #[test]
    fn it_is_open_exactly_when_a_naive_reading_of_the_rule_says_so(
        url in any::<bool>(),
        events in prop::collection::vec((prop_oneof![6 => 0u64..3000, 1 => 3000u64..12_000], event()), 0..60),
        after in 0u64..12_000,
    ) {
        let (mut gate, mut naive, mut time) = (gate(url), Naive::default(), 0);
        for (wait, event) in &events {
            time += wait;
            prop_assert_eq!(gate.is_open(at(time)), naive.open && !naive.broken(url, time));
            naive.take(url, time, event);
            match event {
                Event::Heard => gate.heard(at(time)),
                Event::Seen(seen) => gate.observe(seen.clone(), at(time)),
            }
            prop_assert_eq!(gate.is_open(at(time)), naive.open, "at {}", time);
            prop_assert_eq!(gate.is_open(at(time)), gate.shut_reason(at(time)).is_none());
        }
        time += after;
        prop_assert_eq!(gate.is_open(at(time)), naive.open && !naive.broken(url, time));
    }
}
