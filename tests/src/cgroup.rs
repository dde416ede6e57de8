//! A memory limit of a test's own: a control group beneath the one that the test runs in, of whichever version there is.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// A control group with a memory limit; removed when it is dropped and empty.
#[derive(Debug)]
pub struct MemoryGroup {
    folder: PathBuf,
    files: &'static Files,
}

/// What the files of one version are called.
#[derive(Debug)]
struct Files {
    limit: &'static str,
    peak: &'static str,
    /// Counts how often the limit was met.
    events: &'static str,
    met: &'static str,
    kills: &'static str,
}

const ONE: Files = Files {
    limit: "memory.limit_in_bytes",
    peak: "memory.max_usage_in_bytes",
    events: "memory.oom_control",
    met: "memory.failcnt",
    kills: "oom_kill",
};
const TWO: Files =
    Files { limit: "memory.max", peak: "memory.peak", events: "memory.events", met: "", kills: "oom_kill" };

impl MemoryGroup {
    /// A new group called `name` with a limit of `bytes`, swap included where that is counted.
    ///
    /// # Errors
    /// What stands in the way, for the test to print before it is skipped.
    pub fn new(name: &str, bytes: u64) -> Result<Self, String> {
        let (around, files) = own()?;
        let folder = around.join(format!("{name}-{}", std::process::id()));
        let failed = |what: &Path, error: io::Error| format!("{}: {error}", what.display());
        fs::create_dir(&folder).map_err(|error| failed(&folder, error))?;
        let group = Self { folder, files };
        let limit = group.folder.join(files.limit);
        fs::write(&limit, bytes.to_string()).map_err(|error| failed(&limit, error))?;
        for (swap, most) in [("memory.memsw.limit_in_bytes", bytes), ("memory.swap.max", 0)] {
            // ignored: where swap is not counted there is no such file.
            let _ = fs::write(group.folder.join(swap), most.to_string());
        }
        Ok(group)
    }

    /// What starts a program in it.
    #[must_use]
    pub fn wrapper(&self) -> Vec<String> {
        let enter = format!("echo $$ > '{}/cgroup.procs' && exec \"$@\"", self.folder.display());
        ["sh", "-c", &enter, "sh"].map(str::to_owned).to_vec()
    }

    /// How many of its processes were killed for want of memory.
    #[must_use]
    pub fn kills(&self) -> u64 {
        self.field(self.files.events, self.files.kills)
    }

    /// How often it was at its limit.
    #[must_use]
    pub fn met(&self) -> u64 {
        match self.files.met {
            "" => self.field(self.files.events, "max"),
            file => self.text(file).trim().parse().unwrap_or(0),
        }
    }

    /// The most it has used, file cache included; 0 where the kernel does not say.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.text(self.files.peak).trim().parse().unwrap_or(0)
    }

    fn field(&self, file: &str, name: &str) -> u64 {
        let text = self.text(file);
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or(0)
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join(file)).unwrap_or_default()
    }
}

/// The group that this process is in, as a folder.
fn own() -> Result<(PathBuf, &'static Files), String> {
    let text = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (mount, files) = match controllers {
            "" => ("/sys/fs/cgroup", &TWO),
            _ if controllers.split(',').any(|controller| controller == "memory") => ("/sys/fs/cgroup/memory", &ONE),
            _ => continue,
        };
        let folder = Path::new(mount).join(path.trim_start_matches('/'));
        let is_there = fs::read_to_string(folder.join("cgroup.controllers"))
            .map_or_else(|_| folder.join(files.limit).exists(), |list| list.split(' ').any(|c| c.trim() == "memory"));
        if is_there {
            return Ok((folder, files));
        }
    }
    Err("no control group here has the memory controller".to_owned())
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // What was in it is dead and may not be gone.
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        eprintln!("{} could not be removed", self.folder.display());
    }
}
