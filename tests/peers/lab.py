"""Starts Holdgate, its peers and their common upstream on loopback, and reads what they cost.

Every process has an owner that ends it, every loop a bound. tests/peers/install fetches the peers; Holdgate is
target/release/holdgate or HOLDGATE_BIN: cargo build --release -p holdgate
"""

import contextlib
import json
import os
import pathlib
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FETCHED = pathlib.Path(os.environ.get("PEERS_DIR", ROOT / "target" / "peers"))
# Taken out of the environment: a variable of this prefix that is no key is an error of the gateway's.
# As cargo has it: a relative one is seen from where it is called.
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
HOLDGATE = os.environ.pop("HOLDGATE_BIN", str(TARGET / "release" / "holdgate"))
HOST, UNIX_HOST = "app-0.test", "unix.test"
os.environ["PATH"] = f"{FETCHED}:{os.environ['PATH']}:/usr/sbin"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, condition, seconds=60, every=0.02):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(every)
    raise SystemExit(f"waited {seconds} s for {what}")


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def answer(port, path="/", host=HOST):
    """Status of a request to a port, or None where nobody answers."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def end(process):
    """Asks first: nginx killed with -9 leaves its workers behind."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def raise_descriptors(wanted=65536):
    """As many open descriptors as are allowed, for this process and what it starts."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for limits in ((wanted, max(wanted, hard)), (hard, hard)):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            return limits[0]
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Lab(contextlib.ExitStack):
    """A folder and the processes in it; all end with it."""

    def __enter__(self):
        super().__enter__()
        self.descriptors = raise_descriptors()
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory(prefix="holdgate-peers-")))
        self.socket = self.folder / "upstream.sock"
        self.source = None
        return self

    def run(self, *command, env=None, stdout=None):
        """A process that ends with the lab; what it says goes to `log` in its folder."""
        with open(self.folder / "log", "ab") as log, open(stdout or self.folder / "log", "ab") as out:
            variables = {**os.environ, **(env or {})}
            command = [str(c) for c in command]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=variables)
        self.callback(end, process)
        return process

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def conf(self, template, folder, **values):
        """conf/TEMPLATE with each @NAME@ filled in, in a folder of its own."""
        values = {"folder": self.folder / folder, "socket": self.socket, **values}
        values["user"] = "user root;" if os.getuid() == 0 else ""
        text = (HERE / "conf" / template).read_text()
        text = re.sub("@([A-Z_]+)@", lambda name: str(values[name[1].lower()]), text)
        return self.write(f"{folder}/{template}", text)

    def upstream(self):
        """nginx answering 2 bytes, 64 KiB or 1 MiB; what every proxy here forwards to."""
        www = self.folder / "www"
        www.mkdir()
        for name, size in (("64k", 64 << 10), ("1m", 1 << 20)):
            (www / name).write_bytes(b"x" * size)
        self.upstream_port = free_port()
        path = self.conf("upstream.conf", "upstream", port=self.upstream_port, www=www)
        self.run("nginx", "-p", path.parent, "-c", path, "-e", path.parent / "err")
        wait_for("the upstream", lambda: listens(self.upstream_port))
        return self.upstream_port

    def apps(self, count):
        """A folder with one file of `count` apps, all on the upstream, and one more on its Unix socket."""
        apps = {f"app-{n}": app([f"app-{n}.test"], f"127.0.0.1:{self.upstream_port}") for n in range(count)}
        apps["unix"] = app([UNIX_HOST], f"unix:{self.socket}")
        return self.write("apps/apps.json", json.dumps({"apps": apps})).parent

    def orchestrator(self, count):
        """The small orchestrator over so many apps, started once; how the gateway's configuration names it."""
        if not self.source:
            port = free_port()
            self.run(HOLDGATE, "orchestrator", "--apps", self.apps(count), "--listen", f"127.0.0.1:{port}")
            wait_for("the orchestrator", lambda: listens(port))
            self.source = url(port)
        return self.source

    def configuration(self, source, threads=1, access="off", folder="holdgate"):
        """The gateway's; its ports are `web` and `admin`."""
        self.web, self.admin = free_port(), free_port()
        ports = {"port": self.web, "admin": self.admin}
        return self.conf("holdgate.toml", folder, source=source, threads=threads, access=access, **ports)

    def run_gateway(self, configuration):
        process = self.run(HOLDGATE, "run", "--config", configuration)
        return Peer("holdgate", self.web, process, UNIX_HOST)

    def gateway(self, configuration):
        return self.serving(self.run_gateway(configuration))

    def serving(self, peer):
        """The peer, once it answers; the log's end where it has ended instead."""

        def answers():
            if peer.process.poll() is not None:
                raise SystemExit(f"{peer.name} has ended:\n{(self.folder / 'log').read_text()[-2000:]}")
            return answer(peer.port) == 200

        wait_for(peer.name, answers, 120)
        return peer


def app(hosts, endpoint):
    return {"hosts": hosts, "endpoints": [endpoint]}


def url(port):
    return f'kind = "http"\nurl = "http://127.0.0.1:{port}"'


class Peer:
    """A running proxy: its port, and how to have it forward to the upstream's Unix socket."""

    def __init__(self, name, port, process, unix_host=None, unix_port=None):
        self.name, self.port, self.process = name, port, process
        self.unix = (unix_port or port, unix_host or HOST) if unix_host or unix_port else None

    def target(self, unix=False):
        """Port and Host, or None where it has no route to a Unix socket."""
        return self.unix if unix else (self.port, HOST)

    def end(self):
        end(self.process)

    def pids(self):
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True).stdout.split()
        return [self.process.pid, *map(int, children)]

    def cpu_seconds(self):
        """Time on a CPU of all its threads, by the scheduler's clock."""
        total = 0
        for pid in self.pids():
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError):
                    total += int(task.read_text().split()[0])
        return total / 1e9

    def rss_kib(self):
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                total += int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])
        return total

    def rss_mib(self):
        return self.rss_kib() / 1024

    def open_descriptors(self):
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids())


def pace(target, rate, seconds, connections=64, path="/"):
    """Small GETs at a fixed rate, and how long they took in milliseconds: see pace.rs, which is built when needed."""
    (told,) = pace_by_interval(target, rate, seconds, seconds, connections, path)
    return told


def pace_by_interval(target, rate, seconds, interval, connections=64, path="/"):
    """The same, told for each interval as it ends."""
    port, host = target
    arguments = [f"127.0.0.1:{port}", host, path, rate, connections, seconds, interval]
    command = [pace_program(), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield from map(json.loads, process.stdout)
        finally:
            process.terminate()
    # Ended by us or by itself; a request that failed is 1.
    if process.returncode == 1:
        raise SystemExit("requests at a fixed rate failed")


def half_load(peer, threads=1):
    """The rate at which each of its threads is busy half of the time. (Half of what wrk gets is more than that: at saturation
    requests come in batches, which cost less each.)"""
    rate = 2000
    for _ in range(3):
        before = peer.cpu_seconds()
        pace(peer.target(), rate, 2)
        rate = int(rate * threads / (peer.cpu_seconds() - before))
    return rate


def pace_program():
    source, program = HERE / "pace.rs", FETCHED / "pace"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        FETCHED.mkdir(parents=True, exist_ok=True)
        subprocess.run(["rustc", "--edition", "2024", "-O", "-o", program, source], check=True)
    return str(program)


def wrk(target, path, connections, seconds, fresh=False, threads=1):
    """Requests as fast as they are answered; a connection each where `fresh`."""
    port, host = target
    headers = ["-H", f"Host: {host}"] + (["-H", "Connection: close"] if fresh else [])
    sized = [f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "-s", HERE / "conf" / "wrk.lua"]
    command = ["wrk", *sized, *headers, f"http://127.0.0.1:{port}{path}"]
    out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout
    return json.loads(out.splitlines()[-1])


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return f"{os.cpu_count()} cores, {model[1] if model else 'unknown'}, Linux {os.uname().release}"


def median(values):
    return statistics.median(values)


def spread(values, digits=2):
    """Median, least and most, as they stand in a table."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}, {max(values):.{digits}f})"


def say(text):
    """Progress; tables go to stdout."""
    print(text, file=sys.stderr, flush=True)


def need(*programs):
    missing = [p for p in programs if not shutil.which(p)]
    if missing:
        sys.exit(f"needed: {' '.join(missing)} (tests/peers/install)")
    if not pathlib.Path(HOLDGATE).exists():
        sys.exit(f"needed: {HOLDGATE} (cargo build --release -p holdgate)")
