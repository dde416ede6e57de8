#!/usr/bin/env python3
"""From exec to the first proxied answer with APPS apps on disk and no orchestrator, and the memory it takes.

The state folder is filled by `holdgate table import`, from a snapshot that is made here. `--cold` drops the page cache
before each round (as root), `--log` prints what the last gateway said.

usage: first_answer.py [APPS=100000] [ROUNDS=7] [--cold] [--log]
"""

import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import time

from lab import HOLDGATE, HOST, Lab, answer, machine, median, need, url, wait_for

EPOCH = "01BENCH"


def first_answer(port):
    """Asks until it is answered, as fast as connections are refused."""
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/", headers={"Host": HOST})
            return connection.getresponse().status
        except ConnectionError:
            pass


def snapshot(lab, apps, upstream):
    """A snapshot's body (spec of the orchestrator API) of `apps` apps, all on `upstream`."""
    path, total = lab.folder / "table.ndjson", 0
    with path.open("w") as file:
        file.write(f'{{"begin":{{"schema":1,"epoch":"{EPOCH}","generation":{apps},"ready":true,"apps":{apps}}}}}\n')
        for n in range(apps):
            spec = f'{{"hosts":["app-{n}.test"],"endpoints":["127.0.0.1:{upstream}"]}}'
            number = hashlib.sha256(b"app-%d\0%s\0%s" % (n, (n + 1).to_bytes(8, "big"), spec.encode())).digest()[:16]
            total += int.from_bytes(number, "big")
            file.write(f'{{"app":"app-{n}","rev":{n + 1},"spec":{spec}}}\n')
        file.write(f'{{"end":{{"apps":{apps},"digest":"{total % 2**128:032x}"}}}}\n')
    return path


def prepare(lab, configuration, apps, upstream):
    """Fills the state folder; returns how long the import took and what was resident after it."""
    path = snapshot(lab, apps, upstream)
    first = lab.run_gateway(configuration)
    wait_for("the admin API", lambda: answer(lab.admin, "/livez", host="localhost"))
    start = time.monotonic()
    subprocess.run([HOLDGATE, "--config", configuration, "table", "import", path], check=True)
    took = time.monotonic() - start
    wait_for("the last app", lambda: answer(lab.web, host=f"app-{apps - 1}.test") == 200)
    rss = first.rss_mib()
    first.process.terminate()
    first.process.wait()
    path.unlink()
    return took, rss


def main():
    numbers = [int(a) for a in sys.argv[1:] if not a.startswith("--")]
    apps = numbers[0] if numbers else 100_000
    rounds = numbers[1] if len(numbers) > 1 else 7
    cold = "--cold" in sys.argv
    need("nginx")
    with Lab() as lab:
        upstream = lab.upstream()
        configuration = lab.configuration(url(1))
        took, imported = prepare(lab, configuration, apps, upstream)
        state = configuration.parent / "state"
        size = sum(f.stat().st_size for f in state.iterdir())
        times, memory = [], []
        for _ in range(rounds):
            if cold:
                os.sync()
                with open("/proc/sys/vm/drop_caches", "w") as file:
                    file.write("3")
            start = time.monotonic()
            gateway = lab.run_gateway(configuration)
            status = first_answer(lab.web)
            times.append((time.monotonic() - start) * 1000)
            if status != 200:
                sys.exit(f"the first answer was {status}, it must be the app's")
            memory.append(gateway.rss_mib())
            # Asked to end: a table that is killed with too often is taken for what kills.
            gateway.process.terminate()
            gateway.process.wait()
        cache = "cold" if cold else "warm"
        print(f"{machine()}; {apps} apps, {size / 2**20:.1f} MiB on disk, {rounds} rounds, orchestrator away, {cache} cache")
        print(f"exec to first proxied answer: median {median(times):.0f} ms, {min(times):.0f} to {max(times):.0f} ms")
        print(f"RSS: {median(memory):.0f} MiB restored, {imported:.0f} MiB after importing it, which took {took:.2f} s")
        if "--log" in sys.argv:
            print((lab.folder / "log").read_text()[-4000:])
        shutil.rmtree(state)


main()
