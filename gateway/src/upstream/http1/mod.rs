//! HTTP/1.1 as a client, within the request's own task: one exchange at a time over a bare socket.
//!
//! A wire is a connection. It writes a request's head with as much of its body as is there in one write, reads and
//! judges the answer's head, and then is read through an [`AnswerBody`]. Writing and reading go on at once, so an answer
//! that comes before the request's end is seen. No task, channel or buffer belongs to a connection that idles.
//!
//! - `encode`: a request on its way out. `head`, `reading`: an answer on its way in; pure, bytes in,
//!   message out. `wire` joins them to the socket, `body` shows what follows the head, `spare` keeps
//!   memory, for the clients' side too.
//!
//! It never decides whether a request is sent again or a connection is kept for long; it only says whether it could be.
//!
//! Invariants: what could be read in two ways is refused, or its connection is not used again; nor is one with a byte
//! left over, one whose request was not sent to its end, and one whose answer was not read to its end. What is held of a
//! message at any time is bounded.

mod body;
mod encode;
mod fault;
mod head;
mod reading;
mod spare;
mod wire;

pub use body::AnswerBody;
pub use encode::Ask;
pub use fault::{Fault, Flaw};
pub use spare::Spare;
pub(super) use wire::{Shared, Wire, exchange, send_rest};

#[cfg(test)]
mod tests;
