"""The proxies that are compared. Each is started with a template of conf/, on one route to the common upstream; Holdgate
as a whole gateway with its defaults and 100,000 apps."""

import re
import shutil
import subprocess

from lab import HERE, Peer, free_port, say

APPS = 100_000


def holdgate(lab, threads, access):
    return lab.run_gateway(lab.configuration(lab.orchestrator(APPS), threads, access or "off"))


def haproxy(lab, threads, access):
    lines = {"access_global": "log stdout format raw local0", "access": "log global\n    option httplog"}
    if not access:
        lines = dict.fromkeys(lines, "")
    values = {"port": free_port(), "unix_port": free_port(), "upstream": lab.upstream_port, **lines}
    path = lab.conf("haproxy.cfg", "haproxy", threads=threads, **values)
    process = lab.run("haproxy", "-db", "-f", path, stdout=access)
    return Peer("haproxy", values["port"], process, unix_port=values["unix_port"])


def nginx(lab, threads, access):
    values = {"port": free_port(), "unix_port": free_port(), "upstream": lab.upstream_port}
    path = lab.conf("nginx.conf", "nginx", threads=threads, access=access or "off", **values)
    process = lab.run("nginx", "-p", path.parent, "-c", path, "-e", path.parent / "err")
    return Peer("nginx", values["port"], process, unix_port=values["unix_port"])


def envoy(lab, threads, access):
    kind = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
    log = f'[{{ name: file, typed_config: {{ "@type": {kind}, path: {access} }} }}]' if access else "[]"
    port = free_port()
    path = lab.conf("envoy.yaml", "envoy", port=port, upstream=lab.upstream_port, access=log)
    own = ["--disable-hot-restart", "--log-level", "warn"]
    return Peer("envoy", port, lab.run("envoy", "-c", path, "--concurrency", threads, *own))


def caddy(lab, threads, access):
    log = f"log {{\n\t\toutput file {access}\n\t}}" if access else ""
    port = free_port()
    path = lab.conf("Caddyfile", "caddy", port=port, upstream=lab.upstream_port, access=log)
    home = {"GOMAXPROCS": str(threads), "XDG_DATA_HOME": str(path.parent), "XDG_CONFIG_HOME": str(path.parent)}
    return Peer("caddy", port, lab.run("caddy", "run", "--config", path, "--adapter", "caddyfile", env=home))


def pingora(lab, threads, access):
    port = free_port()
    upstream = f"127.0.0.1:{lab.upstream_port}"
    process = lab.run("pingora-peer", f"127.0.0.1:{port}", upstream, threads, access or "off")
    return Peer("pingora", port, process)


# How each is started, and its program.
START = {
    "holdgate": (holdgate, None),
    "haproxy": (haproxy, "haproxy"),
    "nginx": (nginx, "nginx"),
    "envoy": (envoy, "envoy"),
    "caddy": (caddy, "caddy"),
    "pingora": (pingora, "pingora-peer"),
}
VERSION = {
    "haproxy": ["haproxy", "-v"],
    "nginx": ["nginx", "-v"],
    "envoy": ["envoy", "--version"],
    "caddy": ["caddy", "version"],
}


def installed(wanted):
    """Those of `wanted` that are on this machine; says which are not."""
    here = [name for name in wanted if not START[name][1] or shutil.which(START[name][1])]
    for name in wanted:
        if name not in here:
            say(f"left out: {name} ({START[name][1]} is not installed, see tests/peers/install)")
    return here


def versions(names):
    """Of those that tell theirs; the first number that looks like one."""
    told = []
    for name in names:
        if name in VERSION:
            said = subprocess.run(VERSION[name], capture_output=True, text=True, timeout=30)
            told.append(f"{name} {(re.search(r'[0-9]+[.][0-9.]*[0-9]', said.stdout + said.stderr) or ['?'])[0]}")
    if "pingora" in names:
        told.append("pingora " + re.search(r'name = "pingora"\nversion = "(.*)"', (HERE / "pingora" / "Cargo.lock").read_text())[1])
    return ", ".join(told)


def start(lab, name, threads=1, access=None):
    """Starts one and waits for its first answer. `access` is a file for its access log, or None."""
    return lab.serving(START[name][0](lab, threads, access))
