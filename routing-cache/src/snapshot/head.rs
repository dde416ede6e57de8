//! The first block: what is to be known before the rest comes.

use crate::{
    codec::{Malformed, Reader, read_meta, read_position, write_meta, write_position},
    model::Digest,
    state::{Meta, Position},
    table::BaseHead,
};

/// What the first block says.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// All changes up to this one are in the state.
    pub sequence: u64,
    /// The state's meta.
    pub meta: Meta,
    /// Position, count and digest of what was received.
    pub received: Option<(Position, u64, Digest)>,
    /// The table's.
    pub base: BaseHead,
}

impl Head {
    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.sequence.to_le_bytes());
        write_meta(&mut out, &self.meta);
        out.push(u8::from(self.received.is_some()));
        if let Some((position, apps, digest)) = &self.received {
            write_position(&mut out, position);
            out.extend_from_slice(&apps.to_le_bytes());
            out.extend_from_slice(&digest.0.to_le_bytes());
        }
        let base = self.base.to_bytes();
        out.extend_from_slice(&u32::try_from(base.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&base);
        out
    }

    /// What follows the fields known here is a later version's, and not looked at.
    pub(super) fn read(payload: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(payload);
        let sequence = from.u64("sequence number")?;
        let meta = read_meta(&mut from)?;
        let received = from.option("flag for what was received", |from| {
            Ok((read_position(from)?, from.u64("number of apps")?, from.digest()?))
        })?;
        let base = from.part("head of a table")?;
        Ok(Self { sequence, meta, received, base: BaseHead::from_bytes(base.rest()) })
    }
}
