//! A body as it comes, with its deadlines and bounds.

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

use super::{super::Failure, error::of_body};

/// A body being read.
pub(super) struct Reading {
    pub(super) response: Response,
    /// The first byte comes before this.
    pub(super) first_by: Instant,
    /// From then on no pause is longer than this.
    pub(super) progress: Duration,
    /// It has ended by this, however it trickles.
    pub(super) overall: Instant,
}

impl Reading {
    /// The next bytes, decompressed; `None` at the end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let by = self.first_by.min(self.overall);
        let chunk = timeout_at(by, self.response.chunk()).await.map_err(|_| self.late())?.map_err(of_body)?;
        self.first_by = Instant::now() + self.progress;
        Ok(chunk)
    }

    /// All of it, when it is no longer than `limit` bytes; what is longer is not read to its end.
    pub(super) async fn whole(&mut self, limit: u64) -> Result<Bytes, Failure> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(Failure::TooLarge { limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    fn late(&self) -> Failure {
        let what = if Instant::now() >= self.overall { "it took too long as a whole" } else { "no byte for too long" };
        Failure::Timeout(what)
    }
}
