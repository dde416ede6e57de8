//! A process replaced by its successor while it serves: sockets, table and what is known of endpoints go from one to the other,
//! and nothing is given up before the other one has shown that it serves.
//!
//! The running process listens in its state folder ([`receive_callers`]). A successor that calls ([`ask`]) is told what is
//! served, and given duplicates of every listening socket, the table's image in sealed memory, and what is known against
//! endpoints. It starts its workers, asks itself through each listener, and says what it serves. Only then does the running
//! process let go of the state folder; the successor claims it, serves, and says so; and only then does the running process
//! drain. Whatever fails before that leaves the running process as it was: the updater, which stood still, goes on, and a
//! successor that does not end by itself is ended, for it has sockets in which clients wait.
//!
//! A successor accepts from the shared sockets while it proves itself. What it accepts and is not its own probe it hands
//! back, unread, and the running process serves it. The one connection that can be lost is one that the successor has
//! accepted and not handed back yet when it is killed, which is between two system calls.
//!
//! Nothing here knows workers or the admin API: `app` hands in what is done with them.

mod channel;
mod desk;
mod estate;
mod giving;
mod heir;
mod message;
mod predecessors;
mod reception;
mod refused;
mod refused_there;
mod returns;

pub use channel::ChannelError;
pub use estate::{Estate, Replaced, Sockets, TakeBack, Withdraw};
pub use heir::{Heir, Legacy, ask};
pub use message::{Offer, PROTOCOL, Role, Table};
pub use predecessors::{MOST as MOST_PREDECESSORS, Predecessors};
pub use reception::receive_callers;
pub use refused::Refused;
