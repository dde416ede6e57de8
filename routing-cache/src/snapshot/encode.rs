//! What is to be saved -> bytes, streamed block by block.

use std::io;

use super::{
    FLAG_RECEIVED, FLAG_SAME, FLAG_SERVED, KIND_APPS, KIND_FOOTER, KIND_META, MAGIC, ReceivedApp, SCHEMA, Saved,
    SavedApp, SavedMeta, ServedApp,
};

/// A block of apps is written once it is this large: large enough that checksum and system call cost nothing, small
/// enough that an error says where.
const BLOCK_BYTES: usize = 256 << 10;
/// The longest word kept, in bytes: its length is one byte.
const WORD_BYTES: usize = u8::MAX as usize;

/// Writes `saved` to `out`, block by block, and returns the number of bytes written.
///
/// # Errors
/// What `out` returns; and `InvalidInput` for a block or a count over 4 GiB, which no limit lets in.
pub fn encode(saved: &Saved, out: &mut dyn io::Write) -> io::Result<u64> {
    let mut blocks = Blocks::begin(out)?;
    let mut payload = meta(&saved.meta)?;
    blocks.put(KIND_META, &payload)?;
    payload.clear();
    for app in &saved.apps {
        put_app(&mut payload, app)?;
        if payload.len() >= BLOCK_BYTES {
            blocks.put(KIND_APPS, &payload)?;
            payload.clear();
        }
    }
    if !payload.is_empty() {
        blocks.put(KIND_APPS, &payload)?;
    }
    blocks.end(saved.apps.len() as u64)
}

/// Writes framed blocks and keeps what the footer says of them.
struct Blocks<'a> {
    out: &'a mut dyn io::Write,
    count: u32,
    checksums: u32,
    bytes: u64,
}

impl<'a> Blocks<'a> {
    fn begin(out: &'a mut dyn io::Write) -> io::Result<Self> {
        let header = [MAGIC.as_slice(), &[SCHEMA]].concat();
        out.write_all(&header)?;
        Ok(Self { out, count: 0, checksums: 0, bytes: header.len() as u64 })
    }

    fn put(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let length = number::<u32>(payload.len())?.to_le_bytes();
        let [a, b, c, d] = length;
        let head = [kind, a, b, c, d];
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&head), payload).to_le_bytes();
        for part in [head.as_slice(), payload, &checksum] {
            self.out.write_all(part)?;
            self.bytes += part.len() as u64;
        }
        self.checksums = crc32c::crc32c_append(self.checksums, &checksum);
        self.count += 1;
        Ok(())
    }

    fn end(mut self, apps: u64) -> io::Result<u64> {
        let footer = [apps.to_le_bytes().as_slice(), &self.count.to_le_bytes(), &self.checksums.to_le_bytes()].concat();
        self.put(KIND_FOOTER, &footer)?;
        Ok(self.bytes)
    }
}

fn meta(meta: &SavedMeta) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    put_word(&mut out, meta.epoch.as_str());
    put_u64s(&mut out, &[meta.generation.0, meta.served_generation.0]);
    put_word(&mut out, &meta.source);
    put_u64s(&mut out, &[meta.received_at.0, meta.received.apps]);
    out.extend_from_slice(&meta.received.digest.0.to_le_bytes());
    put_u64s(&mut out, &[meta.hour_max]);
    out.extend_from_slice(&number::<u32>(meta.guard_window.len())?.to_le_bytes());
    for (at, taken) in &meta.guard_window {
        put_u64s(&mut out, &[at.0, *taken]);
    }
    out.push(u8::from(meta.held.is_some()));
    if let Some(held) = &meta.held {
        put_word(&mut out, &held.reason);
        put_u64s(&mut out, &[held.since.0, held.generation.0]);
    }
    Ok(out)
}

fn put_app(out: &mut Vec<u8>, app: &SavedApp) -> io::Result<()> {
    let same = app.received.is_some() && app.received == app.served.as_ref().map(ServedApp::as_received);
    let served = if app.served.is_some() { FLAG_SERVED } else { 0 };
    let received = match app.received {
        Some(_) if same => FLAG_SAME,
        Some(_) => FLAG_RECEIVED,
        None => 0,
    };
    out.push(served | received);
    put_word(out, app.id.as_str());
    if let Some(served) = &app.served {
        put_received(out, served.as_received());
        out.extend_from_slice(&number::<u32>(served.document.len())?.to_le_bytes());
        out.extend_from_slice(&served.document);
    }
    if let Some(received) = app.received.filter(|_| !same) {
        put_received(out, received);
    }
    Ok(())
}

fn put_received(out: &mut Vec<u8>, received: ReceivedApp) {
    put_u64s(out, &[received.rev.0]);
    out.extend_from_slice(&received.digest.0.to_le_bytes());
}

fn put_u64s(out: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

/// Ids and epochs are shorter than the limit by their type; other words are cut there, at a character's end.
fn put_word(out: &mut Vec<u8>, word: &str) {
    let kept = word.get(..word.floor_char_boundary(WORD_BYTES)).unwrap_or_default();
    out.extend(u8::try_from(kept.len()));
    out.extend_from_slice(kept.as_bytes());
}

fn number<N: TryFrom<usize>>(length: usize) -> io::Result<N> {
    N::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}
