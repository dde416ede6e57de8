#!/usr/bin/env python3
"""Instructions of one request through the whole gateway in user space, counted by callgrind: those of 2 N requests less those
of N, by N, sent one after the other. They say nothing of the kernel, where most of the time goes, but repeat within a
percent on any machine, so that a small loss shows.

Only the worker's thread counts. `--check FILE` fails where a figure is more than 5 % above the one in FILE, `--save FILE`
writes what was counted. The build is part of the figure: cargo build --release -p holdgate

usage: instructions.py [--check FILE | --save FILE] [--requests N] [--profile]
"""

import argparse
import collections
import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys

from lab import HOLDGATE, HOST, Lab, median, need

TOLERANCE_PERCENT = 5
REPEATS = 3
FUNCTIONS = 30
# From where glibc copies by `rep movsb`, of which each byte counts: by default that depends on the processor. A copy of a
# body that was not there before is seen by this.
COPY = "glibc.cpu.x86_rep_movsb_threshold=2048"
BODY = b"x" * (16 << 10)
GET = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
POST = f"POST /post HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY
LAST = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
# What is sent, and whether each request has a connection of its own.
WORK = {"small GET": (GET, False), "POST of 16 KiB": (POST, False), "small GET, new connection": (LAST, True)}


class Counted:
    """The gateway under callgrind."""

    def __init__(self, lab):
        self.counts = lab.folder / "counts"
        self.counts.mkdir()
        configuration = lab.configuration(f'kind = "file"\npath = "{lab.apps(1)}"')
        out = [f"--callgrind-out-file={self.counts}/out", "--separate-threads=yes", "--compress-strings=no"]
        command = ["valgrind", "--tool=callgrind", *out, HOLDGATE, "run", "--config", configuration]
        self.process = lab.run(*command, env={"GLIBC_TUNABLES": COPY})
        self.name, self.port = "holdgate under valgrind", lab.web
        self.worker, self.dumped = None, ""
        lab.serving(self)

    def send(self, request, fresh, count):
        connection = None
        for _ in range(count):
            if not connection:
                connection = socket.create_connection(("127.0.0.1", self.port), 10)
            connection.sendall(request)
            data = read(connection)
            while not data.endswith(b"\r\n\r\nok"):
                data += read(connection) or sys.exit(f"cut short: {data!r}")
            if fresh:
                # Waits for its end, so that the worker never sees two events at once: they would cost less together.
                read(connection)
                connection.close()
                connection = None

    def instructions(self, request, fresh, count):
        """Of the worker, since they were last read, with `count` requests sent in between."""
        self.send(request, fresh, count)
        threads = self.dump()
        # The first to be read has answered requests: of all threads it has done the most.
        self.worker = self.worker or max(threads, key=threads.get)
        return threads[self.worker]

    def dump(self):
        """Instructions of each thread since the last dump."""
        asked = subprocess.run(["vgdb", f"--pid={self.process.pid}", "dump"], capture_output=True, text=True, timeout=60)
        if asked.returncode:
            print(f"left out: instructions of a request (callgrind cannot be asked, which takes ptrace: {asked.stderr})")
            sys.exit()
        threads = {}
        for file in self.counts.glob("out.*"):
            thread = file.name.rsplit("-", 1)[1]
            text = file.read_text()
            threads[thread] = int(re.search(r"^totals: (\d+)", text, re.M)[1])
            if thread == self.worker:
                self.dumped = text
            file.unlink()
        return threads

    def functions(self):
        """What each function itself has cost the worker before the last dump. (callgrind_annotate takes a thread that
        has not ended for one function.)"""
        costs, function, called = collections.Counter(), "", False
        for line in self.dumped.splitlines():
            if line.startswith("fn="):
                function = line[3:]
            elif line.startswith("calls="):
                called = True
            elif re.match(r"[-+*\d]\S* \d+$", line):
                # The line after `calls` is what was called.
                costs[function] += 0 if called else int(line.split()[1])
                called = False
        return costs


def read(connection):
    return connection.recv(4096)


def count(gateway, options):
    """{work: instructions a request, repeated}."""
    figures, n = {}, options.requests
    gateway.dump()
    for name, (request, fresh) in WORK.items():
        gateway.instructions(request, fresh, n)
        for _ in range(REPEATS):
            once, twice = (gateway.instructions(request, fresh, count) for count in (n, 2 * n))
            figures.setdefault(name, []).append((twice - once) / n)
        if options.profile:
            profile(name, gateway.functions(), 2 * n)
    return figures


def profile(name, costs, requests):
    print(f"| {name}: in | instructions |\n|---|---|")
    for function, cost in costs.most_common(FUNCTIONS):
        print(f"| `{function}` | {cost / requests:.0f} |")
    print()


def check(figures, kept):
    """What has grown too much."""
    grown = []
    for name, values in figures.items():
        percent = (median(values) / kept[name] - 1) * 100 if name in kept else 0
        if percent > TOLERANCE_PERCENT:
            grown.append(f"{name}: {median(values):.0f} instructions, {percent:+.1f} % over {kept[name]}")
        elif name not in kept or percent < -TOLERANCE_PERCENT:
            print(f"{name}: {median(values):.0f}, kept is {kept.get(name)}: --save it")
    return grown


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--save", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--profile", action="store_true", help="and which functions they are in")
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        print("left out: instructions of a request (valgrind is not installed, see tests/peers/install)")
        return
    need("nginx")
    with Lab() as lab:
        lab.upstream()
        figures = count(Counted(lab), options)
    print("| request | instructions in user space | least, most of {} |\n|---|---|---|".format(REPEATS))
    for name, values in figures.items():
        print(f"| {name} | {median(values):.0f} | {min(values):.0f}, {max(values):.0f} |")
    if options.save:
        kept = {name: round(median(values)) for name, values in figures.items()}
        options.save.write_text(json.dumps(kept, indent=2) + "\n")
    grown = check(figures, json.loads(options.check.read_text())) if options.check else []
    sys.exit("\n".join(f"more than {TOLERANCE_PERCENT} % more: {line}" for line in grown) or 0)


main()
