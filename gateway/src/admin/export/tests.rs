use http_body_util::BodyExt;
use routing_cache::{
    limits::Limits,
    live::{Provenance, Source},
    model::{AppId, Generation, Rev, WallTime},
    table::Table,
    wire::{Incoming, SnapshotCandidate, SnapshotDecoder},
};

use super::*;

fn published(documents: &[String]) -> Arc<Published> {
    let mut table = Table::default();
    for (number, document) in documents.iter().enumerate() {
        let id = AppId::new(&format!("app-{number}")).unwrap();
        table.upsert(Incoming::read(id, Rev(7), document.as_bytes(), &Limits::default()).app.unwrap()).unwrap();
    }
    let provenance = Provenance {
        source: Source::Live,
        epoch: Some(Epoch::new("e").unwrap()),
        generation: Generation(9),
        received_at: WallTime(1),
    };
    Arc::new(Published { table, provenance })
}

fn document(number: usize, filler: usize) -> String {
    let error_page = "x".repeat(filler);
    format!(r#"{{"hosts":["h{number}.example"],"endpoints":["10.0.0.1:80"],"error_pages":{{"503":"{error_page}"}}}}"#)
}

/// The parts of the body, and what they decode to.
fn exported(published: &Arc<Published>) -> (Vec<Bytes>, SnapshotCandidate) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut export = Export::of(Arc::clone(published), Patience::new()).unwrap();
        let (mut parts, mut decoder) = (Vec::new(), SnapshotDecoder::new(Limits::default()));
        while let Some(Ok(frame)) = export.frame().await {
            let part = frame.into_data().unwrap();
            decoder.push(&part).unwrap();
            parts.push(part);
        }
        assert!(export.is_end_stream());
        (parts, decoder.finish().unwrap())
    })
}

#[test]
fn an_export_is_a_snapshot_of_what_is_served_in_parts_of_bounded_size() {
    let documents: Vec<String> = (0..120).map(|number| document(number, 10_000)).collect();
    let published = published(&documents);
    let (parts, candidate) = exported(&published);
    assert_eq!((candidate.epoch.as_str(), candidate.generation, candidate.apps.len()), ("e", Generation(9), 120));
    assert_eq!(candidate.digest, published.table.digest());
    assert!(parts.len() > 4 && parts.iter().all(|part| part.len() < CHUNK + (64 << 10)), "{}", parts.len());
}

#[test]
fn a_document_of_several_lines_is_written_on_one() {
    let several = "{\n  \"hosts\": [\"a b\"],\r\n \"endpoints\": []\n}".replace("a b", "h1.example");
    let published = published(&[document(0, 0), several]);
    let (_, candidate) = exported(&published);
    assert_ne!(candidate.digest, published.table.digest(), "it is over what is written");
    let app = candidate.apps.get("app-1").unwrap();
    assert_eq!(app.document(), br#"{"hosts":["h1.example"],"endpoints":[]}"#);
}

#[test]
fn without_a_table_there_is_nothing_to_export() {
    assert!(Export::of(Arc::default(), Patience::new()).is_none());
}
