"""What stands around the gateway: an app's backend, and clients that remember every failure."""

import http.server
import socket
import socketserver
import threading
import time


LARGE = b"x" * (16 << 20)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Backend:
    """Answers every request with 'served', `/slow` after a while, `/large` with far more."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            if self.path == "/slow":
                time.sleep(1.5)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = b"served" if self.path != "/large" else LARGE
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
        daemon_threads = True
        request_queue_size = 1024

        def handle_error(self, *_):
            pass  # A gateway that is killed closes its connections.

    def __init__(self):
        self.server = self.Server(("127.0.0.1", 0), self.Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def get(address, timeout=20.0, path="/"):
    """The status of one request over a connection of its own; `address` is a port or the path of a Unix socket."""
    unix = isinstance(address, str)
    with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as client:
        client.settimeout(timeout)
        client.connect(address if unix else ("127.0.0.1", address))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := client.recv(65536):
            answer += part
        return int(answer.split(b" ", 2)[1])


def ask_and_read_nothing(port, path):
    """A client that has asked and holds on to what comes; its socket, and the status it was given. One that is refused leaves."""
    client = socket.create_connection(("127.0.0.1", port), 20)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n".encode())
    status = int(client.recv(16).split(b" ", 2)[1])
    if status != 200:
        client.close()
    return client, status


class Load:
    """Clients that connect anew for each request, until they are stopped."""

    def __init__(self, port, clients=4):
        self.port, self.asked, self.refused, self.broken, self.slowest = port, 0, [], [], 0.0
        self.going, self.lock = True, threading.Lock()
        self.clients = [threading.Thread(target=self.ask, daemon=True) for _ in range(clients)]
        self.clients.append(threading.Thread(target=self.ask, args=("/slow",), daemon=True))
        for client in self.clients:
            client.start()

    def ask(self, path="/"):
        while self.going:
            began, failed = time.monotonic(), None
            try:
                status = get(self.port, path=path)
                failed = None if status == 200 else (self.broken, f"status {status}")
            except ConnectionRefusedError as error:
                failed = (self.refused, repr(error))
            except (OSError, IndexError, ValueError) as error:
                failed = (self.broken, repr(error))
            with self.lock:
                self.asked += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
                if failed:
                    failed[0].append(failed[1])
            time.sleep(0.005)

    def stop(self):
        """Returns what became of it, in words, and fails where a client was refused."""
        self.going = False
        for client in self.clients:
            client.join(30)
        said = f"{self.asked} requests, {len(self.refused)} refused, {len(self.broken)} cut, slowest {self.slowest:.2f} s"
        assert self.asked > 0 and not self.refused, said
        return said
