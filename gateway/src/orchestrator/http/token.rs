//! The bearer token's file.
//!
//! It is read before every call, so that a rotated token is used at once; the last good one is used while the file
//! cannot be read. The token is never logged.

use std::{io, path::PathBuf, sync::Mutex, sync::PoisonError};

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use tokio::io::AsyncReadExt;

/// The longest token that is read. Source: a header of more is over every server's limit.
const MAX_TOKEN_BYTES: u64 = 16 << 10;

/// Where the token stands, and the last one read from there.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    header: Option<HeaderValue>,
    failing: bool,
}

impl TokenFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, last: Mutex::default() }
    }

    /// The header that carries the token; empty when none was ever read.
    pub(super) async fn header(&self) -> HeaderMap {
        let read = self.read().await;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(header) => *last = Last { header: Some(header), failing: false },
            Err(error) => {
                if !std::mem::replace(&mut last.failing, true) {
                    tracing::warn!(file = %self.path.display(), %error, "the orchestrator's token cannot be read");
                }
            }
        }
        last.header.iter().map(|header| (AUTHORIZATION, header.clone())).collect()
    }

    async fn read(&self) -> io::Result<HeaderValue> {
        let mut text = String::new();
        tokio::fs::File::open(&self.path).await?.take(MAX_TOKEN_BYTES).read_to_string(&mut text).await?;
        let token = text.trim();
        if token.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty"));
        }
        let mut header = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "holds what a header cannot"))?;
        header.set_sensitive(true);
        Ok(header)
    }
}
