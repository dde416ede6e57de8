use routing_cache::model::{Balance, Protocol};

use super::*;

fn upstream(max_connections: Option<u32>, max_pending: Option<u32>) -> Upstream {
    Upstream {
        name: Arc::from("web"),
        endpoints: Vec::new(),
        protocol: Protocol::Http1,
        balance: Balance::LeastRequest,
        sticky_cookie: None,
        health: None,
        max_connections,
        max_pending,
        tls: None,
    }
}

fn app(id: &str) -> AppId {
    AppId::new(id).unwrap()
}

const WAIT: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn an_upstream_without_a_limit_is_never_waited_for() {
    let limits = Limits::default();
    for _ in 0..10_000 {
        std::mem::forget(limits.acquire(&app("a"), &upstream(None, Some(0)), Duration::ZERO).await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_over_the_limit_waits_its_time_and_no_longer() {
    let limits = Limits::default();
    let upstream = upstream(Some(2), None);
    let first = limits.acquire(&app("a"), &upstream, WAIT).await.unwrap();
    let _second = limits.acquire(&app("a"), &upstream, WAIT).await.unwrap();
    let start = tokio::time::Instant::now();
    assert_eq!(limits.acquire(&app("a"), &upstream, WAIT).await.unwrap_err(), LimitError::TimedOut);
    assert_eq!(start.elapsed(), WAIT);
    drop(first);
    limits.acquire(&app("a"), &upstream, Duration::ZERO).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_place_that_comes_free_goes_to_the_one_that_waits() {
    let limits = Limits::default();
    let (id, upstream) = (app("a"), upstream(Some(1), None));
    let first = limits.acquire(&id, &upstream, WAIT).await.unwrap();
    let waiting = limits.acquire(&id, &upstream, WAIT);
    let release = async {
        tokio::task::yield_now().await;
        drop(first);
    };
    let (second, ()) = tokio::join!(waiting, release);
    second.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_more_wait_than_may() {
    let limits = Limits::default();
    let (id, upstream) = (app("a"), upstream(Some(1), Some(1)));
    let held = limits.acquire(&id, &upstream, WAIT).await.unwrap();
    let (first, second) = tokio::join!(limits.acquire(&id, &upstream, WAIT), limits.acquire(&id, &upstream, WAIT));
    assert_eq!((first.unwrap_err(), second.unwrap_err()), (LimitError::TimedOut, LimitError::Full));
    drop(held);
    limits.acquire(&id, &upstream, WAIT).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_gives_up_waiting_leaves_its_place_in_the_queue() {
    let limits = Limits::default();
    let (id, upstream) = (app("a"), upstream(Some(1), Some(1)));
    let held = limits.acquire(&id, &upstream, WAIT).await.unwrap();
    for _ in 0..3 {
        let waiting = limits.acquire(&id, &upstream, WAIT);
        tokio::time::timeout(Duration::from_millis(1), waiting).await.unwrap_err();
    }
    assert_eq!(limits.acquire(&id, &upstream, WAIT).await.unwrap_err(), LimitError::TimedOut);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn apps_and_changed_limits_have_places_of_their_own() {
    let limits = Limits::default();
    let _a = limits.acquire(&app("a"), &upstream(Some(1), None), WAIT).await.unwrap();
    limits.acquire(&app("b"), &upstream(Some(1), None), Duration::ZERO).await.unwrap();
    let _raised = limits.acquire(&app("a"), &upstream(Some(2), None), Duration::ZERO).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn gates_of_apps_that_are_gone_do_not_pile_up() {
    let limits = Limits::default();
    let kept = limits.acquire(&app("kept"), &upstream(Some(1), None), WAIT).await.unwrap();
    for number in 0..10_000 {
        limits.acquire(&app(&format!("app-{number}")), &upstream(Some(1), None), WAIT).await.unwrap();
    }
    assert!(limits.0.read().unwrap().len <= 2 * FIRST_SWEEP);
    let again = limits.acquire(&app("kept"), &upstream(Some(1), None), Duration::ZERO).await;
    assert_eq!(again.unwrap_err(), LimitError::TimedOut, "its place is taken still");
    drop(kept);
}
