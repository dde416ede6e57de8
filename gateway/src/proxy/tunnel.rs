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
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional},
    time::{Instant, sleep_until},
};

use super::{attempt::Held, connection::Connection, record::Record};
use crate::net::stream::Stream;

/// What an upgrade that both sides have agreed to leads to, once the client has been told.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) held: Held,
    pub(crate) idle: Duration,
    pub(crate) record: Record,
}

/// One end, with what was already read of it.
pub(crate) type End = (Stream, Bytes);

impl Tunnel {
    /// Begins with the client's end; ends by itself, or with the worker at the end of a drain. The connection counts as open
    /// until then.
    pub(crate) fn start(self, connection: &Rc<Connection>, client: End) {
        tokio::task::spawn_local(self.run(Open::new(connection), client));
    }

    async fn run(self, gauge: Open, client: End) {
        let Self { held, idle, mut record } = self;
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
