#!/usr/bin/env python3
"""Requests a second and CPU time a request of Holdgate, nginx and haproxy: one thread each, the same upstream, rounds
interleaved. Prints medians, and ratios to haproxy pair by pair.

usage: compare.py [ROUNDS=5] [SECONDS=4]
"""

import re
import subprocess
import sys

from lab import HOST, Lab, machine, median, need

# Name, path, connections, whether each request has a connection of its own.
WORK = [
    ("small GET, saturated", "/", 64, False),
    ("64 KiB answers", "/64k", 16, False),
    ("1 MiB answers", "/1m", 8, False),
    ("new connection each request", "/", 16, True),
]


def wrk(peer, path, connections, fresh, seconds):
    headers = ["-H", f"Host: {HOST}"] + (["-H", "Connection: close"] if fresh else [])
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *headers]
    before = peer.cpu_seconds()
    out = subprocess.run([*command, f"http://127.0.0.1:{peer.port}{path}"], capture_output=True, text=True).stdout
    cpu = peer.cpu_seconds() - before
    requests = int(re.search(r"(\d+) requests in", out)[1])
    if "Non-2xx" in out or not requests:
        sys.exit(f"{peer.name} failed requests:\n{out}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
    return rate, cpu / requests * 1e6, re.search(r"99%\s+(\S+)", out)[1]


def main():
    rounds, seconds = (int(a) for a in (sys.argv[1:] + ["5", "4"][len(sys.argv) - 1 :]))
    need("nginx", "haproxy", "wrk")
    with Lab() as lab:
        upstream = lab.upstream()
        _, url = lab.orchestrator(lab.apps(100_000, upstream))
        peers = [lab.gateway(lab.configuration(url)), lab.peer_nginx(upstream), lab.peer_haproxy(upstream)]
        print(f"{machine()}; {rounds} rounds of {seconds} s; 100,000 apps in holdgate, one in its peers\n")
        print("| work | proxy | requests/s | CPU us/request | CPU, haproxy = 1.00 | p99 |\n|---|---|---|---|---|---|")
        for name, path, connections, fresh in WORK:
            runs = {p.name: [] for p in peers}
            for _ in range(rounds):
                for peer in peers:
                    runs[peer.name].append(wrk(peer, path, connections, fresh, seconds))
            for peer in peers:
                rate, cpu = (median([r[i] for r in runs[peer.name]]) for i in (0, 1))
                ratio = median([a[1] / b[1] for a, b in zip(runs[peer.name], runs["haproxy"])])
                p99 = sorted(r[2] for r in runs[peer.name])[rounds // 2]
                print(f"| {name} | {peer.name} | {rate:.0f} | {cpu:.1f} | {ratio:.2f} | {p99} |", flush=True)
        print("\nRSS after it, MiB: " + ", ".join(f"{p.name} {p.rss_mib():.0f}" for p in peers))


main()
