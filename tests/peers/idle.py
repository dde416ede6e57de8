"""What an idle connection costs: resident memory of a proxy for each of many kept connections that had one request each."""

import socket
import sys
import time

from lab import say
from peers import start

# So many are open before, and are opened at once.
WARM = 64
SETTLE = 5.0
# As many connections from one source address, so that its ports do not run short: net.ipv4.ip_local_port_range has 28,000.
FROM_ONE_ADDRESS = 5000


def kib_per_connection(lab, name, threads, count):
    """Of a process of its own, so that no other work's memory is reused."""
    peer = start(lab, name, threads)
    close(open_all(peer.target(), WARM))
    before = steady(peer)
    connections = open_all(peer.target(), count)
    time.sleep(SETTLE)
    after = peer.rss_kib()
    gone = sum(map(closed, connections))
    close(connections)
    peer.end()
    say(f"{name}: {before} KiB before, {after} after")
    if gone:
        say(f"{name} has closed {gone} of {count} idle connections: its figure is too low")
    return (after - before) / count


def steady(peer):
    """Resident KiB once they have stayed within a percent for SETTLE: a table that just came leaves memory free."""
    since, kib = time.monotonic(), peer.rss_kib()
    last = since + 60
    while time.monotonic() < min(since + SETTLE, last):
        time.sleep(0.2)
        if abs(peer.rss_kib() - kib) > kib / 100:
            since, kib = time.monotonic(), peer.rss_kib()
    return peer.rss_kib()


def open_all(target, count):
    """In handfuls: what is opened first must not have been idle for long when the last is."""
    port, host = target
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    connections = []
    for first in range(0, count, WARM):
        handful = []
        for n in range(first, min(first + WARM, count)):
            source = (f"127.0.0.{2 + n // FROM_ONE_ADDRESS}", 0)
            connection = socket.create_connection(("127.0.0.1", port), 10, source)
            connection.sendall(request)
            handful.append(connection)
        for connection in handful:
            data = b""
            while not data.endswith(b"ok"):
                data += connection.recv(4096) or sys.exit(f"a connection was closed: {data!r}")
        connections += handful
    return connections


def closed(connection):
    """True where the other side has ended it."""
    connection.setblocking(False)
    try:
        return not connection.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True


def close(connections):
    for connection in connections:
        connection.close()
