#!/usr/bin/env python3
"""Holdgate next to nginx, haproxy, Envoy, Caddy and Pingora: requests a second, CPU time a request, latency, memory of idle
connections, and what two small writes cost. The same upstream for all, rounds interleaved; medians, and ratios to haproxy
pair by pair in the same round, with the least and the most.

README.md beside this file says how to read it. Tables go to stdout, progress to stderr.
"""

import argparse
import sys
import time
from dataclasses import dataclass

import split_post
from idle import kib_per_connection
from lab import Lab, machine, median, need, pace, say, spread, wrk
from peers import APPS, START, installed, start, versions

BASE = "haproxy"


@dataclass
class Work:
    """Requests of one kind. `fresh`: a connection each; `paced`: at a fixed rate; `unix`: to the upstream's Unix socket."""

    title: str
    path: str = "/"
    connections: int = 64
    fresh: bool = False
    paced: bool = False
    unix: bool = False


TRAFFIC = {
    "get": Work("small GET, saturated"),
    "unix": Work("the same, upstream on a Unix socket", unix=True),
    "rate": Work("small GET, fixed rate", paced=True),
    "64k": Work("64 KiB answers", "/64k", 16),
    "1m": Work("1 MiB answers", "/1m", 8),
    "new": Work("new connection each request", connections=16, fresh=True),
}
ALL_WORK = [*TRAFFIC, "post", "idle"]
# Requests of one round: with Nagle on each may take 44 ms.
POSTS = {False: 200, True: 25}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--threads", type=int, default=1, choices=(1, 2), help="of each proxy")
    parser.add_argument("--access", choices=("off", "on"), default="off", help="access logs, to a file each")
    parser.add_argument("--peers", type=names_of(START), default=list(START), help=",".join(START))
    parser.add_argument("--work", type=names_of(ALL_WORK), default=ALL_WORK, help=",".join(ALL_WORK))
    parser.add_argument("--rate", type=int, default=5000, help="requests a second of the fixed rate")
    parser.add_argument("--idle", type=int, default=10_000, help="idle connections")
    return parser.parse_args()


def names_of(known):
    def names(text):
        wanted = text.split(",")
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{' '.join(unknown)} is none of {' '.join(known)}")
        return wanted

    return names


def measure(peer, work, options):
    target = peer.target(work.unix)
    before = peer.cpu_seconds()
    if work.paced:
        run = pace(target, options.rate, options.seconds, work.connections, work.path)
        run |= {"seconds": options.seconds, "errors": 0}
    else:
        run = wrk(target, work.path, work.connections, options.seconds, work.fresh, options.threads)
    run["cpu"] = (peer.cpu_seconds() - before) / max(run["requests"], 1) * 1e6
    if not run["requests"]:
        sys.exit(f"{peer.name} answered nothing: {work.title}")
    return run


def rounds(count, turns, once):
    """once(peer, work) of each in turn, another peer first in each round. `turns` has the peers of each work; what comes
    back is {(work, peer's name): results}."""
    results = {}
    for n in range(count):
        for work, peers in turns.items():
            for peer in peers[n % len(peers) :] + peers[: n % len(peers)]:
                name = getattr(peer, "name", peer)
                say(f"round {n + 1} of {count}: {work}, {name}")
                results.setdefault((work, name), []).append(once(peer, work))
    return results


def to_base(results, work, name, value, digits=2):
    """Ratios of a value to that of the base in the same round."""
    if (work, BASE) not in results:
        return "-"
    return spread([value(a) / value(b) for a, b in zip(results[work, name], results[work, BASE])], digits)


def traffic(peers, options):
    works = [name for name in options.work if name in TRAFFIC]
    turns = {name: [p for p in peers if p.target(TRAFFIC[name].unix)] for name in works}
    turns = {name: able for name, able in turns.items() if able}
    if not turns:
        return {}
    runs = rounds(options.rounds, turns, lambda peer, name: measure(peer, TRAFFIC[name], options))
    print(f"| work | proxy | requests/s | CPU us/request | CPU, {BASE} = 1.00 (least, most) | p50 | p99 | p99.9 ms |")
    print("|---" * 8 + "|")
    for name, able in turns.items():
        for peer in able:
            own = runs[name, peer.name]
            rate, cpu = median([r["requests"] / r["seconds"] for r in own]), median([r["cpu"] for r in own])
            ratio = to_base(runs, name, peer.name, lambda r: r["cpu"])
            times = " | ".join(f"{median([r[p] for r in own]):.2f}" for p in ("p50", "p99", "p999"))
            print(f"| {TRAFFIC[name].title} | {peer.name} | {rate:.0f} | {cpu:.1f} | {ratio} | {times} |")
    rss = ", ".join(f"{p.name} {p.rss_mib():.0f}" for p in peers)
    print(f"\nResident memory after it, MiB: {rss}", flush=True)
    for (name, proxy), own in runs.items():
        if failed := sum(r["errors"] for r in own):
            print(f"Failed: {failed} requests of {proxy}, {TRAFFIC[name].title}")
    return {p.name: sum(r["requests"] for (_, name), own in runs.items() if name == p.name for r in own) for p in peers}


def logged(access, requests):
    """Who cannot keep up drops lines, which is cheaper than to write them."""
    shares = []
    for name, count in requests.items():
        with open(access(name), "rb") as file:
            lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
        shares.append(f"{name} {lines / count:.2f}")
    print("Lines of access logs for each request: " + ", ".join(shares))


def posts(peers, options):
    def once(peer, nagle):
        return split_post.measure(peer.port, nagle, True, POSTS[nagle])[0]

    runs = rounds(options.rounds, {nagle: peers for nagle in POSTS}, once)
    print(f"| POST in two writes | p50 ms, Nagle off | {BASE} = 1.00 | p50 ms, Nagle on | {BASE} = 1.00 |")
    print("|---" * 5 + "|")
    for peer in peers:
        cells = []
        for nagle in POSTS:
            cells += [f"{median(runs[nagle, peer.name]):.2f}", to_base(runs, nagle, peer.name, lambda p50: p50)]
        print(f"| {peer.name} | " + " | ".join(cells) + " |")
    print(flush=True)


def idle(lab, names, options):
    count = min(options.idle, lab.descriptors - 2000)
    if count < options.idle:
        say(f"{count} idle connections only: the limit of open descriptors is {lab.descriptors}")
    once = lambda name, _: kib_per_connection(lab, name, options.threads, count)
    runs = rounds(min(options.rounds, 3), {"idle": names}, once)
    print(f"| {count} idle connections | kB for each (least, most) |\n|---|---|")
    for name in names:
        print(f"| {name} | {spread(runs['idle', name], 1)} |")
    print(flush=True)


def main():
    options = arguments()
    need("nginx", "wrk")
    names = installed(options.peers)
    with Lab() as lab:
        lab.upstream()
        log = f"access log {options.access}, {options.threads} thread(s) each"
        print(f"{machine()}; {versions(names)}; {options.rounds} rounds of {options.seconds} s; {log};")
        print(f"{APPS} apps in holdgate, one in its peers; fixed rate: {options.rate} a second\n")
        access = lambda name: lab.folder / f"{name}.access" if options.access == "on" else None
        peers = [start(lab, name, options.threads, access(name)) for name in names]
        requests = traffic(peers, options)
        if options.access == "on" and requests:
            # Written a moment after the answer.
            time.sleep(2)
            logged(access, requests)
        print()
        if "post" in options.work:
            posts(peers, options)
        for peer in peers:
            peer.end()
        if "idle" in options.work:
            idle(lab, names, options)


if __name__ == "__main__":
    main()
