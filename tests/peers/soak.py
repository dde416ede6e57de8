#!/usr/bin/env python3
"""The gateway for minutes, its worker busy half of the time: latency, resident memory and open descriptors, minute by minute.
Fails where memory or descriptors at the end are more than 5 % (and 1 MiB, or 16 descriptors) above what they were after the
first minute. That p99 is flat is for the reader to see: on a shared machine it is the machine's.

usage: soak.py [--minutes 10] [--minute 60] [--rate N] [--access off|on]
"""

import argparse
import sys

from lab import Lab, half_load, machine, need, pace_by_interval
from peers import APPS, start

GROWTH = 0.05
SLACK = {"RSS MiB": 1, "descriptors": 16}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--minute", type=float, default=60, help="seconds of one, to try this script")
    parser.add_argument("--rate", type=int, help="requests a second; default: that at which its worker is busy half of the time")
    parser.add_argument("--access", choices=("off", "on"), default="off")
    options = parser.parse_args()
    need("nginx")
    with Lab() as lab:
        lab.upstream()
        gateway = start(lab, "holdgate", access=lab.folder / "access" if options.access == "on" else None)
        rate = options.rate or half_load(gateway)
        print(f"{machine()}; {rate} requests/s; {APPS} apps; access log {options.access}\n")
        print("| minute | requests | p50 | p99 | p99.9 ms | CPU us/request | RSS MiB | descriptors |\n" + "|---" * 8 + "|")
        samples, cpu = [], gateway.cpu_seconds()
        # One more than asked for: the first minute warms up, and is what the others are held against.
        # And one after it, in which it is left: the last to be looked at is still under load.
        told = pace_by_interval(gateway.target(), rate, (options.minutes + 2) * options.minute, options.minute)
        for minute, times in zip(range(options.minutes + 1), told):
            samples.append({"RSS MiB": gateway.rss_mib(), "descriptors": gateway.open_descriptors()})
            before, cpu = cpu, gateway.cpu_seconds()
            each = (cpu - before) / max(times["requests"], 1) * 1e6
            latency = " | ".join(f"{times[p]:.2f}" for p in ("p50", "p99", "p999"))
            sizes = f"{samples[-1]['RSS MiB']:.1f} | {samples[-1]['descriptors']}"
            print(f"| {minute or 'first'} | {times['requests']} | {latency} | {each:.1f} | {sizes} |", flush=True)
        told.close()
    first, last = samples[0], samples[-1]
    grown = [what for what in first if last[what] > first[what] * (1 + GROWTH) + SLACK[what]]
    sys.exit("\n".join(f"{what} grew from {first[what]:.1f} to {last[what]:.1f}" for what in grown) or 0)


main()
