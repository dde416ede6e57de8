use proptest::prelude::*;

use super::*;

const MINUTE: u64 = 60_000;
const CONFIG: GuardConfig =
    GuardConfig { max_shrink_percent: 20.0, max_shrink_apps: 50, max_invalid_percent: 1.0, max_invalid_apps: 20 };

fn guard() -> Guard {
    Guard::new(CONFIG)
}

fn at(minute: u64) -> WallTime {
    WallTime(1_700_000_040_000 + minute * MINUTE)
}

fn id(n: u64) -> AppId {
    AppId::new(&format!("app-{n}")).unwrap()
}

fn losing(served: u64, losing: u64) -> Shrink {
    Shrink { served, losing, apps_after: served - losing, ..Shrink::default() }
}

fn is_held(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Hold(_))
}

/// Takes `count` apps away from `served`, as an update that was let.
fn take(guard: &mut Guard, served: u64, names: std::ops::Range<u64>, minute: u64) {
    guard.saw(served, at(minute));
    names.for_each(|n| guard.took_away(id(n), at(minute)));
}

#[test]
fn a_delete_is_held_only_when_percent_and_count_are_both_exceeded() {
    assert_eq!(guard().judge(&losing(6000, 1200), at(0)), Verdict::Let, "20 % is not more than 20 %");
    assert!(is_held(guard().judge(&losing(6000, 1201), at(0))));
    assert_eq!(guard().judge(&losing(50, 50), at(0)), Verdict::Let, "50 apps are not more than 50");
    assert!(is_held(guard().judge(&losing(51, 51), at(0))));
    assert_eq!(guard().judge(&losing(6000, 51), at(0)), Verdict::Let);
}

#[test]
fn the_evidence_says_what_would_be_left() {
    let Verdict::Hold(evidence) = guard().judge(&losing(6000, 1500), at(0)) else { panic!("not held") };
    assert_eq!(evidence, Evidence { apps_before: 6000, apps_after: 4500, percent: 25.0, window_s: 3600 });
}

#[test]
fn many_small_steps_are_one_big_one() {
    let mut guard = guard();
    take(&mut guard, 200, 0..30, 0);
    assert_eq!(guard.judge(&losing(170, 10), at(20)), Verdict::Let);
    take(&mut guard, 170, 30..40, 20);
    assert!(is_held(guard.judge(&losing(160, 11), at(40))), "51 of 200 in the hour");
}

#[test]
fn the_percentage_is_of_the_largest_number_of_apps_in_the_hour() {
    let mut guard = guard();
    guard.saw(400, at(0));
    assert_eq!(guard.judge(&losing(300, 80), at(59)), Verdict::Let, "80 of 400 are not more than 20 %");
    assert!(is_held(guard.judge(&losing(300, 80), at(62))), "80 of 300 are");
}

#[test]
fn what_was_taken_away_over_an_hour_ago_is_past() {
    let mut guard = guard();
    take(&mut guard, 200, 0..50, 0);
    assert!(is_held(guard.judge(&losing(150, 1), at(60))));
    assert_eq!(guard.judge(&losing(150, 1), at(61)), Verdict::Let);
}

#[test]
fn an_app_that_came_back_is_not_away() {
    let mut guard = guard();
    take(&mut guard, 200, 0..50, 0);
    guard.came_back(&id(7));
    assert_eq!(guard.judge(&losing(151, 1), at(1)), Verdict::Let);
    assert!(is_held(guard.judge(&losing(151, 2), at(1))));
}

#[test]
fn what_is_held_already_counts_but_nothing_new_is_no_reason_to_hold() {
    let held = Shrink { held: 60, ..losing(200, 1) };
    assert!(is_held(guard().judge(&held, at(0))));
    assert_eq!(guard().judge(&Shrink { losing: 0, ..held }, at(0)), Verdict::Let);
}

#[test]
fn shrink_ok_releases_down_to_its_number_of_apps_and_no_further() {
    let shrink = Shrink { shrink_ok: Some(4000), apps_after: 4000, ..losing(6000, 2000) };
    assert_eq!(guard().judge(&shrink, at(0)), Verdict::Release);
    assert!(is_held(guard().judge(&Shrink { apps_after: 3999, ..shrink }, at(0))));
}

#[test]
fn an_app_that_is_away_and_held_as_well_is_counted_once() {
    let mut guard = guard();
    take(&mut guard, 200, 0..40, 0);
    guard.set_held(&id(7), true);
    let held = Shrink { held: 1, ..losing(200, 10) };
    assert_eq!(guard.judge(&held, at(1)), Verdict::Let, "50 of 200");
    guard.set_held(&id(7), false);
    assert!(is_held(guard.judge(&held, at(1))), "40, one that is held, and 10");
    guard.set_held(&id(8), true);
    guard.saw(160, at(62));
    assert!(is_held(guard.judge(&Shrink { held: 1, ..losing(160, 50) }, at(62))), "what is past is not away");
}

#[test]
fn a_verdict_says_its_evidence_in_words() {
    let verdict = guard().judge(&losing(6000, 1500), at(0));
    assert_eq!(verdict.to_string(), "held: 25.0 % of 6000 apps would be gone within 3600 s, 4500 would be left");
}

#[test]
fn an_approval_starts_the_hour_anew() {
    let mut guard = guard();
    take(&mut guard, 200, 0..50, 0);
    guard.restart();
    assert_eq!(guard.judge(&losing(150, 30), at(1)), Verdict::Let);
}

#[test]
fn the_hour_survives_a_restart() {
    let mut guard = guard();
    take(&mut guard, 200, 0..45, 0);
    let (taken, most) = guard.to_save(at(10));
    let again = Guard::restore(CONFIG, &taken, most, at(10));
    assert!(is_held(again.judge(&losing(155, 6), at(11))), "51 of 200 in the hour");
    assert_eq!(again.judge(&losing(155, 6), at(61)), Verdict::Let);
}

#[test]
fn a_clock_that_goes_back_neither_forgets_nor_keeps_forever() {
    let mut guard = guard();
    take(&mut guard, 200, 0..50, 100_000);
    guard.saw(150, at(0));
    assert!(is_held(guard.judge(&losing(150, 1), at(0))));
    assert_eq!(guard.judge(&losing(150, 1), at(61)), Verdict::Let);
}

#[test]
fn a_restored_hour_that_lies_ahead_of_the_clock_passes_too() {
    let mut guard = Guard::restore(CONFIG, &[(at(100_000), 50)], 200, at(0));
    assert!(is_held(guard.judge(&losing(150, 1), at(0))));
    guard.saw(150, at(0));
    assert_eq!(guard.judge(&losing(150, 1), at(61)), Verdict::Let);
}

#[test]
fn an_update_is_rejected_only_when_percent_and_count_of_invalid_apps_are_both_exceeded() {
    assert!(!guard().too_many_invalid(20, 100));
    assert!(guard().too_many_invalid(21, 100));
    assert!(!guard().too_many_invalid(21, 2100), "1 % is not more than 1 %");
    assert!(guard().too_many_invalid(22, 2100));
}

proptest! {
    /// However deletes are spread over an hour, what is let never passes both limits.
    #[test]
    fn within_an_hour_no_more_is_let_go_than_the_limits_say(steps in prop::collection::vec((0u64..5, 0u64..40), 1..60)) {
        let (mut guard, mut minute, mut served, mut name) = (guard(), 0, 400u64, 0);
        let mut gone: Vec<(u64, u64)> = Vec::new();
        for (wait, count) in steps {
            minute += wait;
            let count = count.min(served);
            if guard.judge(&losing(served, count), at(minute)) == Verdict::Let {
                take(&mut guard, served, name..name + count, minute);
                gone.push((minute, count));
                (served, name) = (served - count, name + count);
            }
            let in_hour: u64 = gone.iter().filter(|(at, _)| minute - at < 60).map(|(_, n)| n).sum();
            prop_assert!(in_hour <= 50 || in_hour * 100 <= 20 * 400);
        }
    }
}
