//! A state folder from the outside: what is whole, what a start would serve, and putting it in order by hand.

use std::{io, path::Path, sync::Arc};

use crate::{
    disk::{Disk, LOCK_FILE, LockError},
    journal::Scanner,
    snapshot::{ReadError, check},
};

use super::{
    Damage, Deed, FileKind, FileReport, FileState, Inspection, OpenError, PoisonRules, Poisoned, WouldServe,
    boot::{self, find_poison},
    folder::{Files, Folder},
    names::{Kind, Name, Place, RUNS, RUNS_STAGED},
    replay::{Restore, Restored, Segment},
    runs::Runs,
};

/// No file of runs is larger.
const MAX_RUNS_BYTES: u64 = 64 << 10;

/// Looks at a state folder: what is whole, what is not, and what a boot would serve. Takes no lock and changes nothing, so
/// it may be asked of a folder that a running gateway works on. Files are checked one after the other in the memory that a
/// block or a change takes, and that of the apps which the journal is about.
#[must_use]
pub fn inspect(disk: &dyn Disk, folder: &Path, rules: PoisonRules) -> Inspection {
    let mut inspection = Inspection::default();
    let mut names = match disk.list(folder) {
        Ok(names) => names,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                let (file, why) = (folder.display().to_string(), format!("cannot be listed: {error}"));
                inspection.damaged.push(Damage { file, offset: None, why, kept_as: None });
            }
            return inspection;
        }
    };
    names.sort();
    let looked = names.into_iter().filter_map(|name| look_at(disk, folder, name));
    (inspection.files, inspection.damaged) =
        looked.fold((Vec::new(), Vec::new()), |(mut files, mut all), (file, damage)| {
            files.push(file);
            all.extend(damage);
            (files, all)
        });
    if let Ok(files) = Files::list(disk, folder) {
        let restore = |upto| Restore { disk, folder, files: &files, upto, thin: true }.run(&mut |_, _| {});
        let newest = restore(None);
        let runs = Runs::from_disk(disk, folder);
        inspection.would_serve = match find_poison(&runs, &files, rules, &newest, &|upto| restore(Some(upto))) {
            Some((poisoned, before)) => would_serve(&before, Some(poisoned)),
            None => would_serve(&newest, None),
        };
    }
    inspection
}

fn would_serve(restored: &Restored, instead_of: Option<Poisoned>) -> Option<WouldServe> {
    let beside = restored.beside;
    let state = restored.state.as_ref()?;
    Some(WouldServe {
        origin: restored.origin(),
        generation: state.generation(),
        epoch: state.meta.provenance.epoch.clone(),
        apps: beside.apps.wrapping_add(state.table.len() as u64),
        digest: beside.digest.plus(state.table.digest()),
        received_at: state.meta.provenance.received_at,
        document_bytes: beside.document_bytes.wrapping_add(state.table.document_bytes()),
        instead_of,
    })
}

/// `None` for what went while we looked.
fn look_at(disk: &dyn Disk, folder: &Path, name: String) -> Option<(FileReport, Vec<Damage>)> {
    let path = folder.join(&name);
    let bytes = match disk.size(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        size => size.unwrap_or_default(),
    };
    let parsed = Name::parse(&name);
    let mut file = FileReport {
        kind: kind_of(&name, parsed),
        name,
        bytes,
        state: FileState::Unknown,
        detail: String::new(),
        first_sequence: None,
        last_sequence: None,
        apps: None,
    };
    let damage = match file.kind {
        FileKind::Snapshot => look_at_snapshot(disk, &path, &mut file, parsed?.number),
        FileKind::Journal => look_at_segment(disk, &path, &mut file, parsed?.number),
        FileKind::Runs => look_at_runs(disk, &path, &mut file),
        FileKind::Lock | FileKind::Staged | FileKind::Aside | FileKind::Other => Vec::new(),
    };
    file.detail = damage.first().map(|damage: &Damage| damage.why.clone()).unwrap_or_default();
    Some((file, damage))
}

fn kind_of(name: &str, parsed: Option<Name>) -> FileKind {
    match (name, parsed) {
        (RUNS, _) => FileKind::Runs,
        (LOCK_FILE, _) => FileKind::Lock,
        (RUNS_STAGED, _) => FileKind::Staged,
        (_, Some(name)) if name.place == Place::Staged => FileKind::Staged,
        (_, Some(name)) if name.place.is_aside() => FileKind::Aside,
        (_, Some(name)) if name.kind == Kind::Snapshot => FileKind::Snapshot,
        (_, Some(_)) => FileKind::Journal,
        (_, None) => FileKind::Other,
    }
}

fn look_at_snapshot(disk: &dyn Disk, path: &Path, file: &mut FileReport, number: u64) -> Vec<Damage> {
    let checked = disk.open(path).map_err(ReadError::from).and_then(|mut file| check(&mut *file));
    let (state, offset, why) = match checked {
        Ok(head) if head.sequence == number => {
            (file.first_sequence, file.last_sequence) = (Some(number), Some(number));
            file.apps = Some(head.base.apps);
            file.state = FileState::Whole;
            return Vec::new();
        }
        Ok(head) => {
            let why = format!("holds the state of number {}, which is not that of its name", head.sequence);
            (FileState::Damaged, None, why)
        }
        Err(ReadError::Snapshot(error)) if !error.is_from_another_version() => {
            (FileState::Damaged, Some(error.offset), error.to_string())
        }
        Err(error) => (FileState::Unreadable, None, error.to_string()),
    };
    file.state = state;
    vec![Damage { file: file.name.clone(), offset, why, kept_as: None }]
}

fn look_at_segment(disk: &dyn Disk, path: &Path, file: &mut FileReport, number: u64) -> Vec<Damage> {
    let segment = scan(disk, path, number);
    if let Some((first, last)) = segment.range {
        (file.first_sequence, file.last_sequence) = (Some(first), Some(last));
    }
    let damage = |offset, why| Damage { file: file.name.clone(), offset, why, kept_as: None };
    let damaged = match (&segment.unread, segment.range) {
        (Some(why), _) => vec![damage(None, why.clone())],
        (None, None) => vec![damage(Some(0), "no change in it is whole".to_owned())],
        (None, Some(_)) => {
            let tail = segment.tail();
            let what = |part| if tail.as_ref() == Some(part) { boot::what_torn(part) } else { boot::what_inside(part) };
            segment.damaged.iter().map(|part| damage(Some(part.start), what(part))).collect()
        }
    };
    file.state = match &segment {
        Segment { unread: Some(_), .. } => FileState::Unreadable,
        Segment { range: None, .. } => FileState::Damaged,
        Segment { damaged, .. } if damaged.is_empty() => FileState::Whole,
        segment if segment.tail().is_some() && segment.damaged.len() == 1 => FileState::Torn,
        _ => FileState::Damaged,
    };
    damaged
}

/// A segment, by itself.
fn scan(disk: &dyn Disk, path: &Path, number: u64) -> Segment {
    let mut segment = Segment { number, ..Segment::default() };
    let scanner = disk.open(path).map_err(crate::journal::SegmentError::from).and_then(Scanner::new);
    let mut scanner = match scanner {
        Ok(scanner) => scanner,
        Err(error) => {
            segment.unread = Some(error.to_string());
            return segment;
        }
    };
    loop {
        match scanner.next_frame() {
            Ok(Some(frame)) => segment.saw(frame.sequence, frame.offset, u64::MAX),
            Ok(None) => break,
            Err(error) => {
                segment.unread = Some(format!("cannot be read: {error}"));
                break;
            }
        }
    }
    segment.damaged = scanner.damaged().to_vec();
    segment.whole_end = scanner.whole_end();
    segment
}

fn look_at_runs(disk: &dyn Disk, path: &Path, file: &mut FileReport) -> Vec<Damage> {
    let why = match disk.read(path, MAX_RUNS_BYTES) {
        Ok(bytes) if Runs::from_bytes(&bytes).is_some() => {
            file.state = FileState::Whole;
            return Vec::new();
        }
        Ok(_) => {
            file.state = FileState::Damaged;
            "is not whole: no run counts as having died".to_owned()
        }
        Err(error) => {
            file.state = FileState::Unreadable;
            format!("cannot be read: {error}")
        }
    };
    vec![Damage { file: file.name.clone(), offset: None, why, kept_as: None }]
}

/// Puts a state folder in order that no gateway works on: what is damaged is set aside, torn ends are copied aside and cut
/// off, what was left over while being written is removed. With `dry_run` it only says so.
///
/// # Errors
/// When another process holds the lock, or the folder cannot be worked on.
pub fn repair(disk: &Arc<dyn Disk>, folder: &Path, dry_run: bool) -> Result<Vec<Deed>, OpenError> {
    let failed = |source| OpenError::Disk { folder: folder.display().to_string(), source };
    let _lock = match disk.lock(folder) {
        Ok(lock) => lock,
        Err(LockError::Held { pid }) => return Err(OpenError::Locked { folder: folder.display().to_string(), pid }),
        Err(LockError::Io(source)) => return Err(failed(source)),
    };
    let folder = Folder { disk: Arc::clone(disk), path: folder.to_owned() };
    let files = Files::list(&**disk, &folder.path).map_err(failed)?;
    let mut deeds = Vec::new();
    for name in files.iter() {
        deeds.extend(repair_file(&folder, name, dry_run));
    }
    if !dry_run {
        deeds.extend(
            folder
                .remove_oldest_aside()
                .into_iter()
                .map(|name| Deed(format!("{name}: removed, there being newer ones"))),
        );
        disk.sync_folder(&folder.path).map_err(failed)?;
    }
    Ok(deeds)
}

fn repair_file(folder: &Folder, name: Name, dry_run: bool) -> Option<Deed> {
    let path = folder.file(name);
    let disk = &*folder.disk;
    if name.place == Place::Staged {
        let done = if dry_run { Ok(()) } else { disk.remove(&path) };
        return Some(deed(name, "was left over while being written", "removed", done.map(|()| String::new())));
    }
    if name.place != Place::Live {
        return None;
    }
    let (file, damage) = look_at(disk, &folder.path, name.to_string())?;
    let why = file.detail.clone();
    let segment =
        (file.kind == FileKind::Journal && file.first_sequence.is_some()).then(|| scan(disk, &path, name.number));
    match (file.state, segment.and_then(|segment| segment.tail())) {
        (FileState::Unreadable, _) => Some(Deed(format!("{name}: {why}; left as it is"))),
        (FileState::Torn | FileState::Damaged, Some(tail)) => {
            let copy = name.at(Place::Torn).to_string();
            let cut = if dry_run { Ok(copy) } else { folder.cut_off(name.number, tail.start, Place::Torn) };
            Some(deed(name, &boot::what_torn(&tail), "cut off", cut))
        }
        (FileState::Damaged, None) if file.first_sequence.is_none() || file.kind == FileKind::Snapshot => {
            let aside = name.at(Place::Damaged).to_string();
            let moved = if dry_run { Ok(aside) } else { folder.set_aside(name, Place::Damaged) };
            Some(deed(name, &why, "set aside", moved))
        }
        (FileState::Damaged, None) => Some(Deed(format!(
            "{name}: damaged in {} places that are read from their copies; left as it is",
            damage.len()
        ))),
        _ => None,
    }
}

fn deed(name: Name, why: &str, what: &str, done: io::Result<String>) -> Deed {
    Deed(match done {
        Ok(kept) if kept.is_empty() => format!("{name}: {why}; {what}"),
        Ok(kept) => format!("{name}: {why}; {what}, kept as {kept}"),
        Err(error) => format!("{name}: {why}; not {what}: {error}"),
    })
}
