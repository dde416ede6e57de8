//! A message as it is held between two sockets: its head as plain text, in the order it came.
//!
//! - `body`: what is read of one, and said of it. `chunks`: what stands between the data of one in chunks. `fields`: the header fields, a flat list over one piece of memory. `head`: what stands before them. `names`: the names
//!   this gateway itself looks for or writes. `text`: which bytes may stand where.
//!
//! Heads are short and live for one request. So nothing is hashed, no field has an allocation or a count of its own, and the
//! memory of one head is used again for the next.

pub mod body;
pub mod chunks;
mod fields;
mod head;
pub mod names;
pub mod text;

pub use fields::{Fields, Remembered};
pub use head::{RequestHead, ResponseHead};
