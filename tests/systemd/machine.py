"""A machine that a real systemd runs: a root file system of its own, over which nothing is written, in namespaces of its own."""

import os
import pathlib
import shutil
import signal
import subprocess
import time
import uuid

HERE = pathlib.Path(__file__).resolve().parent
# Units of the distribution that have nothing to do here, or would disturb the machine this runs on.
MASKED = (
    "getty.target console-getty.service systemd-logind.service systemd-udevd.service systemd-udev-trigger.service "
    "systemd-networkd.service systemd-resolved.service systemd-timesyncd.service systemd-sysctl.service "
    "systemd-modules-load.service systemd-binfmt.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer "
    "fstrim.timer dpkg-db-backup.timer"
).split()
DEADLINE = 30


def until(what, condition, deadline=DEADLINE):
    """Waits until `condition` is true, and returns what it is."""
    end = time.monotonic() + deadline
    while True:
        if value := condition():
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline} s for {what}")
        time.sleep(0.02)


class Machine:
    """Started with `start`, ended with `stop`, which leaves nothing behind."""

    def __init__(self, base, folder):
        self.base, self.folder, self.groups = pathlib.Path(base), pathlib.Path(folder), []
        self.root, self.process, self.pid = self.folder / "root", None, None

    def prepare(self):
        for name in ("root", "upper", "work"):
            (self.folder / name).mkdir(parents=True)
        layers = f"lowerdir={self.base},upperdir={self.folder / 'upper'},workdir={self.folder / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, self.root], check=True)
        units = self.root / "etc/systemd/system"
        units.mkdir(parents=True, exist_ok=True)
        for unit in MASKED:
            (units / unit).unlink(missing_ok=True)
            (units / unit).symlink_to("/dev/null")
        (self.root / "etc/machine-id").write_text(uuid.uuid4().hex + "\n")

    def start(self):
        self.make_groups()
        kinds = ["--pid", "--mount", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"]
        log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(
            ["unshare", *kinds, HERE / "init", self.root], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, preexec_fn=self.join_groups)
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self.pid = int(until("the first process", lambda: children.read_text().split())[0])
        up = lambda: self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded")
        until("systemd", lambda: self.process.poll() is None and up())

    def make_groups(self):
        """Below our own in each hierarchy, so that our limits stay in force."""
        for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            name = controllers.removeprefix("name=")
            unified = pathlib.Path("/sys/fs/cgroup/cgroup.controllers").exists()
            place = pathlib.Path("/sys/fs/cgroup") / ("" if unified else name or "unified")
            if not place.is_dir():
                continue
            group = place / path.strip("/") / f"holdgate-test-{os.getpid()}-{self.folder.name}"
            group.mkdir()
            for file in ("cpuset.cpus", "cpuset.mems") if name == "cpuset" else ():
                (group / file).write_text((group.parent / file).read_text())
            self.groups.append(group)

    def join_groups(self):
        for group in self.groups:
            (group / "cgroup.procs").write_text("0")

    def run(self, *command, check=True, timeout=60):
        """Runs a command there, and returns how it ended and what it said."""
        inside = ["nsenter", "-t", str(self.pid), "-m", "-p", "-u", "-i", "-C", *map(str, command)]
        result = subprocess.run(inside, capture_output=True, text=True, timeout=timeout)
        if check and result.returncode:
            raise AssertionError(f"{' '.join(map(str, command))}: {result.returncode}\n{result.stdout}{result.stderr}")
        return result

    def ask(self, unit, name):
        """A property of a unit."""
        return self.run("systemctl", "show", "-p", name, "--value", unit).stdout.strip()

    def journal(self, unit="holdgate.service"):
        return self.run("journalctl", "-u", unit, "--no-pager", "-o", "cat").stdout

    def outside(self, pid):
        """The number that a process of the machine has here."""
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            try:
                lines = status.read_text().splitlines()
            except OSError:
                continue
            numbers = next((line.split()[1:] for line in lines if line.startswith("NSpid:")), [])
            same = lambda: os.readlink(status.parent / "ns/pid") == os.readlink(f"/proc/{self.pid}/ns/pid")
            if len(numbers) > 1 and int(numbers[-1]) == pid and same():
                return int(numbers[0])
        raise AssertionError(f"no process {pid} there")

    def stop(self):
        if self.process:
            os.kill(self.pid or self.process.pid, signal.SIGKILL)
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                print(f"the machine does not end: {self.folder} is left", flush=True)
                return
        subprocess.run(["umount", "-l", self.root], check=False)
        for group in self.groups:
            for below in sorted(group.rglob("*"), key=lambda path: -len(path.parts)):
                if below.is_dir():
                    below.rmdir()
            group.rmdir()
        shutil.rmtree(self.folder, ignore_errors=True)
