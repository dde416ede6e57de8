//! An upgraded connection: bytes both ways until both sides have ended, or neither has said anything for too long.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional},
    time::{Instant, sleep_until, timeout},
};

use super::{attempt::Held, connection::Connection, downstream::Downstream, record::Record};
use crate::net::stream::Stream;

/// How long the client's connection may take to come out of hyper: the 101 has to be written to it.
const HANDOVER: Duration = Duration::from_secs(10);

/// The two connections of an upgrade that both sides have agreed to.
pub(crate) struct Tunnel {
    pub(crate) connection: Rc<Connection>,
    pub(crate) client: OnUpgrade,
    pub(crate) held: Held,
    pub(crate) idle: Duration,
}

/// One end, with what was already read of it.
type End = (Stream, Bytes);

impl Tunnel {
    /// Begins as soon as the 101 has been written; ends by itself, or with the worker at the end of a drain. The
    /// connection counts as open until then.
    pub(crate) fn start(self, record: Record) {
        tokio::task::spawn_local(self.run(record));
    }

    async fn run(self, mut record: Record) {
        let gauge = Open::new(&self.connection);
        let Self { client, held, idle, connection } = self;
        connection.pass_through();
        let Ok(Some(client)) = timeout(HANDOVER, hand_over(client)).await else {
            return record.broke("http_upgrade_failed");
        };
        let Some((upstream, place)) = held.into_stream() else {
            return record.broke("http_upgrade_failed");
        };
        let outcome = pump(client, upstream, idle, &mut record).await;
        if outcome.is_ok() {
            record.complete();
        } else {
            record.broke("connection_terminated");
        }
        drop((place, gauge));
    }
}

/// Counts an upgraded connection while it is open.
struct Open(Rc<Connection>);

impl Open {
    fn new(connection: &Rc<Connection>) -> Self {
        connection.worker().metrics.upgrades.increment(1.0);
        Self(Rc::clone(connection))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.worker().metrics.upgrades.decrement(1.0);
    }
}

/// Takes the client's connection out of hyper.
async fn hand_over(client: OnUpgrade) -> Option<End> {
    let client = client.await.ok()?.downcast::<Downstream>().ok()?;
    Some((client.io.into_stream(), client.read_buf))
}

async fn pump(client: End, upstream: End, idle: Duration, record: &mut Record) -> io::Result<()> {
    let last = Cell::new(Instant::now());
    let (client, early_client) = client;
    let (upstream, early_upstream) = upstream;
    let mut client = Watched { stream: client, last: &last };
    let mut upstream = Watched { stream: upstream, last: &last };
    let work = async {
        upstream.write_all(&early_client).await?;
        client.write_all(&early_upstream).await?;
        let (up, down) = copy_bidirectional(&mut client, &mut upstream).await?;
        record.tunnelled(up, down);
        io::Result::Ok(())
    };
    tokio::select! {
        outcome = work => outcome,
        () = silence(&last, idle) => Ok(()),
    }
}

/// Returns once nothing has passed for `idle`.
async fn silence(last: &Cell<Instant>, idle: Duration) {
    loop {
        let end = last.get() + idle;
        if end <= Instant::now() {
            return;
        }
        sleep_until(end).await;
    }
}

/// A stream that notes when something last passed.
struct Watched<'a> {
    stream: Stream,
    last: &'a Cell<Instant>,
}

impl AsyncRead for Watched<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.last.set(Instant::now());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.last.set(Instant::now());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
