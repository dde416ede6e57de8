//! How a probe of this process's own gets in while clients do not, for want of descriptors.
//!
//! While no probe is under way clients wait in the kernel's queue, which costs them time and nothing else. A probe stands in
//! that queue behind them, and no queue can be looked into; so while one is under way through this listener, those before it
//! are told to come again, with what they have sent read, so that the answer is not overtaken by a reset. The descriptor for
//! it comes from the reserve of the probes.

use std::{
    io::{self, Read, Write},
    os::fd::AsFd,
};

use futures_util::FutureExt as _;
use rustix::net::{Shutdown, shutdown};

use super::{
    accept::{Acceptor, Connected},
    answer,
    context::{Listener, Worker},
    failure::{Cause, Failure, Stage},
    metrics,
};
use crate::net::stream::Accepted;

/// So many are told to come again before the worker's other connections have their turn: about a millisecond.
const AT_ONCE: usize = 64;
/// How much of what a client has sent is read; a head that is longer is one of few.
const READ_BYTES: usize = 64 << 10;

/// The probe that waits at this listener, if one does. What is turned away for it counts as shed.
pub(super) async fn probe(worker: &Worker, listener: &Listener, acceptor: &Acceptor) -> Option<Connected> {
    while worker.probes.is_awaited_at(listener.connections.address()) && !worker.is_draining() {
        for _ in 0..AT_ONCE {
            let (stream, address) = worker.probes.reserve().lend(|| accept_now(acceptor)).ok()?;
            if worker.probes.is_own(|| stream.peer_name()) {
                return Some((stream, address));
            }
            metrics::shed("descriptors");
            if let Ok(client) = stream.into_accepted() {
                turn_away(client);
            }
            // ignored: the next one finds out.
            let _ = worker.probes.reserve().refill();
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Who waits, without waiting for anybody.
fn accept_now(acceptor: &Acceptor) -> io::Result<Connected> {
    acceptor.accept().now_or_never().unwrap_or(Err(io::ErrorKind::WouldBlock.into()))
}

fn turn_away(client: Accepted) {
    let said = match client {
        Accepted::Tcp(client) => say(client),
        Accepted::Unix(client) => say(client),
    };
    if let Err(error) = said {
        tracing::debug!(%error, "a client that was turned away is gone");
    }
}

/// The socket is nonblocking, and its buffer takes the answer whole.
fn say(mut client: impl Read + Write + AsFd) -> io::Result<()> {
    client.write_all(&answer::raw(&Failure::new(Stage::Read, Cause::Exhausted)))?;
    shutdown(&client, Shutdown::Write)?;
    let (mut buffer, mut total) = ([0; 4096], 0);
    while total < READ_BYTES {
        match client.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => total += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
