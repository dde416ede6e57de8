#!/usr/bin/env python3
"""From exec to the first proxied answer with 100,000 apps on disk and no orchestrator, and the memory it takes.

usage: first_answer.py [APPS=100000] [ROUNDS=7]
"""

import http.client
import shutil
import sys
import time

from lab import HOST, Lab, answer, machine, median, need, wait_for


def first_answer(port):
    """Asks until it is answered, as fast as connections are refused."""
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/", headers={"Host": HOST})
            return connection.getresponse().status
        except ConnectionError:
            pass


def main():
    apps = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    need("nginx")
    with Lab() as lab:
        upstream = lab.upstream()
        process, url = lab.orchestrator(lab.apps(apps, upstream))
        configuration = lab.configuration(url)
        first = lab.gateway(configuration)
        state = lab.folder / "state"
        wait_for("a snapshot on disk", lambda: list(state.glob("snapshot-*")))
        wait_for("every app", lambda: answer(lab.web, host=f"app-{apps - 1}.test") == 200)
        live = first.rss_mib()
        size = max(f.stat().st_size for f in state.glob("snapshot-*"))
        for p in (process, first.process):
            p.kill()
            p.wait()
        times, memory = [], []
        for _ in range(rounds):
            start = time.monotonic()
            gateway = lab.run_gateway(configuration)
            status = first_answer(lab.web)
            times.append((time.monotonic() - start) * 1000)
            if status != 200:
                sys.exit(f"the first answer was {status}, it must be the app's")
            memory.append(gateway.rss_mib())
            gateway.process.kill()
            gateway.process.wait()
        print(f"{machine()}; {apps} apps, {size / 2**20:.1f} MiB on disk, {rounds} rounds, orchestrator away")
        print(f"exec to first proxied answer: median {median(times):.0f} ms, {min(times):.0f} to {max(times):.0f} ms")
        print(f"RSS: {median(memory):.0f} MiB restored, {live:.0f} MiB after taking it from the orchestrator")
        shutil.rmtree(state)


main()
