//! What was saved comes back, and what is not whole is never taken for it.

use std::io;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn bytes_of(saved: &Saved) -> Bytes {
    let mut out = Vec::new();
    let written = encode(saved, &mut out).unwrap();
    assert_eq!(written, out.len() as u64);
    out.into()
}

fn served(rev: u64, document: &[u8]) -> ServedApp {
    ServedApp { rev: Rev(rev), digest: Digest(u128::from(rev) << 70), document: Bytes::copy_from_slice(document) }
}

fn saved_app(id: &str, served: Option<ServedApp>, received: Option<ReceivedApp>) -> SavedApp {
    SavedApp { id: AppId::new(id).unwrap(), served, received }
}

/// One app of each sort.
fn small() -> Saved {
    let shop = served(790_113, br#"{"hosts":["shop.example.com"]}"#);
    let newer = ReceivedApp { rev: Rev(9), digest: Digest(9) };
    Saved {
        meta: SavedMeta {
            epoch: Epoch::new("01J9").unwrap(),
            generation: Generation(812_344),
            served_generation: Generation(812_340),
            source: "live".to_owned(),
            received_at: WallTime(1_700_000_000_000),
            received: ReceivedTable { digest: Digest(7 << 100), apps: 3 },
            guard_window: vec![(WallTime(1), 2), (WallTime(3), 4)],
            hour_max: 4,
            held: Some(SavedHeld {
                reason: "shrink-guard".to_owned(),
                since: WallTime(5),
                generation: Generation(812_344),
            }),
        },
        apps: vec![
            saved_app("shop", Some(shop.clone()), Some(shop.as_received())),
            saved_app("held", Some(served(2, b"{}")), None),
            saved_app("invalid-since", Some(served(3, b"{}")), Some(newer)),
            saved_app("never-valid", None, Some(newer)),
        ],
    }
}

prop_compose! {
    fn any_served()(rev: u64, digest: u128, document in proptest::collection::vec(any::<u8>(), 0..300)) -> ServedApp {
        ServedApp { rev: Rev(rev), digest: Digest(digest), document: document.into() }
    }
}

prop_compose! {
    fn any_app()(
        id in "[a-zé]{1,20}",
        served in proptest::option::of(any_served()),
        other in proptest::option::of(any::<(u64, u128)>()),
        same: bool,
    ) -> SavedApp {
        let other = other.map(|(rev, digest)| ReceivedApp { rev: Rev(rev), digest: Digest(digest) });
        let received = if same { served.as_ref().map(ServedApp::as_received) } else { other };
        saved_app(&id, served, received)
    }
}

prop_compose! {
    fn any_meta()(
        epoch in "[!-~]{1,128}",
        source in "\\PC{0,40}",
        numbers: [u64; 5],
        digest: u128,
        window in proptest::collection::vec(any::<(u64, u64)>(), 0..20),
        held in proptest::option::of(("\\PC{0,40}", any::<u64>(), any::<u64>())),
    ) -> SavedMeta {
        let held = held.map(|(reason, since, at)| SavedHeld { reason, since: WallTime(since), generation: Generation(at) });
        SavedMeta {
            epoch: Epoch::new(&epoch).unwrap(),
            generation: Generation(numbers[0]),
            served_generation: Generation(numbers[1]),
            source,
            received_at: WallTime(numbers[2]),
            received: ReceivedTable { digest: Digest(digest), apps: numbers[3] },
            guard_window: window.into_iter().map(|(at, taken)| (WallTime(at), taken)).collect(),
            hour_max: numbers[4],
            held,
        }
    }
}

proptest! {
    #[test]
    fn what_was_saved_comes_back(meta in any_meta(), apps in proptest::collection::vec(any_app(), 0..30)) {
        let saved = Saved { meta, apps };
        prop_assert_eq!(decode(&bytes_of(&saved)), Ok(saved));
    }

    #[test]
    fn bytes_from_anywhere_are_refused_without_harm(noise in proptest::collection::vec(any::<u8>(), 0..400), keep in 0..60usize) {
        let whole = bytes_of(&small());
        let bytes: Bytes = [&whole[..keep], &noise].concat().into();
        prop_assert!(decode(&bytes).is_err());
    }

    /// Even where every checksum is right, no length leads past the end and no count takes memory that is not there.
    #[test]
    fn a_block_that_says_nonsense_in_good_order_is_refused_or_read(kind in prop_oneof![Just(KIND_META), Just(KIND_APPS)], payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        let meta = (KIND_META, meta_payload(&bytes_of(&small())));
        let blocks = if kind == KIND_META { vec![(kind, payload)] } else { vec![meta, (kind, payload)] };
        if let Ok(saved) = decode(&framed(&blocks, 0)) {
            prop_assert!(saved.apps.is_empty());
        }
    }
}

/// A file of these blocks with a footer that is right but for the count of apps, which is as given.
fn framed(blocks: &[(u8, Vec<u8>)], apps: u64) -> Bytes {
    let mut file = [MAGIC.as_slice(), &[SCHEMA]].concat();
    let mut checksums = Vec::new();
    let mut put = |kind: u8, payload: &[u8], checksums: &mut Vec<u8>| {
        let start = file.len();
        file.push(kind);
        file.extend((payload.len() as u32).to_le_bytes());
        file.extend(payload);
        let checksum = crc32c::crc32c(&file[start..]).to_le_bytes();
        file.extend(checksum);
        checksums.extend(checksum);
    };
    for (kind, payload) in blocks {
        put(*kind, payload, &mut checksums);
    }
    let footer =
        [&apps.to_le_bytes()[..], &(blocks.len() as u32).to_le_bytes(), &crc32c::crc32c(&checksums).to_le_bytes()]
            .concat();
    put(KIND_FOOTER, &footer, &mut Vec::new());
    file.into()
}

/// The payload of the first block.
fn meta_payload(file: &Bytes) -> Vec<u8> {
    payloads(file)[0].1.clone()
}

/// Kind and payload of each block but the footer.
fn payloads(file: &Bytes) -> Vec<(u8, Vec<u8>)> {
    let (mut at, mut blocks) = (HEADER_BYTES, Vec::new());
    while file[at] != KIND_FOOTER {
        let length = u32::from_le_bytes(file[at + 1..at + BLOCK_HEAD_BYTES].try_into().unwrap()) as usize;
        let start = at + BLOCK_HEAD_BYTES;
        blocks.push((file[at], file[start..start + length].to_vec()));
        at = start + length + CHECKSUM_BYTES;
    }
    blocks
}

fn fault_of(file: &Bytes) -> (Block, Fault) {
    let error = decode(file).unwrap_err();
    (error.block, error.fault)
}

#[test]
fn every_flipped_byte_is_detected() {
    let whole = bytes_of(&small());
    for at in 0..whole.len() {
        for flip in [1, 0x80, 0xff] {
            let mut bytes = whole.to_vec();
            bytes[at] ^= flip;
            assert!(decode(&bytes.into()).is_err(), "byte {at} ^ {flip:#x}");
        }
    }
}

#[test]
fn every_truncation_is_detected() {
    let whole = bytes_of(&small());
    for length in 0..whole.len() {
        assert!(decode(&whole.slice(..length)).is_err(), "{length} bytes");
    }
}

#[test]
fn a_byte_too_many_is_detected() {
    let bytes: Bytes = [&bytes_of(&small())[..], b"x"].concat().into();
    assert_eq!(fault_of(&bytes).1, Fault::Trailing(1));
}

#[test]
fn zeros_where_bytes_were_are_detected() {
    let whole = bytes_of(&small());
    for from in 0..whole.len() - 1 {
        let mut bytes = whole.to_vec();
        bytes[from..].fill(0);
        assert!(decode(&bytes.into()).is_err(), "zeros from {from}");
    }
}

#[test]
fn an_error_names_the_block_and_the_byte() {
    let whole = bytes_of(&small());
    let at = whole.windows(8).position(|window| window == b"shop.exa").unwrap();
    let mut bytes = whole.to_vec();
    bytes[at] ^= 1;
    let error = decode(&bytes.into()).unwrap_err();
    let start = HEADER_BYTES + BLOCK_HEAD_BYTES + meta_payload(&whole).len() + CHECKSUM_BYTES;
    assert_eq!((error.block, error.offset), (Block::Index(1), start as u64));
    assert!(error.to_string().starts_with(&format!("block 1 at byte {start} has checksum ")), "{error}");
}

#[test]
fn blocks_that_changed_places_or_went_are_detected() {
    let mut saved = small();
    saved.apps =
        (0..3).map(|i| saved_app(&format!("app-{i}"), Some(served(i, &vec![b'x'; 300 << 10])), None)).collect();
    let blocks = payloads(&bytes_of(&saved));
    assert_eq!(blocks.len(), 4);
    assert_eq!(decode(&framed(&blocks, 3)), Ok(saved.clone()));
    let whole = bytes_of(&saved);
    let footer = whole.slice(whole.len() - (BLOCK_HEAD_BYTES + 16 + CHECKSUM_BYTES)..);
    for order in [&[0, 2, 1, 3][..], &[0, 1, 1, 3], &[0, 1, 3], &[0, 1, 2, 3, 3], &[1, 0, 2, 3], &[0, 0, 1, 2, 3]] {
        let moved: Vec<_> = order.iter().map(|at| blocks[*at].clone()).collect();
        let file = framed(&moved, 3);
        let cut = file.slice(..file.len() - footer.len());
        assert!(decode(&[cut, footer.clone()].concat().into()).is_err(), "{order:?}");
    }
}

#[test]
fn another_schema_is_told_from_damage() {
    let mut bytes = bytes_of(&small()).to_vec();
    bytes[MAGIC.len()] = SCHEMA + 1;
    let error = decode(&bytes.into()).unwrap_err();
    assert!(error.is_from_another_version(), "{error}");
    assert!(!decode(&Bytes::new()).unwrap_err().is_from_another_version());
}

#[test]
fn what_a_later_version_adds_is_passed_over() {
    let saved = small();
    let mut blocks = payloads(&bytes_of(&saved));
    blocks[0].1.extend(b"a field of tomorrow");
    blocks.insert(1, (KIND_OPTIONAL, b"a block of tomorrow".to_vec()));
    assert_eq!(decode(&framed(&blocks, 4)), Ok(saved));
}

#[test]
fn what_this_version_must_know_and_does_not_is_refused() {
    let mut blocks = payloads(&bytes_of(&small()));
    blocks.push((KIND_OPTIONAL - 1, Vec::new()));
    assert_eq!(fault_of(&framed(&blocks, 4)), (Block::Index(2), Fault::Kind(KIND_OPTIONAL - 1)));
}

#[test]
fn a_length_is_held_against_what_is_left() {
    let meta = (KIND_META, meta_payload(&bytes_of(&small())));
    let mut app = vec![FLAG_SERVED, 1, b'a'];
    app.extend([0; 24]);
    app.extend(u32::MAX.to_le_bytes());
    let (block, fault) = fault_of(&framed(&[meta, (KIND_APPS, app)], 1));
    assert_eq!((block, fault), (Block::Index(1), Fault::CutShort { needed: u32::MAX.into(), left: 0 }));
}

#[test]
fn a_count_of_window_entries_takes_no_memory_by_itself() {
    let mut saved = small();
    saved.meta.guard_window.clear();
    saved.meta.held = None;
    let mut meta = meta_payload(&bytes_of(&saved));
    let at = meta.len() - 5;
    meta[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(fault_of(&framed(&[(KIND_META, meta)], 0)).1, Fault::CutShort { .. }));
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    let meta = (KIND_META, meta_payload(&bytes_of(&small())));
    for flags in [FLAG_SAME, FLAG_SAME | FLAG_RECEIVED, 8, 0x80] {
        let app = [&[flags, 1, b'a'][..], &[0; 48]].concat();
        let (_, fault) = fault_of(&framed(&[meta.clone(), (KIND_APPS, app)], 1));
        assert_eq!(fault, Fault::Field("app's flags"), "{flags}");
    }
}

#[test]
fn counts_that_are_not_those_of_the_file_are_refused() {
    let blocks = payloads(&bytes_of(&small()));
    let (block, fault) = fault_of(&framed(&blocks, 5));
    assert_eq!((block, fault), (Block::Footer, Fault::Count { what: "apps", stored: 5, found: 4 }));
    let mut file = framed(&blocks, 4).to_vec();
    let footer = file.len() - (BLOCK_HEAD_BYTES + 16 + CHECKSUM_BYTES);
    file[footer + BLOCK_HEAD_BYTES + 8] = 9;
    let checksum = crc32c::crc32c(&file[footer..file.len() - CHECKSUM_BYTES]);
    let end = file.len() - CHECKSUM_BYTES;
    file[end..].copy_from_slice(&checksum.to_le_bytes());
    let (block, fault) = fault_of(&file.into());
    assert_eq!((block, fault), (Block::Footer, Fault::Count { what: "blocks", stored: 9, found: 2 }));
}

#[test]
fn documents_are_slices_of_the_file() {
    let file = bytes_of(&small());
    let saved = decode(&file).unwrap();
    let document = &saved.apps[0].served.as_ref().unwrap().document;
    assert!(file.as_ptr_range().contains(&document.as_ptr()));
}

#[test]
fn a_word_too_long_is_cut_at_a_characters_end() {
    let mut saved = small();
    saved.meta.source = "é".repeat(200);
    assert_eq!(decode(&bytes_of(&saved)).unwrap().meta.source, "é".repeat(127));
}

#[test]
fn an_error_of_the_writer_is_handed_on() {
    let mut room = [0; 100];
    let error = encode(&small(), &mut room.as_mut_slice()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WriteZero);
}
