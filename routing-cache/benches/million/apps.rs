//! The apps: one host, one endpoint, the shortest document there is.

use routing_cache::{
    limits::Limits,
    model::{AppId, AppRecord, Digest, Epoch, Generation, Rev, app_digest},
    table::Table,
    wire::{Incoming, encode},
};

/// So many apps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Apps(pub(crate) u64);

/// The orchestrator's epoch.
pub(crate) fn epoch() -> Epoch {
    Epoch::new("01BENCH").unwrap()
}

/// The id of the nth app.
pub(crate) fn id(n: u64) -> String {
    format!("app-{n}")
}

/// The host of the nth app.
pub(crate) fn host(n: u64) -> String {
    format!("app-{n}.example.com")
}

/// The document of the nth app; another endpoint for another `version`.
pub(crate) fn document(n: u64, version: u64) -> Vec<u8> {
    let (a, b, c) = (n >> 16 & 255, n >> 8 & 255, n & 255);
    format!(r#"{{"hosts":["app-{n}.example.com"],"endpoints":["10.{a}.{b}.{c}:{}"]}}"#, 8000 + version % 1000)
        .into_bytes()
}

/// The nth app as the table holds it.
pub(crate) fn record(n: u64, rev: u64, version: u64) -> AppRecord {
    let id = AppId::new(&id(n)).unwrap();
    Incoming::read(id, Rev(rev), &document(n, version), &Limits::default()).app.unwrap()
}

/// The body of a changes answer that brings these apps, each in another version than `served` has.
pub(crate) fn changes(served: &Table, numbers: &[u64], generation: u64) -> Vec<u8> {
    let (rev, mut digest, mut changed) = (Rev(generation), served.digest(), Vec::with_capacity(numbers.len()));
    for &n in numbers {
        let (id, document) = (AppId::new(&id(n)).unwrap(), document(n, generation));
        let before = served.app(id.as_str()).unwrap().digest();
        digest = digest.minus(before).plus(app_digest(id.as_str(), rev, &document));
        changed.push((id, document));
    }
    let head = encode::ChangesHead {
        epoch: &epoch(),
        from: Generation(generation - 1),
        to: Generation(generation),
        ready: true,
        more: false,
        apps: served.len() as u64,
        digest,
        shrink_ok: None,
    };
    let upserts = changed.iter().map(|(id, document)| (id, rev, document.as_slice()));
    encode::changes(&head, upserts, &[])
}

impl Apps {
    /// Hands out a snapshot's body bit by bit; what it costs to make it is the caller's not to count.
    pub(crate) fn snapshot(self, generation: u64, rev: u64, version: u64, mut take: impl FnMut(&[u8])) {
        let mut digest = Digest::default();
        let mut part = encode::snapshot_begin(&epoch(), Generation(generation), true, self.0);
        for n in 0..self.0 {
            let document = document(n, version);
            digest = digest.plus(app_digest(&id(n), Rev(rev), &document));
            encode::snapshot_app(&mut part, &id(n), Rev(rev), &document);
            if part.len() >= 64 << 10 {
                take(&part);
                part.clear();
            }
        }
        part.extend_from_slice(&encode::snapshot_end(self.0, digest));
        take(&part);
    }
}

/// Numbers by chance, the same in each run (SplitMix64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// One below `end`, each as likely.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// One below `end` by Zipf's law (exponent 1): the inverse of the harmonic numbers' approximation. The popular ones
    /// are spread over the whole range, as they are in life.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "chance")]
    pub(crate) fn zipf(&mut self, end: u64) -> u64 {
        let uniform = (self.number() >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = ((end as f64).powf(uniform) - 1.0).min(end as f64 - 1.0) as u64;
        rank.wrapping_mul(0x9E37_79B9_7F4A_7C15) % end
    }
}
