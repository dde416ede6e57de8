"""What an idle connection costs: resident memory of a proxy for each of many kept connections that had one request each."""

import socket
import time

from lab import say
from peers import start

WARM = 64
SETTLE = 5.0
# As many connections from one source address, so that its ports do not run short: net.ipv4.ip_local_port_range has 28,000.
FROM_ONE_ADDRESS = 5000


def kib_per_connection(lab, name, threads, count):
    """Of a process of its own, so that no other work's memory is reused."""
    peer = start(lab, name, threads)
    close(open_all(peer.target(), WARM))
    time.sleep(1)
    before = peer.rss_kib()
    connections = open_all(peer.target(), count)
    time.sleep(SETTLE)
    after = peer.rss_kib()
    gone = sum(map(closed, connections))
    close(connections)
    peer.end()
    if gone:
        say(f"{name} has closed {gone} of {count} idle connections: its figure is too low")
    return (after - before) / count


def open_all(target, count):
    port, host = target
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    connections = []
    for n in range(count):
        source = (f"127.0.0.{2 + n // FROM_ONE_ADDRESS}", 0)
        connection = socket.create_connection(("127.0.0.1", port), 10, source)
        connection.sendall(request)
        data = b""
        while not data.endswith(b"ok"):
            more = connection.recv(4096)
            if not more:
                raise SystemExit(f"connection {n} was closed: {data!r}")
            data += more
        connections.append(connection)
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
