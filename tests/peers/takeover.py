#!/usr/bin/env python3
"""Latency during take-overs: intervals at a fixed rate, in every other one of which `holdgate upgrade` replaces the process that
serves. Medians over the intervals, and ratios to the quiet interval before. A request that fails ends the run: there must be none.
With --bare the successor's place is taken by a process that does no more than to start: `holdgate state verify` of the same
folder reads the table as a start does. On two cores that shows how much of the latency is the mere fight for them.

usage: takeover.py [--rounds 20] [--seconds 5] [--rate N] [--apps 100000] [--bare]
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.request

from lab import HOLDGATE, Lab, machine, median, need, pace_by_interval, say, spread

# A second after the interval has begun, so that what the one before left behind is over.
AFTER = 1.0


def status(lab):
    with urllib.request.urlopen(f"http://127.0.0.1:{lab.admin}/v1/status", timeout=10) as answer:
        return json.load(answer)


def end_last(lab, first):
    """The last of the successors is nobody's child."""
    with contextlib.suppress(OSError):
        pid = status(lab)["pid"]
        if pid != first.process.pid:
            os.kill(pid, signal.SIGTERM)


def replace(configuration, bare):
    command = ["state", "verify"] if bare else ["upgrade"]
    began = time.monotonic()
    done = subprocess.run([HOLDGATE, *command, "--config", configuration], capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} has failed:\n{done.stdout}{done.stderr}")
    return time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5, help="of an interval")
    parser.add_argument("--rate", type=int, default=2000, help="requests a second")
    parser.add_argument("--apps", type=int, default=100_000)
    parser.add_argument("--bare", action="store_true")
    options = parser.parse_args()
    need("nginx")
    with Lab() as lab:
        lab.upstream()
        configuration = lab.configuration(lab.orchestrator(options.apps))
        first = lab.gateway(configuration)
        lab.callback(end_last, lab, first)
        print(f"{machine()}; {options.rate} requests/s; {options.apps} apps; {options.rounds} rounds of {options.seconds:g} s\n")
        quiet, replaced, took = [], [], []
        told = pace_by_interval(first.target(), options.rate, 2 * (options.rounds + 1) * options.seconds, options.seconds)
        next(told)  # Warms up.
        for n in range(options.rounds):
            quiet.append(next(told))
            time.sleep(AFTER)
            took.append(replace(configuration, options.bare))
            replaced.append(next(told))
            say(f"{n + 1}: {took[-1]:.2f} s; p99 {quiet[-1]['p99']} then {replaced[-1]['p99']}, most {replaced[-1]['most']} ms")
        told.close()
    print("| interval | p50 | p99 | p99.9 | most, ms | p99, quiet = 1.00 (least, most) | added p99, ms |\n" + "|---" * 7 + "|")
    for name, own in (("quiet", quiet), ("a start beside it" if options.bare else "a take-over", replaced)):
        times = " | ".join(f"{median([r[p] for r in own]):.2f}" for p in ("p50", "p99", "p999", "most"))
        ratio = spread([a["p99"] / b["p99"] for a, b in zip(own, quiet)])
        added = spread([a["p99"] - b["p99"] for a, b in zip(own, quiet)])
        print(f"| {name} | {times} | {ratio} | {added} |")
    print(f"\nFrom the command to its end: {spread(took)} s.")


main()
