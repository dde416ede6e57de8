use super::*;
use crate::telemetry::metrics::{SECONDS, recorder};

/// The lines of `text` that begin with `start`.
fn lines<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(start)).collect()
}

#[test]
fn shares_of_a_counter_add_up_and_what_ended_stays_counted() {
    let recorder = recorder();
    let handle = recorder.handle();
    let (first, second) = metrics::with_local_recorder(&recorder, || {
        let share = || CounterShare::of(metrics::counter!("holdgate_shares_test_total"));
        (share(), share())
    });
    first.increment(3);
    second.increment(4);
    tell();
    assert_eq!(lines(&handle.render(), "holdgate_shares_test_total"), ["holdgate_shares_test_total 7"]);
    first.increment(1);
    drop(first);
    tell();
    tell();
    assert_eq!(lines(&handle.render(), "holdgate_shares_test_total"), ["holdgate_shares_test_total 8"]);
}

#[test]
fn a_gauge_goes_down_by_another_share_than_it_went_up_by() {
    let recorder = recorder();
    let handle = recorder.handle();
    let (first, second) = metrics::with_local_recorder(&recorder, || {
        let share = || GaugeShare::of(metrics::gauge!("holdgate_shares_test"));
        (share(), share())
    });
    first.increment();
    first.increment();
    second.decrement();
    tell();
    assert_eq!(lines(&handle.render(), "holdgate_shares_test"), ["holdgate_shares_test 1"]);
    first.decrement();
    tell();
    assert_eq!(lines(&handle.render(), "holdgate_shares_test"), ["holdgate_shares_test 0"]);
}

#[test]
fn a_histogram_is_written_as_the_exporter_writes_it() {
    let samples = [300_u64, 500, 501, 2_000, 70_000_000].map(Duration::from_micros);
    let recorder = recorder();
    let mut totals = Histogram::default();
    let share = DurationShare(Arc::default());
    totals.shares.push(Arc::clone(&share.0));
    metrics::with_local_recorder(&recorder, || {
        for sample in samples {
            metrics::histogram!(names::REQUEST_DURATION).record(sample.as_secs_f64());
            share.record(sample);
        }
    });
    let (theirs, mut ours) = (recorder.handle().render(), String::new());
    write_histogram(&mut ours, names::REQUEST_DURATION, &totals.totals()).unwrap();
    let of = |text: &str| lines(text, "holdgate_").iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(of(&ours), of(&theirs), "{theirs}");
    drop(share);
    assert_eq!((totals.totals().beyond, totals.totals().nanos), (1, 70_003_301_000));
    assert!(totals.shares.is_empty());
}

#[test]
fn the_bounds_are_those_of_every_histogram() {
    let bounds = BOUNDS.map(|(micros, text)| (micros as f64 / 1e6, text.parse::<f64>().unwrap()));
    assert_eq!(bounds, SECONDS.map(|bound| (bound, bound)));
}
