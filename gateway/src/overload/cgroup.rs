//! Where the files of this process's control groups are, for either version and both at once: from the texts of
//! /proc/self/cgroup (cgroups(7)) and /proc/self/mountinfo (proc_pid_mountinfo(5)), which are arguments here.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

/// Groups in one another are looked at so far out; nobody nests deeper, and each costs three descriptors.
const DEPTH: usize = 16;

/// Which files a group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// A hierarchy of the memory controller alone.
    One,
    /// The unified hierarchy, with or without the memory controller.
    Two,
}

/// The folder of a control group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) version: Version,
    pub(super) folder: PathBuf,
}

/// The process's own groups that may have a say on memory and those around them, from within outwards. Not each of them
/// has such files.
pub(super) fn groups(cgroup: &str, mountinfo: &str) -> Vec<Group> {
    cgroup.lines().filter_map(membership).flat_map(|(version, path)| of(version, path, mountinfo)).collect()
}

/// `line` is `ID:CONTROLLERS:PATH`; version 2 has the id 0 and no controllers.
fn membership(line: &str) -> Option<(Version, &Path)> {
    let mut parts = line.splitn(3, ':');
    let (id, controllers, path) = (parts.next()?, parts.next()?, Path::new(parts.next()?));
    if id == "0" && controllers.is_empty() {
        return Some((Version::Two, path));
    }
    controllers.split(',').any(|controller| controller == "memory").then_some((Version::One, path))
}

fn of(version: Version, path: &Path, mountinfo: &str) -> Vec<Group> {
    let Some(mount) = mountinfo.lines().filter_map(Mount::read).find(|mount| mount.has(version)) else {
        return Vec::new();
    };
    let own = mount.folder(path);
    let around = own.ancestors().take_while(|folder| folder.starts_with(&mount.point)).take(DEPTH);
    around.map(|folder| Group { version, folder: folder.to_owned() }).collect()
}

/// A mounted hierarchy.
struct Mount<'a> {
    /// The group that is seen at `point`.
    root: PathBuf,
    point: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELDS] - KIND SOURCE OPTIONS`
    fn read(line: &'a str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (unescaped(mount.next()?), unescaped(mount.next()?));
        let mut system = system.split(' ');
        Some(Self { root, point, kind: system.next()?, options: system.nth(1)? })
    }

    fn has(&self, version: Version) -> bool {
        match version {
            Version::One => self.kind == "cgroup" && self.options.split(',').any(|option| option == "memory"),
            Version::Two => self.kind == "cgroup2",
        }
    }

    /// Where the group `path` is seen. In a container the path may be one of outside; then the mount's own root is the
    /// nearest that can be.
    fn folder(&self, path: &Path) -> PathBuf {
        let inner = path.strip_prefix(&self.root).unwrap_or(Path::new(""));
        // Put together anew, without a separator at the end.
        self.point.join(inner).components().collect()
    }
}

/// White space and backslashes are written as `\040` and so on.
fn unescaped(text: &str) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&first, others)) = rest.split_first() {
        let octal = others.get(..3).filter(|_| first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = others.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = others;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from Debian 12 with systemd, docker on it, a host with hybrid groups, and Kubernetes with version 1.
    const UNIFIED: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
29 22 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
";
    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const POD: &str = "\
1204 1198 0:31 /kubepods/burstable/pod7/abc /sys/fs/cgroup/memory ro,nosuid master:15 - cgroup cgroup rw,memory
1205 1198 0:32 /kubepods/burstable/pod7/abc /sys/fs/cgroup/cpu,cpuacct ro,nosuid master:16 - cgroup cgroup rw,cpu,cpuacct
";

    fn folders(cgroup: &str, mountinfo: &str) -> Vec<(Version, String)> {
        let shown = |group: Group| (group.version, group.folder.display().to_string());
        groups(cgroup, mountinfo).into_iter().map(shown).collect()
    }

    fn all(version: Version, folders: &[&str]) -> Vec<(Version, String)> {
        folders.iter().map(|folder| (version, (*folder).to_owned())).collect()
    }

    #[test]
    fn the_groups_around_a_service_count_too() {
        let expected =
            ["/sys/fs/cgroup/system.slice/holdgate.service", "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup"];
        assert_eq!(folders("0::/system.slice/holdgate.service\n", UNIFIED), all(Version::Two, &expected));
    }

    #[test]
    fn hybrid_groups_are_of_both_versions() {
        let cgroup = "9:name=systemd:/\n4:memory:/a/b\n1:cpu:/c\n0::/u\n";
        let mut expected =
            all(Version::One, &["/sys/fs/cgroup/memory/a/b", "/sys/fs/cgroup/memory/a", "/sys/fs/cgroup/memory"]);
        expected.extend(all(Version::Two, &["/sys/fs/cgroup/unified/u", "/sys/fs/cgroup/unified"]));
        assert_eq!(folders(cgroup, HYBRID), expected);
    }

    #[test]
    fn a_container_sees_its_own_group_at_the_mount() {
        let cgroup = "5:cpu,cpuacct:/kubepods/burstable/pod7/abc\n4:memory:/kubepods/burstable/pod7/abc\n";
        assert_eq!(folders(cgroup, POD), all(Version::One, &["/sys/fs/cgroup/memory"]));
        let inner = "4:memory:/kubepods/burstable/pod7/abc/own\n";
        assert_eq!(folders(inner, POD), all(Version::One, &["/sys/fs/cgroup/memory/own", "/sys/fs/cgroup/memory"]));
        let outside = "4:memory:/docker/else\n";
        assert_eq!(folders(outside, POD), all(Version::One, &["/sys/fs/cgroup/memory"]));
    }

    #[test]
    fn without_a_memory_controller_or_a_mount_there_is_none() {
        assert_eq!(folders("1:cpu:/a\n", HYBRID), []);
        assert_eq!(folders("0::/a\n", POD), []);
        assert_eq!(folders("garbage\n\n::\n", UNIFIED), []);
    }

    #[test]
    fn a_mount_may_have_white_space_in_its_name() {
        let mountinfo = "29 22 0:26 / /mnt/my\\040groups rw - cgroup2 cgroup2 rw\n";
        assert_eq!(folders("0::/", mountinfo), all(Version::Two, &["/mnt/my groups"]));
    }
}
