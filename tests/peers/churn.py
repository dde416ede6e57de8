#!/usr/bin/env python3
"""Latency while the table changes: quiet, then while all 100,000 apps are replaced every two seconds, then while 1,000 one-app
updates a second arrive; the gateway's worker is busy half of the time. Interleaved rounds, medians, and ratios to quiet in
the same round. Requests go to 1,000 of the apps.

The last two rows are asked of another gateway, which follows nobody, while the first one follows the same changes and serves
nothing: what latency grows by there is what a machine with few cores loses to whoever decodes a table.

usage: churn.py [--rounds 5] [--seconds 20] [--rate N] [--apps 100000] [--updates 1000] [--every 2]
"""

import argparse
import threading
import time

from desk import Desk, behind
from lab import Lab, half_load, machine, median, need, pace, say, spread, url, wait_for

ASKED = 1000
# Changes are published so often; a gateway asks at most five times a second.
TICK = 0.05


def replaced(desk, options, ended):
    """Every few seconds a table; in between one app is updated, since 410 after 410 counts as a failing orchestrator."""
    tables = [desk.make(desk.generation + 10 * n) for n in range(1, int(options.seconds / options.every) + 1)]

    def run():
        for table in tables:
            desk.publish(table)
            if ended.wait(options.every / 2):
                return
            desk.update([0])
            if ended.wait(options.every / 2):
                return

    return run, lambda: f"{sum(t.generation in desk.followed for t in tables)} of {len(tables)} tables taken"


def updated(desk, options, ended):
    first, count = desk.generation, max(1, int(options.updates * TICK))

    def run():
        due, n = time.monotonic(), 0
        while not ended.wait(max(0, due - time.monotonic())):
            desk.update([(n + k) % desk.apps for k in range(count)])
            due, n = due + TICK, n + count

    return run, lambda: f"{max(desk.followed) - first} of {desk.generation - first} updates taken"


def quiet(desk, options, ended):
    return ended.wait, lambda: ""


ASIDE = ", by another gateway"
PHASES = {"quiet": quiet, "all apps replaced": replaced, "one-app updates": updated}
PHASES |= {f"{phase}{ASIDE}": PHASES[phase] for phase in ("all apps replaced", "one-app updates")}


def measure(gateway, desk, phase, rate, options):
    ended = threading.Event()
    run, taken = PHASES[phase](desk, options, ended)
    changing = threading.Thread(target=behind(run))
    changing.start()
    before = gateway.cpu_seconds()
    try:
        told = pace((gateway.port, f"app-{{{min(ASKED, options.apps)}}}.test"), rate, options.seconds)
    finally:
        ended.set()
        changing.join()
    told["cpu"] = (gateway.cpu_seconds() - before) / options.seconds * 100
    # What was published last is still on its way.
    wait_for("the gateway to follow", lambda: desk.generation in desk.followed, 30)
    say(f"{phase}: p50 {told['p50']} p99 {told['p99']} ms {taken()}")
    return told


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20, help="of each phase in a round")
    parser.add_argument("--rate", type=int, help="requests a second; default: that at which its worker is busy half of the time")
    parser.add_argument("--apps", type=int, default=100_000)
    parser.add_argument("--updates", type=int, default=1000, help="a second")
    parser.add_argument("--every", type=float, default=2, help="seconds between two tables")
    options = parser.parse_args()
    need("nginx")
    with Lab() as lab:
        desk = Desk(options.apps, f"127.0.0.1:{lab.upstream()}")
        gateway = lab.gateway(lab.configuration(url(desk.port)))
        wait_for("the gateway to follow", lambda: desk.generation in desk.followed, 30)
        bystander = lab.gateway(lab.configuration(f'kind = "file"\npath = "{lab.apps(options.apps)}"', folder="bystander"))
        rate = options.rate or half_load(gateway)
        rounds = f"{options.rounds} rounds of {options.seconds:g} s a phase"
        print(f"{machine()}; {rounds}; {rate} requests/s; {options.apps} apps;")
        print(f"replaced: every {options.every:g} s; updates: {options.updates} a second\n", flush=True)
        runs = {phase: [] for phase in PHASES}
        for n in range(options.rounds):
            turn = n % len(PHASES)
            for phase in list(PHASES)[turn:] + list(PHASES)[:turn]:
                asked = bystander if phase.endswith(ASIDE) else gateway
                runs[phase].append(measure(asked, desk, phase, rate, options))
    print("| table | p50 | p99 | p99.9 ms | p99, quiet = 1.00 (least, most) | p99.9, quiet = 1.00 | CPU, % of a core |")
    print("|---" * 7 + "|")
    for phase, own in runs.items():
        times = " | ".join(f"{median([r[p] for r in own]):.2f}" for p in ("p50", "p99", "p999"))
        ratios = " | ".join(spread([a[p] / b[p] for a, b in zip(own, runs["quiet"])]) for p in ("p99", "p999"))
        print(f"| {phase} | {times} | {ratios} | {median([r['cpu'] for r in own]):.0f} |")


main()
