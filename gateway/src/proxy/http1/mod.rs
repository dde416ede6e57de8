//! HTTP/1 as a server, within the connection's own task: one request at a time over a bare socket.
//!
//! A wire is a client's connection while something is under way on it. It reads and judges heads, is read through a
//! [`ClientBody`], says what comes before the answer, and writes the answer: head and small body in one write. Whoever serves
//! asks it meanwhile whether the client is still there.
//!
//! - `wire`: the socket and how far the messages over it have come. `body`: what follows a request's head. `encode`: an answer's
//!   head in bytes, and how its body is framed. `paced`: the socket while it is written, with a clock for clients that take
//!   too little.
//!
//! It decides nothing about a request; and on its own it neither closes nor keeps a connection.
//!
//! Invariants: after a violation not a byte is taken as a message. Answers leave in the order of their requests, one at a time, and
//! the next head is looked for only when the answer before is written. What is held of a message at any time is bounded.

mod body;
pub(crate) mod date;
mod encode;
mod paced;
mod wire;

pub(crate) use body::ClientBody;
pub(crate) use encode::Terms;
pub(crate) use wire::{Came, Sent, Shared, Wire};
