"""Drives the gateway as a service of a real systemd: its own unit files, its own commands.

  scenes.py ROOT BINARY [SCENE...]    ROOT: a root file system with systemd, dbus and python3, over which nothing is written
"""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from load import Backend, Load, ask_and_read_nothing, free_port, get
from machine import Machine, until

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
UNITS = "etc/systemd/system"
WORKERS = 3
# What a machine may not do in which this runs as a guest, and what a scene sets for itself: the watchdog.
OURS = "[Service]\nLimitNOFILE=16384\nOOMScoreAdjust=0\nWatchdogSec=0\n"
CONFIG = """
state_dir = "/var/lib/holdgate"
[gateway]
workers = {workers}
[[listener]]
name = "web"
address = "127.0.0.1:{web}"
[[listener]]
name = "local"
address = "unix:/run/holdgate/web.sock"
[admin]
address = "127.0.0.1:{admin}"
[orchestrator]
kind = "http"
url = "http://127.0.0.1:{orchestrator}"
stable_for = "300ms"
lost_after = "2s"
check_every = "100ms"
[limits]
max_connections = 2000
request_body_bytes = 1000
[drain]
timeout = "5s"
idle_grace = "100ms"
[log]
access = "off"
"""


class Stage:
    """A machine with the gateway installed, its orchestrator and an app."""

    def __init__(self, base, binary):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="holdgate-systemd-"))
        self.machine, self.binary = Machine(base, self.folder / "machine"), binary
        self.web, self.admin, self.port = free_port(), free_port(), free_port()
        self.backend, self.orchestrator = Backend(), None
        self.schema = subprocess.run([binary, "config", "schema"], capture_output=True, text=True, check=True).stdout
        apps = self.folder / "apps"
        apps.mkdir()
        (apps / "app.json").write_text(f'{{"hosts":["app.test"],"endpoints":["127.0.0.1:{self.backend.port}"]}}')

    def set_up(self):
        self.machine.prepare()
        root = self.machine.root
        self.install()
        (root / "usr/lib/sysusers.d").mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / "deploy/systemd/holdgate.sysusers", root / "usr/lib/sysusers.d/holdgate.conf")
        shutil.copy(REPOSITORY / "deploy/systemd/holdgate.service", root / UNITS)
        self.version = self.systemd_version()
        if self.version >= 254:
            newer = REPOSITORY / "deploy/systemd/holdgate.service.d/254.conf"
            self.unit("holdgate.service.d/254.conf", newer.read_text())
        self.unit("holdgate.service.d/ours.conf", OURS)
        self.configure()
        self.ready(True)
        self.machine.start()
        self.machine.run("systemd-sysusers")

    def systemd_version(self):
        said = subprocess.run(["chroot", self.machine.root, "systemctl", "--version"], capture_output=True, text=True)
        return int(re.search(r"systemd (\d+)", said.stdout).group(1))

    def install(self):
        """Puts a new file in the place of the old one, as a package does."""
        new = self.machine.root / "usr/bin/holdgate.new"
        shutil.copy(self.binary, new)
        new.rename(self.machine.root / "usr/bin/holdgate")

    def unit(self, name, text):
        path = self.machine.root / UNITS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def configure(self, *changes, workers=WORKERS):
        text = CONFIG.format(workers=workers, web=self.web, admin=self.admin, orchestrator=self.port)
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        (self.machine.root / "etc/holdgate").mkdir(exist_ok=True)
        (self.machine.root / "etc/holdgate/holdgate.toml").write_text(text)

    def ready(self, ready):
        """The orchestrator is there, or is not."""
        if ready and not self.orchestrator:
            command = [self.binary, "orchestrator", "--apps", self.folder / "apps", "--listen", f"127.0.0.1:{self.port}"]
            self.orchestrator = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        elif not ready and self.orchestrator:
            self.orchestrator.kill()
            self.orchestrator.wait()
            self.orchestrator = None

    def systemctl(self, *arguments, check=True):
        return self.machine.run("systemctl", *arguments, check=check)

    def start(self):
        self.systemctl("daemon-reload")
        self.systemctl("start", "holdgate")

    def show(self, name, unit="holdgate.service"):
        return self.machine.ask(unit, name)

    def main(self):
        return int(self.show("MainPID"))

    def serves(self):
        with contextlib.suppress(OSError, IndexError, ValueError):
            return get(self.web, 5) == 200
        return False

    def local(self):
        """What the Unix socket's listener answers."""
        client = ["curl", "-s", "-H", "Host: app.test", "--unix-socket", "/run/holdgate/web.sock", "http://app.test/"]
        return self.machine.run(*client).stdout

    def stored(self):
        return int(self.show("NFileDescriptorStore"))

    def tear_down(self):
        self.ready(False)
        self.machine.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


# --- the scenes, each on a gateway that serves


def reload_says_what_came_of_it(stage):
    post = f"http://127.0.0.1:{stage.web}/"
    status = lambda: subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: app.test", "-d", "x" * 500, post],
        capture_output=True, text=True).stdout
    assert status() == "200"
    stage.configure(("request_body_bytes = 1000", "request_body_bytes = 100"))
    stage.systemctl("reload", "holdgate")
    assert status() == "413", "a reload that has returned has taken effect"
    stage.configure(("request_body_bytes = 1000", 'request_body_bytes = "many"'))
    bad = stage.systemctl("reload", "holdgate", check=False)
    assert bad.returncode != 0, "a bad one is refused"
    assert "request_body_bytes" in stage.machine.journal(), "and the journal says why"
    assert stage.show("ActiveState") == "active" and status() == "413", "the old one goes on"
    stage.configure()
    stage.systemctl("reload", "holdgate")


def a_gateway_that_is_killed_refuses_nobody(stage):
    load = Load(stage.web)
    for _ in range(5):
        pid = stage.main()
        stage.systemctl("kill", "--kill-who=main", "-s", "KILL", "holdgate")
        until("another process", lambda: stage.main() not in (0, pid) and stage.show("SubState") == "running")
    return load.stop()


def a_restart_refuses_nobody(stage):
    load = Load(stage.web)
    for _ in range(5):
        stage.systemctl("restart", "holdgate")
    said = load.stop()
    assert not load.broken, (said, load.broken[:5])
    return said


def the_store_does_not_grow(stage):
    full = stage.stored()
    assert full == WORKERS + 1, f"one for each worker, and the Unix socket: {full}"
    for _ in range(20):
        stage.systemctl("restart", "holdgate")
        assert stage.stored() == full
    stage.configure(workers=WORKERS + 2)
    stage.systemctl("restart", "holdgate")
    assert stage.stored() == full + 2
    stage.configure()
    stage.systemctl("restart", "holdgate")
    assert stage.stored() == full + 2, "who waits in a backlog is served by fewer workers too"
    return f"{full} sockets after 20 restarts"


def a_stop_refuses_at_once_and_leaves_nothing(stage):
    stage.systemctl("stop", "holdgate")
    try:
        get(stage.web, 5)
        raise AssertionError("somebody listens")
    except ConnectionRefusedError:
        pass
    until("an empty store", lambda: stage.stored() == 0)
    stage.systemctl("start", "holdgate")


def a_start_that_would_lose_the_table_is_refused(stage):
    stage.ready(False)
    shutil.rmtree(stage.machine.root / "var/lib/holdgate")
    stage.machine.run("mkdir", "-m", "700", "/var/lib/holdgate")
    stage.machine.run("chown", "holdgate:", "/var/lib/holdgate")
    refused = stage.systemctl("restart", "holdgate", check=False)
    assert refused.returncode != 0, "there is nothing to serve from"
    journal = stage.machine.journal()
    assert "not started: no whole table is in /var/lib/holdgate" in journal and "touch" in journal, journal
    assert stage.show("SubState") in ("auto-restart", "start-pre"), "it is tried again"
    stage.machine.run("touch", "/run/holdgate-start-anyway")
    until("who insists", lambda: stage.show("SubState") == "start")
    assert get(stage.web) == 503
    stage.ready(True)
    until("the table", lambda: stage.show("ActiveState") == "active")
    stage.machine.run("rm", "/run/holdgate-start-anyway")


def a_table_that_the_disk_does_not_have_outlives_its_process(stage):
    note = lambda: stage.machine.run("test", "-e", "/run/holdgate/kept-table", check=False).returncode == 0
    stage.systemctl("stop", "holdgate")
    shutil.rmtree(stage.machine.root / "var/lib/holdgate")
    stage.machine.run("mkdir", "-m", "700", "/var/lib/holdgate")
    stage.machine.run("chown", "holdgate:", "/var/lib/holdgate")
    stage.unit("holdgate.service.d/disk.conf", "[Service]\nReadOnlyPaths=/var/lib/holdgate\n")
    stage.systemctl("daemon-reload")
    for stopped in (True, False):
        stage.ready(True)
        stage.systemctl("start", "holdgate")
        until("a table in the store", lambda: stage.stored() == WORKERS + 2)
        assert note()
        if stopped:
            stage.systemctl("stop", "holdgate")
            until("an empty store", lambda: stage.stored() == 0)
            assert not note(), "it goes with the store"
    stage.ready(False)
    stage.systemctl("restart", "holdgate")
    assert get(stage.web) == 200, "nobody has the table but systemd"
    pid = stage.main()
    stage.systemctl("kill", "--kill-who=main", "-s", "KILL", "holdgate")
    until("another process", lambda: stage.main() not in (0, pid) and stage.show("SubState") == "running")
    assert get(stage.web) == 200 and stage.stored() == WORKERS + 2
    (stage.machine.root / UNITS / "holdgate.service.d/disk.conf").unlink()
    stage.systemctl("daemon-reload")
    stage.systemctl("restart", "holdgate")
    until("the disk to have it", lambda: stage.stored() == WORKERS + 1 and not note())
    assert get(stage.web) == 200
    stage.ready(True)


def a_socket_unit_starts_it_and_its_clients_are_served(stage):
    text = (REPOSITORY / "deploy/systemd/holdgate.socket").read_text()
    stage.systemctl("stop", "holdgate")
    for lines in (
        f"ListenStream=127.0.0.1:{stage.web}",
        f"ListenStream=127.0.0.1:{stage.web}\nListenStream=127.0.0.1:{stage.web}\nReusePort=yes",
        f"ListenStream=127.0.0.1:{stage.web}\nListenStream=/run/holdgate/web.sock",
    ):
        stage.unit("holdgate.socket", text.replace("ListenStream=0.0.0.0:8080", lines))
        stage.systemctl("daemon-reload")
        stage.systemctl("start", "holdgate.socket")
        until("nothing of the one before", lambda: stage.show("SubState") == "dead")
        stage.machine.run("holdgate", "preflight")
        assert get(stage.web) == 200, "the first client starts it, and waits until it serves"
        load = Load(stage.web)
        stage.systemctl("kill", "--kill-who=main", "-s", "KILL", "holdgate")
        stage.systemctl("restart", "holdgate")
        load.stop()
        assert stage.local() == "served"
        stage.systemctl("stop", "holdgate.socket", "holdgate.service")
    (stage.machine.root / UNITS / "holdgate.socket").unlink()
    stage.systemctl("daemon-reload")
    stage.systemctl("start", "holdgate")


def a_reload_after_the_program_changed_upgrades(stage):
    load, pid = Load(stage.web), stage.main()
    stage.install()
    stage.systemctl("reload", "holdgate")
    until("systemd to follow", lambda: stage.main() not in (0, pid))
    assert stage.show("ActiveState") == "active"
    until("the end of the one before", lambda: stage.machine.run("sh", "-c", f"kill -0 {pid}", check=False).returncode)
    stage.systemctl("restart", "holdgate")
    said = load.stop()
    assert not load.broken, (said, load.broken[:5])
    stage.install()
    stage.systemctl("reload", "holdgate")
    assert stage.stored() == WORKERS + 1
    load, pid = Load(stage.web), stage.main()
    stage.systemctl("kill", "--kill-who=main", "-s", "KILL", "holdgate")
    until("another process", lambda: stage.main() not in (0, pid) and stage.show("SubState") == "running")
    load.stop()
    return said


# Stops one thread of a process as a debugger does, and keeps it so until it is killed, whose end it has to be told of.
HOLD = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
ATTACH, ANY_CHILD = 16, 0x40000000
if libc.ptrace(ATTACH, int(sys.argv[1]), None, None): sys.exit(os.strerror(ctypes.get_errno()))
while True:
    _, status = os.waitpid(int(sys.argv[1]), ANY_CHILD)
    if not os.WIFSTOPPED(status): break
"""


def a_hang_is_ended_within_the_watchdogs_time(stage):
    seconds = 4
    stage.unit("holdgate.service.d/watchdog.conf", f"[Service]\nWatchdogSec={seconds}\n")
    stage.systemctl("daemon-reload")
    stage.systemctl("restart", "holdgate")
    said = []
    for what in ("one worker", "all"):
        # systemd's watchdog begins when the start has ended.
        until("the start's end", lambda: stage.show("ActiveState") == "active")
        pid = stage.main()
        outside, holder = stage.machine.outside(pid), None
        began = time.monotonic()
        if what == "all":
            os.kill(outside, signal.SIGSTOP)
        else:
            tasks = pathlib.Path(f"/proc/{outside}/task").iterdir()
            worker = next(task.name for task in tasks if (task / "comm").read_text().strip() == "worker-0")
            holder = subprocess.Popen([sys.executable, "-c", HOLD, worker])
        try:
            until("another process", lambda: stage.main() not in (0, pid) and stage.serves(), seconds + 10)
        finally:
            if holder:
                holder.kill()
                holder.wait()
        took = time.monotonic() - began
        assert took < seconds + 2, f"{what}: {took:.1f} s"
        said.append(f"{what}: {took:.1f} s")
    (stage.machine.root / UNITS / "holdgate.service.d/watchdog.conf").unlink()
    stage.systemctl("daemon-reload")
    stage.systemctl("restart", "holdgate")
    return ", ".join(said)


def a_load_over_memory_max_is_shed(stage):
    """Clients that ask for large answers and read nothing: they are refused before the gateway is killed for them."""
    stage.unit("holdgate.service.d/memory.conf", "[Service]\nMemoryMax=80M\n")
    stage.systemctl("daemon-reload")
    stage.systemctl("restart", "holdgate")
    pid, clients = stage.main(), []
    with contextlib.ExitStack() as open_clients:
        for _ in range(1200):
            client, status = ask_and_read_nothing(stage.web, "/large")
            open_clients.enter_context(client)
            clients.append(status)
        kept, refused = clients.count(200), clients.count(503)
    over = time.monotonic()
    until("it serves again", stage.serves, 5)
    took = time.monotonic() - over
    assert stage.main() == pid, "it was killed"
    assert kept and refused and kept + refused == len(clients), f"{kept} served, {refused} refused of {len(clients)}"
    (stage.machine.root / UNITS / "holdgate.service.d/memory.conf").unlink()
    stage.systemctl("daemon-reload")
    stage.systemctl("restart", "holdgate")
    return f"{kept} served, {refused} refused; serves as usual {took:.1f} s after"


SCENES = [
    reload_says_what_came_of_it,
    a_gateway_that_is_killed_refuses_nobody,
    a_restart_refuses_nobody,
    the_store_does_not_grow,
    a_stop_refuses_at_once_and_leaves_nothing,
    a_table_that_the_disk_does_not_have_outlives_its_process,
    a_socket_unit_starts_it_and_its_clients_are_served,
    a_reload_after_the_program_changed_upgrades,
    a_hang_is_ended_within_the_watchdogs_time,
    a_load_over_memory_max_is_shed,
    a_start_that_would_lose_the_table_is_refused,
]


def main(base, binary, *wanted):
    stage, failed = Stage(base, binary), 0
    try:
        stage.set_up()
        print(f"systemd {stage.version}", flush=True)
        for scene in SCENES:
            if wanted and scene.__name__ not in wanted:
                continue
            began = time.monotonic()
            try:
                stage.start()
                said = scene(stage)
            except (AssertionError, OSError, IndexError, subprocess.SubprocessError) as error:
                failed += 1
                print(f"  FAILED {scene.__name__}: {error}", flush=True)
                print("".join(f"    {line}\n" for line in stage.machine.journal().splitlines()[-40:]), flush=True)
                for unit in ("holdgate.socket", "holdgate.service"):
                    stage.systemctl("stop", unit, check=False)
                stage.configure()
                stage.ready(True)
                continue
            print(f"  ok {scene.__name__} ({time.monotonic() - began:.1f} s){f': {said}' if said else ''}", flush=True)
    finally:
        stage.tear_down()
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
