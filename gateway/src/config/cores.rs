//! The cores this process may use, for `gateway.workers = 0`.
//!
//! The standard library counts the affinity mask and the CPU quota of cgroups, but finds a cgroup of version 2 only where
//! its path is also its place under /sys/fs/cgroup. So it misses one that is mounted elsewhere (a hybrid system) and that of
//! a container which sees its host's cgroup paths. Here every mount is looked at, of both versions, with all groups above.
//!
//! A quota of a core and a half is one worker: the kernel stops *every* thread of a process that has spent its quota, for
//! the rest of the period (100 ms as a rule), so as many workers as whole cores can never do that, and the rest is what
//! the updater and the other threads use. Less than one core still is one worker.

use std::{fs, num::NonZero, path::Path};

/// Whole cores, at least 1.
pub(super) fn available() -> usize {
    let counted = std::thread::available_parallelism().map_or(1, NonZero::get);
    quota(Path::new("/")).map_or(counted, |quota| counted.min(quota)).max(1)
}

/// The whole cores of the tightest quota there is; `None` where there is none. Files are looked up under `root`.
fn quota(root: &Path) -> Option<usize> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    let mounts = mounts.lines().filter_map(Mount::read);
    mounts.filter_map(|mount| mount.quota(root, group_of(&groups, mount.is_v2)?)).min()
}

/// The path of this process's group, from /proc/self/cgroup (cgroups(7)): `4:cpu,cpuacct:/path`, or `0::/path` in version 2.
fn group_of(groups: &str, v2: bool) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let is_it = if v2 { number == "0" && controllers.is_empty() } else { has_cpu(controllers) };
        is_it.then_some(path)
    })
}

fn has_cpu(list: &str) -> bool {
    list.split(',').any(|word| word == "cpu")
}

/// A mounted hierarchy that can have a CPU quota.
struct Mount<'a> {
    /// The group that is mounted.
    root: &'a str,
    at: &'a str,
    is_v2: bool,
}

impl<'a> Mount<'a> {
    /// A line of /proc/self/mountinfo (proc_pid_mountinfo(5)): `36 35 0:31 ROOT AT options [tags] - TYPE source options`.
    fn read(line: &'a str) -> Option<Self> {
        let (mount, of) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        let mut of = of.split(' ');
        match (of.next()?, of.nth(1)) {
            ("cgroup2", _) => Some(Self { root, at, is_v2: true }),
            ("cgroup", Some(options)) if has_cpu(options) => Some(Self { root, at, is_v2: false }),
            _ => None,
        }
    }

    /// The tightest quota of `group` and those above it, as far as they are mounted.
    fn quota(&self, root: &Path, group: &str) -> Option<usize> {
        let below = Path::new(group).strip_prefix(self.root).ok()?;
        let groups = below.ancestors().map(|group| root.join(self.at.trim_start_matches('/')).join(group));
        groups.filter_map(|group| if self.is_v2 { quota_v2(&group) } else { quota_v1(&group) }).min()
    }
}

/// `cpu.max`: `150000 100000`, or `max 100000`.
fn quota_v2(group: &Path) -> Option<usize> {
    let text = fs::read_to_string(group.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    cores(quota, period)
}

/// `cpu.cfs_quota_us`: -1 for none.
fn quota_v1(group: &Path) -> Option<usize> {
    let read = |file| fs::read_to_string(group.join(file)).ok();
    cores(read("cpu.cfs_quota_us")?.trim(), read("cpu.cfs_period_us")?.trim())
}

fn cores(quota: &str, period: &str) -> Option<usize> {
    quota.parse::<usize>().ok()?.checked_div(period.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "30 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";

    /// The quota that a system with these mounts, groups and files shows.
    fn check(mounts: &str, groups: &str, files: &[(&str, &str)]) -> Option<usize> {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("/proc/self/mountinfo", mounts);
        write("/proc/self/cgroup", groups);
        files.iter().for_each(|(path, text)| write(path, text));
        quota(root.path())
    }

    #[test]
    fn the_tightest_quota_on_the_way_up_counts_and_only_its_whole_cores() {
        let own = "/sys/fs/cgroup/a/b/cpu.max";
        let above = "/sys/fs/cgroup/a/cpu.max";
        let groups = "0::/a/b\n";
        assert_eq!(check(V2, groups, &[(own, "150000 100000\n")]), Some(1));
        assert_eq!(check(V2, groups, &[(own, "max 100000\n"), (above, "250000 100000\n")]), Some(2));
        assert_eq!(check(V2, groups, &[(own, "800000 100000\n"), (above, "250000 100000\n")]), Some(2));
        assert_eq!(check(V2, groups, &[(own, "20000 100000\n")]), Some(0), "which is one worker");
        assert_eq!(check(V2, groups, &[(own, "max 100000\n")]), None);
        assert_eq!(check(V2, groups, &[]), None);
    }

    #[test]
    fn a_container_that_sees_its_host_s_paths_has_its_own_quota() {
        let mounts = "30 25 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw";
        let max = ("/sys/fs/cgroup/cpu.max", "300000 100000\n");
        assert_eq!(check(mounts, "0::/docker/abc\n", &[max]), Some(3));
        assert_eq!(check(mounts, "0::/docker/other\n", &[max]), None, "a group that is not mounted says nothing");
    }

    #[test]
    fn version_1_and_hybrid_systems_are_counted() {
        let v1 = "35 25 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct";
        let groups = "7:memory:/m\n4:cpu,cpuacct:/a\n0::/b\n";
        let folder = "/sys/fs/cgroup/cpu,cpuacct/a";
        let files =
            [(format!("{folder}/cpu.cfs_quota_us"), "400000\n"), (format!("{folder}/cpu.cfs_period_us"), "100000\n")];
        let mut files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        assert_eq!(check(v1, groups, &files), Some(4));
        let unified = "36 25 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
        let both = format!("{v1}\n{unified}\n36 25 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
        files.push(("/sys/fs/cgroup/unified/b/cpu.max", "200000 100000\n"));
        assert_eq!(check(&both, groups, &files), Some(2));
        files[0].1 = "-1\n";
        assert_eq!(check(v1, groups, &files), None);
    }

    #[test]
    fn what_cannot_be_read_is_no_quota() {
        assert_eq!(check("", "", &[]), None);
        assert_eq!(check(V2, "0::/a\n", &[("/sys/fs/cgroup/a/cpu.max", "100000 0\n")]), None);
        assert_eq!(check("nonsense", "nonsense", &[]), None);
        assert!(available() >= 1);
    }
}
