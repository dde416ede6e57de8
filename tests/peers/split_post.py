#!/usr/bin/env python3
"""A POST whose head and body come in two small writes, to an app that answers when the body is complete (outage D).

For the client with Nagle on and off, on kept and on new connections: p50 and p99 in milliseconds, straight to the app,
through Holdgate, nginx and haproxy, interleaved. 40 ms is what Nagle against a delayed ACK costs.

usage: split_post.py [REQUESTS=500]
"""

import http.server
import socket
import sys
import threading
import time

from lab import HOST, Lab, Peer, machine, need

HEAD = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\n".encode()


class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.do_POST()

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A connection that its client closed is no news."""


def connect(port, nagle):
    s = socket.create_connection(("127.0.0.1", port), 5)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0 if nagle else 1)
    return s


def post(s):
    start = time.perf_counter()
    s.sendall(HEAD)
    s.sendall(b"hello")
    data = b""
    while not data.endswith(b"\r\n\r\nok"):
        more = s.recv(4096)
        if not more:
            sys.exit(f"cut short: {data!r}")
        data += more
    return (time.perf_counter() - start) * 1000


def measure(port, nagle, kept, requests):
    times, s = [], connect(port, nagle)
    for _ in range(requests):
        if not kept:
            s.close()
            s = connect(port, nagle)
        times.append(post(s))
    s.close()
    times.sort()
    return times[len(times) // 2], times[len(times) * 99 // 100]


def main():
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    need("nginx", "haproxy")
    app = Server(("127.0.0.1", 0), App)
    threading.Thread(target=app.serve_forever, daemon=True).start()
    upstream = app.server_address[1]
    with Lab() as lab:
        _, url = lab.orchestrator(lab.apps(10_000, upstream))
        peers = [Peer("straight", upstream, None), lab.gateway(lab.configuration(url))]
        peers += [lab.peer_nginx(upstream), lab.peer_haproxy(upstream)]
        print(f"{machine()}; {requests} requests each; milliseconds\n")
        print("| client | connections | " + " | ".join(f"{p.name} p50 / p99" for p in peers) + " |")
        print("|---" * (2 + len(peers)) + "|")
        for nagle in (False, True):
            for kept in (True, False):
                cells = ["{:.2f} / {:.2f}".format(*measure(p.port, nagle, kept, requests)) for p in peers]
                print(f"| Nagle {'on' if nagle else 'off'} | {'kept' if kept else 'new'} | " + " | ".join(cells) + " |", flush=True)


main()
