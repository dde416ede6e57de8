//! What the machine gives: descriptors, memory, disk.

use std::{fs, path::Path};

use rustix::{
    fs::{Access, StatVfsMountFlags, access, statvfs},
    io::Errno,
    process::{Resource, getrlimit},
};

use super::{super::status::bytes, Finding};
use crate::{
    admin::view::Status,
    config::Config,
    overload::{self, Budget},
};

/// A table in memory is about so many times its documents: the documents, and what is made of them.
const TABLE_FACTOR: u64 = 6;
/// What a gateway needs beside its table.
const BASE_MEMORY: u64 = 64 << 20;
/// Room for a snapshot and the one that is staged beside it, at the least.
const LEAST_DISK: u64 = 16 << 20;

/// Each connection needs a descriptor, and another for its upstream. The running gateway's limit is what its service
/// manager gave it, and will give the next one; this command's own is its shell's.
pub(super) fn descriptors(config: &Config, running: Option<&Status>) -> Finding {
    let limits = running.and_then(|status| fs::read_to_string(format!("/proc/{}/limits", status.pid)).ok());
    let limit = limits.as_deref().and_then(open_files).unwrap_or_else(|| getrlimit(Resource::Nofile).maximum);
    judge_descriptors(config.limits.max_connections as u64, limit)
}

/// The hard limit of `Max open files` in proc_pid_limits(5), to which the gateway raises its soft one; `Some(None)`: unlimited.
fn open_files(limits: &str) -> Option<Option<u64>> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let hard = line.split_whitespace().nth(1)?;
    if hard == "unlimited" { Some(None) } else { hard.parse().ok().map(Some) }
}

fn judge_descriptors(connections: u64, limit: Option<u64>) -> Finding {
    const CHECK: &str = "descriptors";
    let needed = Budget::descriptors_for(connections);
    match limit {
        Some(limit) if limit < needed => {
            let text =
                format!("{limit} may be open here, {needed} are needed for limits.max_connections = {connections}");
            Finding::warning(CHECK, text)
        }
        Some(limit) => Finding::ok(CHECK, format!("{limit} may be open, {needed} are needed")),
        None => Finding::ok(CHECK, "no limit"),
    }
}

/// Whether the next process fits: as large as the running one, or as its table will make it.
pub(super) fn memory(running: Option<&Status>, documents: u64) -> Finding {
    let expected = running.map_or(0, |status| status.memory.rss_bytes).max(documents * TABLE_FACTOR + BASE_MEMORY);
    let limit = running.map_or_else(overload::memory_limit_bytes, |status| status.memory.limit_bytes);
    let freed = running.map_or(0, |status| status.memory.rss_bytes);
    judge_memory(expected, limit, available().map(|available| available + freed))
}

/// Whether as many connections as there may be fit, as long as each has small messages. That they fit whatever they do is no
/// condition of a restart: what does not fit is shed.
pub(super) fn connections(config: &Config) -> Finding {
    judge_connections(&Budget::of(&config.limits))
}

fn judge_connections(budget: &Budget) -> Finding {
    const CHECK: &str = "connections";
    let Budget { connections, memory_bytes, connection_bytes, .. } = *budget;
    let small = connections.saturating_mul(overload::CONNECTION_BASE_BYTES);
    let text = format!("limits.max_connections = {connections} takes {} with small messages", bytes(small));
    if memory_bytes > 0 && small > memory_bytes {
        return Finding::warning(CHECK, format!("{text}, there are {}", bytes(memory_bytes)));
    }
    Finding::ok(CHECK, format!("{text}, {} at the most", bytes(connections.saturating_mul(connection_bytes))))
}

fn judge_memory(expected: u64, limit: u64, available: Option<u64>) -> Finding {
    const CHECK: &str = "memory";
    let text = format!("about {} will be used", bytes(expected));
    if limit > 0 && expected > limit {
        return Finding::warning(CHECK, format!("{text}, the limit is {}", bytes(limit)));
    }
    match available {
        Some(available) if available < expected => {
            Finding::warning(CHECK, format!("{text}, {} are available", bytes(available)))
        }
        _ => Finding::ok(CHECK, text),
    }
}

/// `MemAvailable` of proc_meminfo(5), in bytes.
fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// A disk that is full or cannot be written is a warning: a gateway starts and serves from what is whole on it.
pub(super) fn disk(state_dir: &Path, documents: u64) -> Finding {
    const CHECK: &str = "disk";
    let Some(folder) = state_dir.ancestors().find(|folder| folder.exists()) else {
        return Finding::warning(CHECK, format!("{} cannot be looked at", state_dir.display()));
    };
    let free = statvfs(folder).map(|stat| {
        let read_only = stat.f_flag.contains(StatVfsMountFlags::RDONLY);
        (stat.f_bavail.saturating_mul(stat.f_frsize), read_only)
    });
    judge_disk(folder, free, access(folder, Access::WRITE_OK), documents.saturating_mul(2).max(LEAST_DISK))
}

fn judge_disk(folder: &Path, free: Result<(u64, bool), Errno>, writable: Result<(), Errno>, needed: u64) -> Finding {
    const CHECK: &str = "disk";
    let folder = folder.display();
    match (free, writable) {
        (Err(error), _) => Finding::warning(CHECK, format!("{folder}: {error}")),
        (Ok((_, true)), _) => Finding::warning(CHECK, format!("{folder} is on a read-only file system")),
        (Ok(_), Err(error)) => Finding::warning(CHECK, format!("{folder} cannot be written: {error}")),
        (Ok((free, _)), Ok(())) if free < needed => {
            Finding::warning(CHECK, format!("{folder}: {} are free, {} are needed", bytes(free), bytes(needed)))
        }
        (Ok((free, _)), Ok(())) => Finding::ok(CHECK, format!("{folder}: {} are free", bytes(free))),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn too_few_descriptors_are_a_warning() {
        assert_eq!(judge_descriptors(50_000, Some(1024)).verdict, Verdict::Warning);
        assert_eq!(judge_descriptors(50_000, Some(1 << 20)).verdict, Verdict::Ok);
        assert_eq!(judge_descriptors(50_000, None).verdict, Verdict::Ok);
    }

    #[test]
    fn the_hard_limit_of_open_files_is_read() {
        let limits = |line: &str| format!("Limit  Soft Limit  Hard Limit  Units\nMax open files  {line}  files\n");
        assert_eq!(open_files(&limits("1024  262144")), Some(Some(262_144)));
        assert_eq!(open_files(&limits("1024  unlimited")), Some(None));
        assert_eq!(open_files("Max processes 1 2 processes"), None);
        assert_eq!(open_files(&limits("")), None);
    }

    #[test]
    fn too_little_memory_is_a_warning() {
        assert_eq!(judge_memory(100, 50, None).verdict, Verdict::Warning);
        assert_eq!(judge_memory(100, 0, Some(50)).verdict, Verdict::Warning);
        assert_eq!(judge_memory(100, 200, Some(200)).verdict, Verdict::Ok);
    }

    #[test]
    fn connections_that_do_not_fit_even_with_small_messages_are_a_warning() {
        let fits = Budget { connections: 1000, connection_bytes: 1 << 20, memory_bytes: 30 << 20, descriptors: None };
        assert_eq!(judge_connections(&fits).verdict, Verdict::Ok);
        assert_eq!(judge_connections(&Budget { memory_bytes: 0, ..fits }).verdict, Verdict::Ok);
        assert_eq!(judge_connections(&Budget { memory_bytes: 10 << 20, ..fits }).verdict, Verdict::Warning);
    }

    #[test]
    fn a_full_or_read_only_disk_is_a_warning_and_no_failure() {
        let folder = Path::new("/x");
        for (free, writable) in [
            (Ok((5, false)), Ok(())),
            (Ok((50, true)), Ok(())),
            (Ok((50, false)), Err(Errno::ACCESS)),
            (Err(Errno::IO), Ok(())),
        ] {
            assert_eq!(judge_disk(folder, free, writable, 10).verdict, Verdict::Warning, "{free:?} {writable:?}");
        }
        assert_eq!(judge_disk(folder, Ok((50, false)), Ok(()), 10).verdict, Verdict::Ok);
    }
}
