//! The files that tell of memory, stalls and descriptors: opened once, and read into one buffer, so that a reading needs
//! neither a descriptor nor memory.

use std::{
    fs::{self, File},
    mem::MaybeUninit,
    path::Path,
};

use rustix::{
    fs::{RawDir, SeekFrom, fstat, seek},
    io::pread,
    param::page_size,
    process::{Resource, getrlimit},
};

use super::{
    cgroup::{self, Group, Version},
    levels::{Readings, Share},
    parse,
};

/// `memory.stat`, the longest of the files, has 2 to 3 kB.
const BUFFER: usize = 8192;
/// Descriptors are counted one by one at every sixteenth reading only, where the kernel (before Linux 6.2) does not say how
/// many there are: 50,000 take it some 20 ms.
const COUNT_EVERY: u32 = 16;

/// The open files.
#[derive(Debug)]
pub(super) struct Meter {
    groups: Vec<Bounds>,
    statm: Option<File>,
    meminfo: Option<File>,
    pressure: Option<File>,
    descriptors: Descriptors,
    buffer: Box<[u8; BUFFER]>,
}

/// The files of one control group.
#[derive(Debug)]
struct Bounds {
    limit: File,
    /// Version 2: from here on the kernel slows the group down to a crawl, which is a limit to whoever has to be quick.
    high: Option<File>,
    usage: File,
    stat: Option<File>,
    /// The file cache that the kernel can take back at once, in `stat`: with the groups within.
    cache: &'static [u8],
}

impl Meter {
    /// Opens what there is.
    pub(super) fn open() -> Self {
        let groups = own_groups();
        let pressure = groups.iter().find_map(|group| open(&group.folder.join("memory.pressure")));
        Self {
            groups: groups.iter().filter_map(Bounds::open).collect(),
            statm: open(Path::new("/proc/self/statm")),
            meminfo: open(Path::new("/proc/meminfo")),
            pressure: pressure.or_else(|| open(Path::new("/proc/pressure/memory"))),
            descriptors: Descriptors::open(),
            buffer: Box::new([0; BUFFER]),
        }
    }

    /// Reads everything but the connections, which others count.
    pub(super) fn read(&mut self) -> Readings {
        let buffer = &mut *self.buffer;
        let groups = self.groups.iter();
        let (mut memory, mut limit_bytes) = (machine(self.statm.as_ref(), self.meminfo.as_ref(), buffer), 0);
        for share in groups.filter_map(|group| group.read(buffer)) {
            limit_bytes = if limit_bytes == 0 { share.of } else { share.of.min(limit_bytes) };
            if share.ratio() >= memory.ratio() {
                memory = share;
            }
        }
        let stalls = self.pressure.as_ref().and_then(|file| parse::stalls(read(file, buffer)));
        let stalls = Share { used: stalls.unwrap_or(0), of: 100 * 100 };
        let descriptors = Share { used: self.descriptors.read(), of: getrlimit(Resource::Nofile).current.unwrap_or(0) };
        Readings { memory, limit_bytes, descriptors, stalls, connections: Share::default() }
    }
}

/// The tightest memory limit of the process's control groups in bytes, of either version; 0: none.
#[must_use]
pub fn memory_limit_bytes() -> u64 {
    let mut buffer = [0; BUFFER];
    own_groups().iter().filter_map(Bounds::open).filter_map(|group| group.limit(&mut buffer)).min().unwrap_or(0)
}

fn own_groups() -> Vec<Group> {
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    cgroup::groups(&text("/proc/self/cgroup"), &text("/proc/self/mountinfo"))
}

fn open(path: &Path) -> Option<File> {
    File::open(path).ok()
}

/// What the file says now, as much of it as fits.
fn read<'a>(file: &File, buffer: &'a mut [u8; BUFFER]) -> &'a [u8] {
    let mut filled = 0;
    while let Some(free) = buffer.get_mut(filled..).filter(|free| !free.is_empty()) {
        match pread(file, free, filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(rustix::io::Errno::INTR) => {}
            // It says nothing, as a group that is gone does.
            Err(_) => return &[],
        }
    }
    buffer.get(..filled).unwrap_or_default()
}

/// What this process has of what it could have: its own pages, and what the machine has left. That another process needs
/// most of a machine's memory is no reason to refuse work: it would hardly free any.
fn machine(statm: Option<&File>, meminfo: Option<&File>, buffer: &mut [u8; BUFFER]) -> Share {
    let own = statm.and_then(|file| parse::own_pages(read(file, buffer)));
    let free = meminfo.and_then(|file| parse::field(read(file, buffer), b"MemAvailable:"));
    match (own, free) {
        (Some(pages), Some(kib)) => {
            let own = pages.saturating_mul(page_size() as u64);
            Share { used: own, of: own.saturating_add(kib.saturating_mul(1024)) }
        }
        _ => Share::default(),
    }
}

impl Bounds {
    /// `None` for a group without the memory controller's files, as the outermost of version 2 is.
    fn open(group: &Group) -> Option<Self> {
        let file = |name| open(&group.folder.join(name));
        let (limit, usage, cache): (_, _, &[u8]) = match group.version {
            Version::One => ("memory.limit_in_bytes", "memory.usage_in_bytes", b"total_inactive_file"),
            Version::Two => ("memory.max", "memory.current", b"inactive_file"),
        };
        Some(Self {
            limit: file(limit)?,
            high: file("memory.high"),
            usage: file(usage)?,
            stat: file("memory.stat"),
            cache,
        })
    }

    fn limit(&self, buffer: &mut [u8; BUFFER]) -> Option<u64> {
        let max = parse::limit(read(&self.limit, buffer));
        let high = self.high.as_ref().and_then(|file| parse::limit(read(file, buffer)));
        [max, high].into_iter().flatten().min()
    }

    /// `None` where there is no limit.
    fn read(&self, buffer: &mut [u8; BUFFER]) -> Option<Share> {
        let of = self.limit(buffer)?;
        let usage = parse::number(read(&self.usage, buffer))?;
        let cache = self.stat.as_ref().and_then(|file| parse::field(read(file, buffer), self.cache)).unwrap_or(0);
        Some(Share { used: usage.saturating_sub(cache), of })
    }
}

/// /proc/self/fd.
#[derive(Debug)]
struct Descriptors {
    folder: Option<File>,
    counted: u64,
    readings: u32,
}

impl Descriptors {
    fn open() -> Self {
        Self { folder: open(Path::new("/proc/self/fd")), counted: 0, readings: 0 }
    }

    /// How many are open; where the kernel does not say, how many were a moment ago. 0: it cannot be told.
    fn read(&mut self) -> u64 {
        let Some(folder) = &self.folder else { return 0 };
        // Since Linux 6.2 the folder's size is their number (proc_pid_fd(5)).
        let said = fstat(folder).ok().and_then(|stat| u64::try_from(stat.st_size).ok()).unwrap_or(0);
        if said > 0 {
            return said;
        }
        if self.readings.is_multiple_of(COUNT_EVERY) {
            self.counted = count(folder);
        }
        self.readings = self.readings.wrapping_add(1);
        self.counted
    }
}

/// The entries of a folder of numbers.
fn count(folder: &File) -> u64 {
    if seek(folder, SeekFrom::Start(0)).is_err() {
        return 0;
    }
    let mut room = [MaybeUninit::uninit(); BUFFER];
    let (mut entries, mut count) = (RawDir::new(folder, &mut room), 0);
    while let Some(Ok(entry)) = entries.next() {
        count += u64::from(entry.file_name().to_bytes().first().is_some_and(u8::is_ascii_digit));
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group's folder with these files.
    fn group(folder: &Path, version: Version, files: &[(&str, &str)]) -> Option<Bounds> {
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        Bounds::open(&Group { version, folder: folder.to_owned() })
    }

    #[test]
    fn file_cache_that_can_be_taken_back_is_not_used_memory() {
        let folder = tempfile::tempdir().unwrap();
        let one = [
            ("memory.limit_in_bytes", "1000\n"),
            ("memory.usage_in_bytes", "900\n"),
            ("memory.stat", "inactive_file 1\ntotal_inactive_file 300\n"),
        ];
        let mut buffer = [0; BUFFER];
        let group_one = group(folder.path(), Version::One, &one).unwrap();
        assert_eq!(group_one.read(&mut buffer), Some(Share { used: 600, of: 1000 }));
        let folder = tempfile::tempdir().unwrap();
        let two =
            [("memory.max", "1000\n"), ("memory.current", "900\n"), ("memory.stat", "anon 5\ninactive_file 100\n")];
        let group_two = group(folder.path(), Version::Two, &two).unwrap();
        assert_eq!(group_two.read(&mut buffer), Some(Share { used: 800, of: 1000 }));
    }

    #[test]
    fn where_the_kernel_slows_a_group_down_is_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let files = [("memory.max", "1000\n"), ("memory.high", "700\n"), ("memory.current", "1\n")];
        let bounds = group(folder.path(), Version::Two, &files).unwrap();
        let mut buffer = [0; BUFFER];
        assert_eq!(bounds.limit(&mut buffer), Some(700));
        for (high, max, expected) in [("max\n", "1000\n", Some(1000)), ("max\n", "max\n", None)] {
            let files = [("memory.max", max), ("memory.high", high), ("memory.current", "1\n")];
            assert_eq!(group(folder.path(), Version::Two, &files).unwrap().limit(&mut buffer), expected);
        }
    }

    #[test]
    fn a_group_without_the_controller_has_no_say() {
        let folder = tempfile::tempdir().unwrap();
        assert!(group(folder.path(), Version::Two, &[("cgroup.procs", "")]).is_none());
    }

    #[test]
    fn files_are_read_anew_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let files = [("memory.max", "1000\n"), ("memory.current", "10\n")];
        let bounds = group(folder.path(), Version::Two, &files).unwrap();
        let mut buffer = [0; BUFFER];
        assert_eq!(bounds.read(&mut buffer).unwrap().used, 10);
        fs::write(folder.path().join("memory.current"), "999\n").unwrap();
        assert_eq!(bounds.read(&mut buffer).unwrap().used, 999);
    }

    #[test]
    fn this_process_can_be_read() {
        let mut meter = Meter::open();
        let readings = meter.read();
        assert!(readings.memory.used > 0 && readings.memory.of > readings.memory.used, "{readings:?}");
        let open = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        let near = |used: u64| used.abs_diff(open) < 50;
        assert!(near(readings.descriptors.used) && readings.descriptors.of > 0, "{readings:?}, {open}");
        let folder = File::open("/proc/self/fd").unwrap();
        assert!(near(count(&folder)));
    }
}
