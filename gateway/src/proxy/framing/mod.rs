//! Where messages begin and end in what a client sends, read more strictly than it has to be.
//!
//! A gateway and an app that disagree about the end of a request can be made to take part of one request for the next
//! one (request smuggling). So whatever could be read in two ways is refused here: bare line feeds, two lengths, a length
//! and chunks, white space in names, and so on; [`Violation`] lists all.
//!
//! - [`Reading`]: one client's messages, from the first byte to the last. `line`, `fields`: the machines over a head, which
//!   judge its bytes and note where its words stand in the same pass.
//!
//! All are pure: bytes in, messages out. How the bytes are cut into reads never changes what comes out, nor the byte that
//! is refused.
//!
//! Invariants: nothing of a head or of trailers comes out before the whole of it was judged; and after a violation nothing
//! comes out ever again.

mod fields;
mod line;
mod reading;
mod violation;

pub(crate) use line::MAX_TARGET_BYTES;
pub(crate) use reading::Reading;
pub(crate) use violation::Violation;

/// What a client may send at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FramingLimits {
    /// A request's head, from its first byte to the end of its empty line, in bytes.
    pub(crate) header_bytes: usize,
}
