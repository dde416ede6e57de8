//! Accepting connections: errors are classified and counted, and none of them makes the loop spin. At the limit it
//! goes on accepting: this process's own probe comes by the same way as everybody.

use std::{io, net::IpAddr, rc::Rc, time::Duration};

use tokio::{
    net::{TcpListener, UnixListener},
    sync::{mpsc::Receiver, watch},
    time::sleep,
};

use super::{
    connection,
    connections::Permit,
    context::{Listener, Phase, Worker},
    metrics, rescue, shed,
    spread::{Arrival, Peers, Place},
};
use crate::net::{listen::ListenSocket, stream::Stream};

/// How long accepting pauses where the process lacks what a connection needs: time for some to end.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// A listening socket of one worker.
#[derive(Debug)]
pub(crate) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    /// Takes the socket into this thread's runtime.
    ///
    /// # Errors
    /// When the runtime cannot watch it.
    pub(crate) fn new(socket: ListenSocket) -> io::Result<Self> {
        match socket {
            ListenSocket::Tcp(listener) => TcpListener::from_std(listener).map(Self::Tcp),
            ListenSocket::Unix(listener) => UnixListener::from_std(listener).map(Self::Unix),
        }
    }

    /// Gives it back.
    fn into_socket(self) -> io::Result<ListenSocket> {
        match self {
            Self::Tcp(listener) => listener.into_std().map(ListenSocket::Tcp),
            Self::Unix(listener) => listener.into_std().map(ListenSocket::Unix),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Connected> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream::Tcp(stream), Some(peer.ip().to_canonical())))
            }
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| (Stream::Unix(stream), None)),
        }
    }
}

/// A client's socket, and its address where it has one.
pub(super) type Connected = (Stream, Option<IpAddr>);

/// What admits the connections of one listener for one worker.
pub(crate) struct Gate {
    pub(crate) worker: Rc<Worker>,
    pub(crate) listener: Rc<Listener>,
    pub(crate) peers: Rc<Peers>,
}

/// Accepts until the drain begins, then takes what already waits in the backlog, which closing the socket would reset.
pub(crate) async fn run(gate: Gate, acceptor: Acceptor) {
    let Gate { worker, listener, .. } = &gate;
    let mut phase = worker.phase.subscribe();
    loop {
        let next = tokio::select! {
            biased;
            () = begun(&mut phase) => break,
            next = next(worker, &acceptor) => next,
        };
        match next {
            Ok((stream, address)) => gate.admit(stream, address).await,
            Err(error) => {
                let kind = classify(&error);
                let pause = kind.count();
                if kind == AcceptError::Descriptors
                    && let Some((stream, address)) = rescue::probe(worker, listener, &acceptor).await
                {
                    gate.admit(stream, address).await;
                    continue;
                }
                tokio::select! { () = begun(&mut phase) => break, () = pause_for(pause) => {} }
            }
        }
    }
    gate.empty(acceptor);
}

/// Takes what other workers hand over, until none of them accepts any more.
pub(crate) async fn receive(worker: Rc<Worker>, listeners: Vec<Rc<Listener>>, mut arrivals: Receiver<Arrival>) {
    while let Some(arrival) = arrivals.recv().await {
        if let Some(listener) = listeners.get(arrival.listener) {
            take(&worker, listener, arrival);
        }
    }
}

impl Gate {
    /// Has a connection served, by this worker or by one that has fewer, or told that it is not.
    async fn admit(&self, stream: Stream, address: Option<IpAddr>) {
        if self.worker.probes.is_own(|| stream.peer_name()) {
            return serve(Permit::probe(&self.worker, &self.listener), stream, address);
        }
        let Some(stream) = self.worker.proving.hand_back(stream, self.listener.connections.address()) else { return };
        if !shed::admits(&self.worker, &self.listener).await {
            return shed::turn_away(&self.worker, stream);
        }
        // Short connections even out by themselves.
        let to = if self.worker.churn.is_short() { self.peers.own() } else { self.peers.choose() };
        let place = Place::new(&self.listener.connections, to);
        if to == self.peers.own() {
            return serve(Permit::new(&self.worker, &self.listener, place), stream, address);
        }
        match stream.into_accepted() {
            Ok(socket) => self.hand_over(Arrival { socket, address, listener: self.listener.number, place }),
            Err(error) => lost(&error),
        }
    }

    fn hand_over(&self, arrival: Arrival) {
        match self.peers.hand_over(arrival) {
            Ok(()) => self.worker.metrics.handed_over.increment(1),
            Err(arrival) => take(&self.worker, &self.listener, arrival),
        }
    }

    /// Serves what waits to be accepted. The kernel is asked itself: the runtime may not have been told of the last ones.
    /// Where this process has only tried itself, it is another one's.
    fn empty(&self, acceptor: Acceptor) {
        if self.worker.proving.is_on() {
            return;
        }
        let socket = match acceptor.into_socket() {
            Ok(socket) => socket,
            Err(error) => return lost(&error),
        };
        while let Ok((socket, address)) = socket.accept() {
            let place = Place::new(&self.listener.connections, self.peers.own());
            take(&self.worker, &self.listener, Arrival { socket, address, listener: self.listener.number, place });
        }
    }
}

fn take(worker: &Rc<Worker>, listener: &Rc<Listener>, arrival: Arrival) {
    let permit = Permit::new(worker, listener, arrival.place);
    match arrival.socket.into_stream() {
        Ok(stream) => serve(permit, stream, arrival.address),
        Err(error) => lost(&error),
    }
}

fn serve(permit: Permit, stream: Stream, address: Option<IpAddr>) {
    tokio::task::spawn_local(connection::serve(permit, stream, address));
}

/// The runtime cannot watch a socket, for want of memory or of what epoll may watch: it is closed.
fn lost(error: &io::Error) {
    classify(error).count();
}

async fn begun(phase: &mut watch::Receiver<Phase>) {
    // ignored: an error means that the worker is gone, which ends the drain as well.
    let _ = phase.wait_for(|phase| *phase != Phase::Open).await;
}

/// The next connection. The reserve of descriptors comes before clients.
async fn next(worker: &Worker, acceptor: &Acceptor) -> io::Result<Connected> {
    worker.probes.reserve().refill()?;
    acceptor.accept().await
}

/// Between half and one and a half of `pause`, so that workers do not come back together.
async fn pause_for(pause: Duration) {
    if !pause.is_zero() {
        sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
    }
}

/// Kinds of accept errors (accept(2), ERRORS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AcceptError {
    /// EMFILE, ENFILE.
    Descriptors,
    /// ENOBUFS, ENOMEM.
    Memory,
    /// The connection was gone, or its network was, before it was accepted: nothing is wrong here.
    Aborted,
    /// Anything else.
    Other,
}

fn classify(error: &io::Error) -> AcceptError {
    use rustix::io::Errno as E;
    match E::from_io_error(error) {
        Some(E::MFILE | E::NFILE) => AcceptError::Descriptors,
        Some(E::NOBUFS | E::NOMEM) => AcceptError::Memory,
        Some(E::CONNABORTED | E::CONNRESET | E::INTR | E::PERM | E::PROTO | E::NOPROTOOPT) => AcceptError::Aborted,
        Some(E::NETDOWN | E::NETUNREACH | E::HOSTDOWN | E::HOSTUNREACH | E::NONET | E::OPNOTSUPP) => {
            AcceptError::Aborted
        }
        _ => AcceptError::Other,
    }
}

impl AcceptError {
    /// Counts it, and says how long to pause.
    fn count(self) -> Duration {
        let (reason, pause) = match self {
            Self::Descriptors => ("descriptors", SHORTAGE_PAUSE),
            Self::Memory => ("memory", SHORTAGE_PAUSE),
            Self::Aborted => ("aborted", Duration::ZERO),
            Self::Other => ("other", SHORTAGE_PAUSE),
        };
        metrics::accept_error(reason);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_pauses_and_a_lost_client_does_not() {
        use rustix::io::Errno as E;
        let cases = [
            (E::MFILE, AcceptError::Descriptors, true),
            (E::NFILE, AcceptError::Descriptors, true),
            (E::NOMEM, AcceptError::Memory, true),
            (E::CONNABORTED, AcceptError::Aborted, false),
            (E::NETDOWN, AcceptError::Aborted, false),
            (E::BADF, AcceptError::Other, true),
        ];
        for (errno, expected, pauses) in cases {
            let kind = classify(&io::Error::from(errno));
            assert_eq!(kind, expected, "{errno:?}");
            assert_eq!(!kind.count().is_zero(), pauses, "{errno:?}");
        }
    }
}
