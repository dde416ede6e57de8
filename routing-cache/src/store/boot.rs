//! What a start finds in the state folder.

use std::{io, path::Path};

use crate::{
    disk::Disk,
    snapshot::{Saved, decode},
};

use super::names::Name;

/// No snapshot file is larger: sixteen times the default limit of what is received (spec/orchestrator-api.md, rule 10).
pub(super) const MAX_FILE_BYTES: u64 = 16 << 30;
/// Damaged files kept for a person to look at; a disk that damages each file must not fill up with them.
const SET_ASIDE: usize = 4;

/// What a start begins with.
#[derive(Debug, Default)]
pub struct Boot {
    /// The newest whole snapshot and its file's name.
    pub saved: Option<(Saved, String)>,
    /// Files that are no whole snapshot or could not be read, newest first: the name they were found by, and why, with
    /// block and byte, and where they are now.
    pub damaged: Vec<(String, String)>,
    /// Files set aside at earlier starts that were now removed, there being too many.
    pub removed: Vec<String>,
}

/// What a start on this folder would begin with. Takes no lock and changes nothing, so it may be asked of a folder that
/// a running gateway works on.
#[must_use]
pub fn inspect(disk: &dyn Disk, folder: &Path) -> Boot {
    boot(disk, folder, false).0
}

/// Finds the newest whole snapshot, and its number. With `tidy` what is damaged is set aside.
pub(super) fn boot(disk: &dyn Disk, folder: &Path, tidy: bool) -> (Boot, Option<u64>) {
    let mut boot = Boot::default();
    let mut names = match list(disk, folder) {
        Ok(names) => names,
        Err(error) => {
            boot.damaged.push((folder.display().to_string(), format!("cannot be listed: {error}")));
            return (boot, None);
        }
    };
    let number = newest_whole(disk, folder, &mut names, &mut boot, tidy);
    if tidy {
        boot.removed = remove_oldest_damaged(disk, folder, &names);
        // A snapshot that was renamed by a process that then died may not be durable yet, and from now on it is served.
        // ignored: what is on disk is as good as before
        let _ = disk.sync_folder(folder);
    }
    (boot, number)
}

/// Newest first. A folder that is not there is an empty one.
fn list(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<Name>> {
    let names = match disk.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names?,
    };
    let mut names: Vec<Name> = names.iter().filter_map(|name| Name::parse(name)).collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.number()));
    Ok(names)
}

fn newest_whole(disk: &dyn Disk, folder: &Path, names: &mut [Name], boot: &mut Boot, tidy: bool) -> Option<u64> {
    for name in names {
        let Name::Snapshot(number) = *name else {
            continue;
        };
        let file = name.to_string();
        match load(disk, &folder.join(&file)) {
            Ok(saved) => {
                boot.saved = Some((saved, file));
                return Some(number);
            }
            Err(NotLoaded::Gone) => {}
            Err(NotLoaded::Left(why)) => boot.damaged.push((file, format!("{why}; it is left as it is"))),
            Err(NotLoaded::Damaged(why)) if !tidy => boot.damaged.push((file, why)),
            Err(NotLoaded::Damaged(why)) => {
                let aside = Name::Damaged(number);
                let where_to = match disk.rename(&folder.join(&file), &folder.join(aside.to_string())) {
                    Ok(()) => format!("it is kept as {aside}"),
                    Err(error) => format!("it cannot be set aside: {error}"),
                };
                *name = aside;
                boot.damaged.push((file, format!("{why}; {where_to}")));
            }
        }
    }
    None
}

/// Why a file is passed over.
enum NotLoaded {
    /// It went while we looked: a running gateway has saved a newer one.
    Gone,
    /// It may well be whole.
    Left(String),
    /// It is not whole.
    Damaged(String),
}

fn load(disk: &dyn Disk, file: &Path) -> Result<Saved, NotLoaded> {
    let bytes = disk.read(file, MAX_FILE_BYTES).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NotLoaded::Gone,
        _ => NotLoaded::Left(format!("cannot be read: {error}")),
    })?;
    decode(&bytes).map_err(|error| match error.is_from_another_version() {
        true => NotLoaded::Left(error.to_string()),
        false => NotLoaded::Damaged(error.to_string()),
    })
}

/// `names` are newest first.
fn remove_oldest_damaged(disk: &dyn Disk, folder: &Path, names: &[Name]) -> Vec<String> {
    let damaged = names.iter().filter(|name| matches!(name, Name::Damaged(_))).skip(SET_ASIDE);
    let removed = damaged.map(ToString::to_string).filter(|name| disk.remove(&folder.join(name)).is_ok());
    removed.collect()
}
