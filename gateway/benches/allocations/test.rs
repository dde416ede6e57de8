//! No kind of request asks more of the allocator than its limit says.

#![allow(clippy::panic, clippy::indexing_slicing, reason = "a test may stop")]

mod counting;
mod load;

const REQUESTS: u64 = 500;

#[test]
fn a_request_takes_no_more_allocations_than_its_kind_may() {
    let gateway = load::Gateway::start();
    for work in &load::WORKS {
        let each = gateway.run(work, REQUESTS).allocations as f64 / REQUESTS as f64;
        assert!(each <= work.limit, "{}: {each} allocations, {} at most", work.name, work.limit);
    }
}
