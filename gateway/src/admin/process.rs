//! What the kernel says of this process: memory, its limit, descriptors. Read when asked, never guessed.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What control groups without a limit say in version 1: about 2^63, rounded down to a page.
const V1_UNLIMITED: u64 = 1 << 62;

/// Resident memory in bytes; 0 where it cannot be told.
pub(super) fn rss_bytes() -> u64 {
    read(Path::new("/proc/self/status")).and_then(|status| vm_rss(&status)).unwrap_or(0)
}

/// `VmRSS` of proc_pid_status(5), which counts in KiB.
fn vm_rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The tightest memory limit of the process's control groups in bytes, of either version; 0: none.
#[must_use]
pub fn memory_limit_bytes() -> u64 {
    limit_of(&read).unwrap_or(0)
}

/// Descriptors open now; 0 where it cannot be told.
#[must_use]
pub fn open_descriptors() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn limit_of(read: &impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    groups.lines().filter_map(|line| limit_of_group(line, read)).min()
}

/// `line` is `ID:CONTROLLERS:PATH` of cgroups(7); version 2 has the id 0 and no controllers.
fn limit_of_group(line: &str, read: &impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    if id == "0" && controllers.is_empty() {
        let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        return mounts.iter().filter_map(|mount| tightest(mount, path, "memory.max", read)).min();
    }
    let memory = controllers.split(',').any(|c| c == "memory");
    memory.then(|| tightest("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes", read))?
}

/// The least of a group's own limit and those of the groups around it. In a container the path may be one of outside;
/// then only the mount's root is there to be read.
fn tightest(mount: &str, path: &str, file: &str, read: &impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let group = PathBuf::from(mount).join(path.trim_start_matches('/'));
    let groups = group.ancestors().take_while(|folder| folder.starts_with(mount));
    groups.filter_map(|folder| parse_limit(&read(&folder.join(file))?)).min()
}

fn parse_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|&bytes| bytes < V1_UNLIMITED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(files: &[(&str, &str)]) -> Option<u64> {
        limit_of(&|path: &Path| {
            files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn the_tightest_group_of_version_2_counts() {
        let files = [
            ("/proc/self/cgroup", "0::/system.slice/holdgate.service\n"),
            ("/sys/fs/cgroup/system.slice/holdgate.service/memory.max", "max\n"),
            ("/sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
        ];
        assert_eq!(limit(&files), Some(1 << 30));
    }

    #[test]
    fn version_1_without_a_limit_is_none() {
        let cgroup = ("/proc/self/cgroup", "4:cpu,memory:/a\n0::/\n");
        assert_eq!(limit(&[cgroup, ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712")]), None);
        assert_eq!(limit(&[cgroup, ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "4096\n")]), Some(4096));
    }

    #[test]
    fn a_path_of_outside_the_container_falls_back_to_the_mount() {
        let files = [("/proc/self/cgroup", "0::/docker/abc"), ("/sys/fs/cgroup/memory.max", "5000")];
        assert_eq!(limit(&files), Some(5000));
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(vm_rss("Name:\tx\nVmRSS:\t    12 kB\nVmSize: 3 kB\n"), Some(12 * 1024));
        assert!(rss_bytes() > 0 && open_descriptors() > 0);
    }
}
