//! What is said to those who are not served, so that the rest is.
//!
//! A request is refused before anything is made for it. A connection is accepted only to be told so: in the backlog its
//! client would wait for a time-out in place of asking another gateway, and this process's own probe would wait behind it.
//! What it is told is the same few bytes for everybody; they are written once it has asked, as an answer before the
//! question is an error to some clients, and it is read on for a while, as a reset may overtake them.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    body::ResponseBody,
    connection::Connection,
    context::{Listener, Worker},
    failure::Cause,
    metrics,
    service::Reply,
};
use crate::{
    message::{ResponseHead, names},
    net::{stream::Stream, wheel::within},
};

/// The body of the answer.
const WORDS: &str = "503 Service Unavailable: the gateway is overloaded\n";
const STATUS: &str = "holdgate; error=proxy_internal_error; details=\"the gateway is overloaded\"";
const RETRY_AFTER: &str = "2";

/// The whole answer to a connection that is turned away.
const ANSWER: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 51\r\n\
                      cache-control: no-store\r\nretry-after: 2\r\n\
                      proxy-status: holdgate; error=proxy_internal_error; details=\"the gateway is overloaded\"\r\n\
                      connection: close\r\n\r\n503 Service Unavailable: the gateway is overloaded\n";

/// Connections of one worker that are being told; more are closed without a word. Each has a descriptor and 2 kB.
const MOST: usize = 256;
/// How long a client is waited for: to ask, and to end its side once it was told.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much it may send meanwhile.
const BYTES: usize = 64 << 10;
/// How often others get their turn for a connection that was told to close to do so.
const TURNS: usize = 4;
/// At so many places, or fewer, one idle connection is closed for one that comes; a multiple where there are more, so that
/// looking for the oldest costs no more for each.
const PLACES: usize = 1000;
/// The most that are closed at once.
const MOST_CLOSED: usize = 32;

/// The answer to a request that is not served; `None`: it is to be.
pub(crate) fn refusal(connection: &Connection, method: &Method) -> Option<Reply> {
    let standing = connection.worker().overload.standing();
    if !standing.refuses_requests() || connection.is_probe() {
        return None;
    }
    metrics::shed(standing.reason.as_str());
    metrics::own_answer(Cause::Overloaded.row().error);
    connection.listener().metrics.request(StatusCode::SERVICE_UNAVAILABLE.as_u16());
    connection.answers(false);
    Some(answer(*method == Method::HEAD))
}

fn answer(bodiless: bool) -> Reply {
    let body = if bodiless { ResponseBody::empty() } else { ResponseBody::full(Bytes::from_static(WORDS.as_bytes())) };
    let mut head = ResponseHead::new(StatusCode::SERVICE_UNAVAILABLE);
    head.fields.extend([
        (names::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (names::CONTENT_LENGTH, "51"),
        (names::CACHE_CONTROL, "no-store"),
        (names::RETRY_AFTER, RETRY_AFTER),
        (names::PROXY_STATUS, STATUS),
    ]);
    Reply { last: true, ..(head, body).into() }
}

/// True when a new connection may be served; where there is no place for it, idle ones are closed, the oldest first.
pub(crate) async fn admits(worker: &Worker, listener: &Listener) -> bool {
    let standing = worker.overload.standing();
    if standing.refuses_connections() {
        metrics::shed(standing.reason.as_str());
        return false;
    }
    let (configured, fitting) = (worker.settings().limits.max_connections, worker.overload.places());
    let places = configured.min(fitting);
    for _ in 0..TURNS {
        if !listener.connections.is_full(places) {
            return true;
        }
        let closed = worker.roster.close_oldest((places / PLACES).clamp(1, MOST_CLOSED));
        metrics::idle_closed("connections", closed);
        tokio::task::yield_now().await;
    }
    if !listener.connections.is_full(places) {
        return true;
    }
    if fitting < configured {
        metrics::shed("memory");
    } else {
        metrics::shed("connections");
        worker.overload.turned_away();
    }
    false
}

/// Tells a client that it is not served.
pub(crate) fn turn_away(worker: &Rc<Worker>, stream: Stream) {
    if worker.turned_away.get() < MOST {
        tokio::task::spawn_local(tell(Guest::of(worker), stream));
    }
}

async fn tell(_guest: Guest, mut stream: Stream) {
    let mut buffer = [0; 1024];
    // ignored: a client that has not asked in time is told all the same.
    let _ = within(PATIENCE, stream.read(&mut buffer)).await;
    // ignored: whichever way it ends, the socket is closed now.
    let _ = within(PATIENCE, farewell(&mut stream, &mut buffer)).await;
}

async fn farewell(stream: &mut Stream, buffer: &mut [u8]) -> std::io::Result<()> {
    stream.write_all(ANSWER.as_bytes()).await?;
    stream.shutdown().await?;
    let mut total = 0;
    while total < BYTES {
        match stream.read(buffer).await? {
            0 => break,
            read => total += read,
        }
    }
    Ok(())
}

/// Counts a connection that is turned away: its worker's end waits for it, and it takes no place.
struct Guest(Rc<Worker>);

impl Guest {
    fn of(worker: &Rc<Worker>) -> Self {
        worker.opened();
        worker.turned_away.set(worker.turned_away.get() + 1);
        Self(Rc::clone(worker))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.turned_away.set(self.0.turned_away.get().saturating_sub(1));
        self.0.closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::failure::{Failure, Stage};

    /// The bytes, the headers and the cause are written down apart, and say the same.
    #[test]
    fn requests_and_connections_are_told_the_same_as_the_cause_says() {
        let row = Cause::Overloaded.row();
        let expected = super::super::answer::raw(&Failure::new(Stage::Admit, Cause::Overloaded));
        let expected = String::from_utf8(expected).unwrap();
        let mut lines: Vec<_> = expected.split("\r\n").filter(|line| !line.starts_with("date: ")).collect();
        let mut said: Vec<_> = ANSWER.split("\r\n").collect();
        lines.sort_unstable();
        said.sort_unstable();
        assert_eq!(said, lines);
        assert_eq!((row.status.as_u16(), row.retry_after), (503, RETRY_AFTER.parse().ok()));
        let fields = answer(false).head.fields;
        for (name, value) in fields.iter() {
            let line = format!("{name}: {}", str::from_utf8(value).unwrap());
            assert!(ANSWER.contains(&format!("\r\n{line}\r\n")), "{line}");
        }
        // The start, the empty line, the body, and the end that every connection's last answer announces.
        assert_eq!(fields.len() + 4, said.len());
        assert!(ANSWER.ends_with(WORDS) && WORDS.len() == 51);
    }
}
