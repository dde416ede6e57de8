//! Values -> bytes. All numbers are little-endian.

use crate::{
    model::{AppId, AppRecord, Digest, Epoch, Provenance, Source, WallTime},
    state::{Change, Difference, Holding, Kind, Meta, Number, Op, Pin, PinnedBy, Position},
};

use super::{
    DELETED, INVALID, OP_AGREE, OP_BURY, OP_DIFFER, OP_PUT, OP_REMOVE, OP_UNBURY, OP_UNBURY_ALL, RESURRECTED, STALE,
    WAITING, WITHHELD,
};

/// Appends a change.
pub fn write_change(out: &mut Vec<u8>, change: &Change) {
    match &change.received {
        None => out.push(0),
        Some((position, apps, digest)) => {
            out.push(1);
            write_position(out, position);
            put_u64(out, *apps);
            put_digest(out, *digest);
        }
    }
    write_meta(out, &change.meta);
    put_length(out, change.ops.len());
    for op in &change.ops {
        write_op(out, op);
    }
}

fn write_op(out: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Remove(id) => tagged(out, OP_REMOVE, |out| put_id(out, id)),
        Op::Put(record) => tagged(out, OP_PUT, |out| put_record(out, record)),
        Op::Differ(id, difference) => tagged(out, OP_DIFFER, |out| {
            put_id(out, id);
            write_difference(out, difference);
        }),
        Op::Agree(id) => tagged(out, OP_AGREE, |out| put_id(out, id)),
        Op::Bury(id, rev) => tagged(out, OP_BURY, |out| {
            put_id(out, id);
            put_u64(out, rev.0);
        }),
        Op::Unbury(id) => tagged(out, OP_UNBURY, |out| put_id(out, id)),
        Op::UnburyAll => tagged(out, OP_UNBURY_ALL, |_| {}),
    }
}

/// Appends a difference.
pub fn write_difference(out: &mut Vec<u8>, difference: &Difference) {
    out.push(u8::from(difference.foreign));
    match &difference.kind {
        Kind::Deleted(rev) => tagged(out, DELETED, |out| put_u64(out, rev.0)),
        Kind::Withheld(record) => tagged(out, WITHHELD, |out| put_record(out, record)),
        Kind::Waiting(record, why) => tagged(out, WAITING, |out| {
            put_record(out, record);
            put_text(out, why);
        }),
        Kind::Invalid(number, field, message) => tagged(out, INVALID, |out| {
            put_number(out, number);
            put_text(out, field);
            put_text(out, message);
        }),
        Kind::Stale(number) => tagged(out, STALE, |out| put_number(out, number)),
        Kind::Resurrected(number) => tagged(out, RESURRECTED, |out| put_number(out, number)),
    }
}

/// Appends a meta, with its length before it.
pub fn write_meta(out: &mut Vec<u8>, meta: &Meta) {
    with_length(out, |out| {
        write_provenance(out, &meta.provenance);
        put_u64(out, meta.hour_max);
        put_length(out, meta.window.len());
        for (at, taken) in &meta.window {
            put_time(out, *at);
            put_u64(out, *taken);
        }
        put_option(out, meta.holding.as_ref(), write_holding);
        put_length(out, meta.retired.len());
        for epoch in &meta.retired {
            put_epoch(out, epoch);
        }
        put_option(out, meta.pin.as_ref(), write_pin);
        out.push(u8::from(meta.foreign));
    });
}

fn write_provenance(out: &mut Vec<u8>, provenance: &Provenance) {
    out.push(match provenance.source {
        Source::None => 0,
        Source::Snapshot => 1,
        Source::Live => 2,
        Source::Handover => 3,
        Source::Operator => 4,
    });
    put_option(out, provenance.epoch.as_ref(), put_epoch);
    put_u64(out, provenance.generation.0);
    put_time(out, provenance.received_at);
}

fn write_holding(out: &mut Vec<u8>, holding: &Holding) {
    put_time(out, holding.since);
    put_u64(out, holding.generation.0);
    put_u64(out, holding.evidence.apps_before);
    put_u64(out, holding.evidence.apps_after);
    put_u64(out, holding.evidence.percent.to_bits());
    put_u64(out, holding.evidence.window_s);
}

fn write_pin(out: &mut Vec<u8>, pin: &Pin) {
    put_time(out, pin.since);
    out.push(match pin.by {
        PinnedBy::Rollback => 1,
        PinnedBy::Import => 2,
    });
}

/// Appends a position.
pub fn write_position(out: &mut Vec<u8>, position: &Position) {
    put_epoch(out, &position.epoch);
    put_u64(out, position.generation.0);
}

fn put_number(out: &mut Vec<u8>, number: &Number) {
    put_u64(out, number.rev.0);
    put_digest(out, number.digest);
}

fn put_record(out: &mut Vec<u8>, record: &AppRecord) {
    out.extend_from_slice(record.get().as_bytes());
}

fn put_id(out: &mut Vec<u8>, id: &AppId) {
    put_text(out, id.as_str());
}

fn put_epoch(out: &mut Vec<u8>, epoch: &Epoch) {
    put_text(out, epoch.as_str());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_length(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_time(out: &mut Vec<u8>, time: WallTime) {
    put_u64(out, time.0);
}

fn put_digest(out: &mut Vec<u8>, digest: Digest) {
    out.extend_from_slice(&digest.0.to_le_bytes());
}

fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// A length over 32 bits cannot be read back; what is so long is over the limit of a frame or a block anyway.
fn put_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_option<T>(out: &mut Vec<u8>, value: Option<&T>, write: impl FnOnce(&mut Vec<u8>, &T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        write(out, value);
    }
}

fn tagged(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    with_length(out, write);
}

fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put_length(out, 0);
    write(out);
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}
