//! The data plane over real sockets on loopback: raw clients, scripted upstreams, a table made by hand.
//!
//! Clients and upstreams are plain blocking sockets on threads of their own, so that what is on the wire is seen byte
//! by byte. Every read has a deadline.

mod bodies;
mod connections;
mod drain;
mod exchanges;
mod harness;
mod headers;
mod informational;
mod overload;
mod parking;
mod probes;
mod proving;
mod refusals;
mod retries;
mod routing;
mod rules;
mod spread;
mod upgrades;
