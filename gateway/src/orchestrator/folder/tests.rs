use std::fs;

use super::*;

const DOC: &str = r#"{"hosts":["a.example"],"endpoints":[]}"#;

struct Dir {
    dir: tempfile::TempDir,
    folder: Folder,
}

impl Dir {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().to_owned(), Limits::default());
        Self { dir, folder }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn read(&mut self) -> Reading {
        self.folder.read().unwrap()
    }
}

fn ids(reading: &Reading) -> Vec<&str> {
    reading.apps.keys().map(AppId::as_str).collect()
}

fn whole(text: &str) -> Document {
    Document::Whole(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn a_bare_document_is_the_app_that_its_file_is_named_after() {
    let mut dir = Dir::new();
    dir.write("blog.json", "{\n  \"hosts\": [\"a.example\"],\n  \"endpoints\": []\n}\n");
    let reading = dir.read();
    assert_eq!(reading.apps.get("blog"), Some(&whole(DOC)));
    assert_eq!(reading.partial(), None);
}

#[test]
fn a_file_may_hold_many_apps_as_a_map_as_lines_or_as_a_snapshot() {
    let mut dir = Dir::new();
    let line = |id| format!(r#"{{"app":"{id}","rev":7,"spec":{DOC}}}"#);
    let digest = app_digest_sum(&["e"]);
    dir.write("map.json", &format!(r#"{{"apps":{{"a":{DOC},"b":{DOC}}}}}"#));
    dir.write("lines.json", &format!("{}\n{}\n", line("c"), line("d")));
    let snapshot = [r#"{"begin":{"apps":1}}"#, &line("e"), &format!(r#"{{"end":{{"apps":1,"digest":"{digest}"}}}}"#)];
    dir.write("snapshot.json", &snapshot.join("\n"));
    dir.write("one.json", &line("f"));
    let reading = dir.read();
    assert_eq!(ids(&reading), ["a", "b", "c", "d", "e", "f"]);
    assert!(reading.apps.values().all(|document| *document == whole(DOC)));
    assert_eq!(reading.broken, Vec::<String>::new());
}

fn app_digest_sum(ids: &[&str]) -> routing_cache::model::Digest {
    use routing_cache::model::{Rev, app_digest};
    let numbers = ids.iter().map(|id| app_digest(id, Rev(7), DOC.as_bytes()));
    numbers.fold(Default::default(), routing_cache::model::Digest::plus)
}

#[test]
fn a_snapshot_that_is_cut_or_does_not_add_up_is_not_whole() {
    let begin = r#"{"begin":{"apps":1}}"#;
    let line = format!(r#"{{"app":"e","rev":7,"spec":{DOC}}}"#);
    let check = |lines: &[&str]| {
        let mut dir = Dir::new();
        dir.write("snapshot.json", &lines.join("\n"));
        let reading = dir.read();
        assert!(reading.apps.is_empty() && reading.partial().is_some(), "{lines:?}: {reading:?}");
    };
    check(&[begin, &line]);
    check(&[begin, &line, r#"{"end":{"apps":2}}"#]);
    check(&[begin, &line, r#"{"end":{"apps":1,"digest":"00000000000000000000000000000000"}}"#]);
    check(&[begin, &line, &line, r#"{"end":{"apps":2}}"#]);
}

#[test]
fn hidden_and_temporary_files_are_ignored() {
    let mut dir = Dir::new();
    for name in [".hidden.json", "#blog.json", "blog.json~", "blog.json.swp", "README.md", "4913"] {
        dir.write(name, "not a document");
    }
    fs::create_dir(dir.dir.path().join("folder.json")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.dir.path().join("dangling.json")).unwrap();
    let reading = dir.read();
    assert!(reading.apps.is_empty() && reading.broken.is_empty() && reading.problems.is_empty(), "{reading:?}");
}

#[test]
fn a_half_written_document_is_torn_and_whole_again_later() {
    let mut dir = Dir::new();
    dir.write("blog.json", DOC);
    dir.write("shop.json", DOC);
    dir.read();
    dir.write("blog.json", &DOC[..10]);
    let reading = dir.read();
    assert!(matches!(reading.apps.get("blog"), Some(Document::Torn(..))));
    assert_eq!(ids(&reading), ["blog", "shop"]);
    assert_eq!(reading.partial(), None, "it was the document of one app, so no other app can be missing");
    dir.write("blog.json", DOC);
    assert_eq!(dir.read().apps.get("blog"), Some(&whole(DOC)));
}

#[test]
fn a_half_written_file_of_many_apps_keeps_them_all() {
    let mut dir = Dir::new();
    let all = format!(r#"{{"apps":{{"a":{DOC},"b":{DOC}}}}}"#);
    dir.write("all.json", &all);
    dir.read();
    for torn in ["", &all[..20], "garbage"] {
        dir.write("all.json", torn);
        let reading = dir.read();
        assert_eq!(ids(&reading), ["a", "b"], "{torn:?}");
        assert!(reading.partial().is_some());
    }
}

#[test]
fn a_broken_file_that_was_never_whole_makes_the_reading_partial() {
    let mut dir = Dir::new();
    dir.write("blog.json", DOC);
    dir.write("all.json", r#"{"apps":{"a":"#);
    let reading = dir.read();
    assert_eq!(ids(&reading), ["blog"]);
    assert!(reading.partial().unwrap().contains("all.json"));
    dir.write("all.json", "{\"hos");
    let reading = dir.read();
    assert!(matches!(reading.apps.get("all"), Some(Document::Torn(..))), "it looks like a bare document");
    assert!(reading.partial().is_some(), "but it may be another kind");
}

#[test]
fn an_app_in_two_files_is_that_of_the_first_and_a_problem() {
    let mut dir = Dir::new();
    dir.write("a.json", &format!(r#"{{"apps":{{"shop":{DOC}}}}}"#));
    dir.write("shop.json", r#"{"hosts":[]}"#);
    let reading = dir.read();
    assert_eq!(reading.apps.get("shop"), Some(&whole(DOC)));
    assert_eq!(reading.problems.len(), 1);
}

#[test]
fn a_removed_file_takes_its_apps_away_and_a_missing_folder_takes_none() {
    let mut dir = Dir::new();
    dir.write("blog.json", DOC);
    dir.write("shop.json", DOC);
    dir.read();
    fs::remove_file(dir.dir.path().join("shop.json")).unwrap();
    assert_eq!(ids(&dir.read()), ["blog"]);
    fs::rename(dir.dir.path(), dir.dir.path().with_extension("away")).unwrap();
    assert!(matches!(dir.folder.read(), Err(ReadError::Io { .. })));
    assert!(dir.folder.probe().is_err());
    fs::rename(dir.dir.path().with_extension("away"), dir.dir.path()).unwrap();
    assert!(dir.folder.probe().is_ok());
}

#[test]
fn an_empty_folder_is_a_table_without_apps() {
    let mut dir = Dir::new();
    let reading = dir.read();
    assert!(reading.apps.is_empty() && reading.partial().is_none());
}

#[test]
fn a_file_changed_long_ago_is_not_read_again_and_one_replaced_is() {
    let mut dir = Dir::new();
    dir.write("blog.json", DOC);
    let path = dir.dir.path().join("blog.json");
    dir.read();
    let entry = || entries::list(dir.dir.path()).unwrap().remove(0);
    assert_eq!(entry().fingerprint, None, "it was written this moment: a further write might not show");
    // An old file: its inode, size and times are all that tells it from another.
    let known =
        Known { fingerprint: Some(entries::tests::settled(&path)), contents: dir.folder.files[&path].contents.clone() };
    let mut reading = Reading::default();
    dir.folder.files.insert(path.clone(), known);
    fs::write(&path, "changed meanwhile").unwrap();
    let old = Entry { path: path.clone(), fingerprint: dir.folder.files[&path].fingerprint.clone() };
    dir.folder.read_file(&old, &mut reading);
    assert_eq!(reading.apps.get("blog"), Some(&whole(DOC)), "the same fingerprint: not read");
    let mut reading = Reading::default();
    dir.folder.read_file(&Entry { path, fingerprint: None }, &mut reading);
    assert!(matches!(reading.apps.get("blog"), Some(Document::Torn(..))), "another: read");
}

#[test]
fn what_is_over_a_limit_as_a_whole_is_no_reading() {
    let mut dir = Dir::new();
    dir.write("a.json", DOC);
    dir.write("b.json", DOC);
    dir.folder.limits.snapshot_apps = 1;
    assert!(matches!(dir.folder.read(), Err(ReadError::TooLarge { unit: "apps", .. })));
    dir.folder.limits = Limits { snapshot_bytes: 50, ..Limits::default() };
    assert!(matches!(dir.folder.read(), Err(ReadError::TooLarge { unit: "bytes", .. })));
}

#[test]
fn a_single_file_is_read_whatever_its_name() {
    let dir = Dir::new();
    dir.write("table.ndjson", &format!(r#"{{"app":"blog","rev":1,"spec":{DOC}}}"#));
    let mut folder = Folder::new(dir.dir.path().join("table.ndjson"), Limits::default());
    assert_eq!(ids(&folder.read().unwrap()), ["blog"]);
}
