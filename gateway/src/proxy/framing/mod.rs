//! Where messages begin and end in what a client sends, read more strictly than it has to be.
//!
//! A gateway and an app that disagree about the end of a request can be made to take part of one request for the next
//! one (request smuggling). So whatever could be read in two ways is refused here: bare line feeds, two lengths, a length
//! and chunks, white space in names, and so on; [`Violation`] lists all.

mod guard;
mod violation;

pub use guard::{Framing, Inspected};
pub use violation::Violation;

/// What a client may send at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramingLimits {
    /// A request's head, from its first byte to the end of its empty line, in bytes.
    pub header_bytes: usize,
}
