"""Starts Holdgate, its peers and their common upstream on loopback, and reads what they cost.

Every process has an owner that ends it, every loop a bound. Needs nginx, haproxy and wrk (Debian packages), and a
release build: cargo build --release -p holdgate
"""

import contextlib
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HOLDGATE = os.environ.get("HOLDGATE_BIN", str(ROOT / "target" / "release" / "holdgate"))
TICK = os.sysconf("SC_CLK_TCK")
HOST = "app-0.test"


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


class Lab(contextlib.ExitStack):
    """A folder and the processes in it; all end with it."""

    def __enter__(self):
        super().__enter__()
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory(prefix="holdgate-peers-")))
        return self

    def run(self, *command, env=None):
        log = open(self.folder / "log", "ab")
        process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)

        self.callback(end, process)
        return process

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def nginx(self, name, http):
        path = self.write(
            f"{name}/nginx.conf",
            f"daemon off; {'user root; ' if os.getuid() == 0 else ''}worker_processes 1; pid {self.folder}/{name}/pid; error_log {self.folder}/{name}/err;\n"
            "worker_rlimit_nofile 16384;\nevents { worker_connections 8192; }\n"
            f"http {{ access_log off; keepalive_requests 1000000000; tcp_nodelay on;\n"
            + "".join(f"{k}_temp_path {self.folder}/{name};\n" for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            + f"{http} }}\n",
        )
        return self.run("nginx", "-p", self.folder / name, "-c", path, "-e", self.folder / name / "err")

    def upstream(self):
        """nginx answering 2 bytes, 64 KiB or 1 MiB; what every proxy here forwards to."""
        port = free_port()
        www = self.folder / "www"
        www.mkdir()
        for name, size in (("64k", 64 << 10), ("1m", 1 << 20)):
            (www / name).write_bytes(b"x" * size)
        self.nginx(
            "upstream",
            f"sendfile on; server {{ listen 127.0.0.1:{port} backlog=4096; root {www};"
            ' location = / { return 200 "ok"; } }',
        )
        wait_for("the upstream", lambda: listens(port))
        return port

    def peer_nginx(self, upstream):
        port = free_port()
        process = self.nginx(
            "peer",
            f"upstream up {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}\n"
            f"server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://up; proxy_http_version 1.1;"
            ' proxy_set_header Connection ""; proxy_set_header Host $host;'
            " proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; } }",
        )
        wait_for("nginx", lambda: answer(port))
        return Peer("nginx", port, process)

    def peer_haproxy(self, upstream):
        port = free_port()
        path = self.write(
            "haproxy.cfg",
            "global\n nbthread 1\n maxconn 8000\n"
            "defaults\n mode http\n timeout connect 1s\n timeout client 60s\n timeout server 60s\n"
            " option forwardfor\n http-reuse always\n"
            f"frontend f\n bind 127.0.0.1:{port} backlog 4096\n default_backend b\n"
            f"backend b\n server s 127.0.0.1:{upstream} pool-max-conn 256\n",
        )
        process = self.run("haproxy", "-db", "-f", path)
        wait_for("haproxy", lambda: answer(port))
        return Peer("haproxy", port, process)

    def apps(self, count, upstream):
        """A folder with one file of `count` apps, all on `upstream`."""
        document = {
            f"app-{n}": {"hosts": [f"app-{n}.test"], "endpoints": [f"127.0.0.1:{upstream}"]} for n in range(count)
        }
        return self.write("apps/apps.json", json.dumps({"apps": document})).parent

    def configuration(self, url, workers=1, access="off"):
        self.web, self.admin = free_port(), free_port()
        return self.write(
            "holdgate.toml",
            f'state_dir = "{self.folder}/state"\n[gateway]\nworkers = {workers}\n'
            f'[[listener]]\nname = "web"\naddress = "127.0.0.1:{self.web}"\n'
            f'[admin]\naddress = "127.0.0.1:{self.admin}"\n'
            f'[orchestrator]\nkind = "http"\nurl = "{url}"\nstable_for = "1s"\ncheck_every = "500ms"\n'
            f'[log]\naccess = "{access}"\n',
        )

    def orchestrator(self, apps):
        port = free_port()
        process = self.run(HOLDGATE, "orchestrator", "--apps", apps, "--listen", f"127.0.0.1:{port}")
        wait_for("the orchestrator", lambda: listens(port))
        return process, f"http://127.0.0.1:{port}"

    def run_gateway(self, configuration):
        return Peer("holdgate", self.web, self.run(HOLDGATE, "run", "--config", configuration))

    def gateway(self, configuration):
        peer = self.run_gateway(configuration)
        wait_for("holdgate", lambda: answer(self.web) == 200, 120)
        return peer


class Peer:
    def __init__(self, name, port, process):
        self.name, self.port, self.process = name, port, process

    def pids(self):
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True).stdout.split()
        return [self.process.pid, *map(int, children)]

    def cpu_seconds(self):
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                total += int(fields[11]) + int(fields[12])
        return total / TICK

    def rss_mib(self):
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                total += int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])
        return total / 1024


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return f"{os.cpu_count()} cores, {model[1] if model else 'unknown'}, Linux {os.uname().release}"


def median(values):
    return statistics.median(values)


def need(*programs):
    missing = [p for p in programs if subprocess.run(["which", p], capture_output=True).returncode]
    if missing:
        sys.exit(f"needed: {' '.join(missing)} (Debian packages of these names)")
    if not pathlib.Path(HOLDGATE).exists():
        sys.exit(f"needed: {HOLDGATE} (cargo build --release -p holdgate)")
