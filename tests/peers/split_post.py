#!/usr/bin/env python3
"""A POST whose head and body come in two small writes, to an app that answers when the body is complete (outage D).

For the client with Nagle on and off, on kept and on new connections: p50 and p99 in milliseconds, straight to the app and
through each proxy, interleaved. 40 ms is what Nagle against a delayed ACK costs.

usage: split_post.py [REQUESTS=500] [PEERS=holdgate,nginx,haproxy]
"""

import socket
import sys
import time

from lab import HOST, Lab, Peer, machine, need
from peers import installed, start

PATH = "/post"


def connect(port, nagle):
    s = socket.create_connection(("127.0.0.1", port), 5)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0 if nagle else 1)
    return s


def post(s, host):
    start = time.perf_counter()
    s.sendall(f"POST {PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\n".encode())
    s.sendall(b"hello")
    data = b""
    while not data.endswith(b"\r\n\r\nok"):
        more = s.recv(4096)
        if not more:
            sys.exit(f"cut short: {data!r}")
        data += more
    return (time.perf_counter() - start) * 1000


def measure(port, nagle, kept, requests, host=HOST):
    """p50 and p99 in milliseconds."""
    times, s = [], connect(port, nagle)
    for _ in range(requests):
        if not kept:
            s.close()
            s = connect(port, nagle)
        times.append(post(s, host))
    s.close()
    times.sort()
    return times[len(times) // 2], times[len(times) * 99 // 100]


def main():
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    names = (sys.argv[2] if len(sys.argv) > 2 else "holdgate,nginx,haproxy").split(",")
    need("nginx")
    with Lab() as lab:
        peers = [Peer("straight", lab.upstream(), None)] + [start(lab, name) for name in installed(names)]
        print(f"{machine()}; {requests} requests each; milliseconds\n")
        print("| client | connections | " + " | ".join(f"{p.name} p50 / p99" for p in peers) + " |")
        print("|---" * (2 + len(peers)) + "|")
        for nagle in (False, True):
            for kept in (True, False):
                cells = ["{:.2f} / {:.2f}".format(*measure(p.port, nagle, kept, requests)) for p in peers]
                print(f"| Nagle {'on' if nagle else 'off'} | {'kept' if kept else 'new'} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
