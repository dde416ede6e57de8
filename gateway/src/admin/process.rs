//! What the kernel says of this process: memory and descriptors. Read when asked, never guessed.

use std::{fs, path::Path};

/// Resident memory in bytes; 0 where it cannot be told.
pub(super) fn rss_bytes() -> u64 {
    read(Path::new("/proc/self/status")).and_then(|status| vm_rss(&status)).unwrap_or(0)
}

/// `VmRSS` of proc_pid_status(5), which counts in KiB.
fn vm_rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Descriptors open now; 0 where it cannot be told.
#[must_use]
pub fn open_descriptors() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(vm_rss("Name:\tx\nVmRSS:\t    12 kB\nVmSize: 3 kB\n"), Some(12 * 1024));
        assert!(rss_bytes() > 0 && open_descriptors() > 0);
    }
}
