//! `GET /v1/table/export`: the served table as a snapshot's body, made while it is sent.
//!
//! It holds the one generation it began with, and a chunk of it at a time, whatever the client does.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use memchr::memchr;
use routing_cache::{
    live::Published,
    model::{Digest, Epoch, Record, app_digest},
    table::Walk,
    wire::encode::{one_line, snapshot_app, snapshot_begin, snapshot_end},
};

use super::patience::Patience;

/// Bytes of documents in one part of the body; the last app's document may go over it.
const CHUNK: usize = 256 << 10;

/// A body that is made while it is sent.
#[derive(Debug)]
pub(super) struct Export {
    published: Arc<Published>,
    epoch: Epoch,
    /// Over what is written.
    digest: Digest,
    next: Part,
    patience: Patience,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Begin,
    Apps(Walk),
    End,
    Nothing,
}

impl Export {
    /// The table of `published`; `None` where there is none.
    pub(super) fn of(published: Arc<Published>, patience: Patience) -> Option<Self> {
        if !published.has_table() {
            return None;
        }
        let epoch = published.provenance.epoch.clone()?;
        let digest = published.table.digest();
        Some(Self { published, epoch, digest, next: Part::Begin, patience })
    }

    fn part(&mut self) -> Option<Vec<u8>> {
        let (table, generation) = (&self.published.table, self.published.provenance.generation);
        let apps = table.len() as u64;
        match self.next {
            Part::Begin => {
                self.next = Part::Apps(Walk::default());
                Some(snapshot_begin(&self.epoch, generation, true, apps))
            }
            Part::Apps(from) => {
                let (records, next) = table.walk(from, CHUNK);
                let mut out = Vec::with_capacity(CHUNK + CHUNK / 4);
                for record in records {
                    match on_one_line(record) {
                        None => snapshot_app(&mut out, record.id(), record.rev(), record.document()),
                        Some(document) => {
                            let written = app_digest(record.id(), record.rev(), &document);
                            self.digest = self.digest.minus(record.digest()).plus(written);
                            snapshot_app(&mut out, record.id(), record.rev(), &document);
                        }
                    }
                }
                self.next = next.map_or(Part::End, Part::Apps);
                Some(out)
            }
            Part::End => {
                self.next = Part::Nothing;
                Some(snapshot_end(apps, self.digest))
            }
            Part::Nothing => None,
        }
    }
}

/// The document without its line ends, which would break the framing; `None` where it has none. Then its digest is
/// another one, and so is the table's.
fn on_one_line(record: Record<'_>) -> Option<Vec<u8>> {
    memchr(b'\n', record.document())?;
    one_line(record.document()).ok()
}

impl Body for Export {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let export = self.get_mut();
        // Asked for only once the part before has gone out, or into the connection's own bounded buffer.
        export.patience.extend();
        Poll::Ready(export.part().map(|part| Ok(Frame::data(part.into()))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.next, Part::Nothing)
    }
}

#[cfg(test)]
mod tests;
