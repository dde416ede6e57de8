//! What a request asks of the allocator: `cargo bench -p holdgate --bench allocations`.
//!
//! HOLDGATE_BENCH_REQUESTS sets how many requests of each kind are sent, HOLDGATE_BENCH_WORK picks a kind by a part of its
//! name. The same program counts instructions and system calls of a request, by the worker's thread:
//! `valgrind --tool=callgrind --separate-threads=yes` and `strace -ff -c`; the difference between two numbers of requests
//! is free of what the start costs.

#![allow(clippy::print_stdout, reason = "it is what a bench is for")]
#![allow(clippy::panic, clippy::indexing_slicing, reason = "a bench may stop")]

mod counting;
mod load;

use std::env;

fn main() {
    let requests = env::var("HOLDGATE_BENCH_REQUESTS").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let wanted = env::var("HOLDGATE_BENCH_WORK").unwrap_or_default();
    let gateway = load::Gateway::start();
    for work in load::WORKS.iter().filter(|work| work.name.contains(&wanted)) {
        let cost = gateway.run(work, requests);
        let each = |count: u64| count as f64 / requests as f64;
        println!(
            "{:<13}  {:6.2} allocations (limit {}), {:8.0} bytes for each of {requests}",
            work.name,
            each(cost.allocations),
            work.limit,
            each(cost.bytes)
        );
    }
}
