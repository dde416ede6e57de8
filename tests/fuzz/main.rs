//! The checks of fuzz/ over their corpus, and over mutations of it: a short budget of what cargo-fuzz does for hours.
//!
//! `HOLDGATE_FUZZ_RUNS` mutations for each target (2,000 when not given), from `HOLDGATE_FUZZ_SEED` (1). A failure prints
//! the seed, the number and the input.

#[path = "../../fuzz/checks.rs"]
mod checks;
mod mutate;

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
};

use checks::Check;
use mutate::Mutator;

/// Mutations for each target.
const RUNS: u64 = 2_000;
/// The largest file of a corpus, in bytes: mutations of small inputs reach further.
const MAX_CORPUS_BYTES: usize = 4096;

/// One test for each target, so that they run side by side.
macro_rules! targets {
    ($($name:ident),+ $(,)?) => {
        const TESTED: &[&str] = &[$(stringify!($name)),+];
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })+
    };
}

targets!(document, snapshot_body, changes, record, snapshot_file, journal);

#[test]
fn every_target_has_a_check_a_test_a_file_and_a_corpus() {
    let names = |names: &mut dyn Iterator<Item = String>| names.collect::<BTreeSet<_>>();
    let checked = names(&mut checks::TARGETS.iter().map(|(name, _)| (*name).to_owned()));
    let stems = |folder: &str| names(&mut entries(&fuzz().join(folder)).iter().map(|path| stem(path)));
    assert_eq!(names(&mut TESTED.iter().map(|name| (*name).to_owned())), checked);
    assert_eq!((stems("fuzz_targets"), stems("corpus")), (checked.clone(), checked.clone()));
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    assert!(checked.iter().all(|name| manifest.contains(&format!("name = \"{name}\""))), "a target without a [[bin]]");
}

fn run(target: &str) {
    let check = checks::TARGETS.iter().find(|(name, _)| *name == target).expect("the target is in TARGETS").1;
    let mut corpus = Vec::new();
    for file in entries(&fuzz().join("corpus").join(target)) {
        let input = fs::read(&file).unwrap();
        assert!(input.len() <= MAX_CORPUS_BYTES, "{} is too large", file.display());
        let valid = attempt(check, &input, "of the corpus");
        assert_eq!(valid, !stem(&file).starts_with("bad_"), "{}: is it valid?", file.display());
        corpus.push(input);
    }
    let seed = number("HOLDGATE_FUZZ_SEED").unwrap_or(1);
    let (runs, mut mutator) = (number("HOLDGATE_FUZZ_RUNS").unwrap_or(RUNS), Mutator::new(seed, &corpus));
    for run in 0..runs {
        attempt(check, &mutator.next(), &format!("of HOLDGATE_FUZZ_SEED={seed}, number {run}"));
    }
}

fn attempt(check: Check, input: &[u8], which: &str) -> bool {
    catch_unwind(AssertUnwindSafe(|| check(input))).unwrap_or_else(|panic| {
        eprintln!("input {which}: b\"{}\"", input.escape_ascii());
        resume_unwind(panic)
    })
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort_unstable();
    entries
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}
