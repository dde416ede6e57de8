"""An orchestrator that is cheap to change: the API of docs/ORCHESTRATOR.md over one table in memory.

A table that replaces the one before is made ahead, so that nothing but sending it falls into a measurement. Who follows is
told of it by 410, and takes a snapshot.
"""

import hashlib
import http.server
import json
import os
import threading
import urllib.parse

EPOCH = "01CHURN"
DIGEST = 2**128


def document(n, generation, endpoint):
    """An app's, another one in each generation: a host of its own that stays, and one that does not."""
    return f'{{"hosts":["app-{n}.test","app-{n}-{generation}.test"],"endpoints":["{endpoint}"]}}'


def number(n, rev, spec):
    """An app's in the digest."""
    return int.from_bytes(hashlib.sha256(b"app-%d\0%s\0%s" % (n, rev.to_bytes(8, "big"), spec.encode())).digest()[:16], "big")


class Table:
    """All apps as they are at one generation, and the snapshot that says so."""

    def __init__(self, apps, generation, endpoint):
        self.generation, self.digest, lines = generation, 0, []
        for n in range(apps):
            spec = document(n, generation, endpoint)
            self.digest += number(n, generation, spec)
            lines.append(f'{{"app":"app-{n}","rev":{generation},"spec":{spec}}}\n')
        begin = {"schema": 1, "epoch": EPOCH, "generation": generation, "ready": True, "apps": apps}
        end = {"apps": apps, "digest": f"{self.digest % DIGEST:032x}"}
        self.body = f'{json.dumps({"begin": begin})}\n{"".join(lines)}{json.dumps({"end": end})}\n'.encode()


class Desk:
    """The table that is published, and who asks for it."""

    def __init__(self, apps, endpoint):
        self.apps, self.endpoint = apps, endpoint
        self.changed = threading.Condition()
        # Generations that a follower has shown to have, by asking for what comes after.
        self.followed = set()
        self.publish(self.make(1))
        self.server = Server(("127.0.0.1", 0), Calls)
        self.server.desk = self
        self.port = self.server.server_address[1]
        threading.Thread(target=behind(self.server.serve_forever), daemon=True).start()

    def make(self, generation):
        return Table(self.apps, generation, self.endpoint)

    def publish(self, table):
        """Replaces all apps."""
        with self.changed:
            self.table, self.generation, self.digest = table, table.generation, table.digest
            self.specs, self.log = {}, []
            self.changed.notify_all()

    def update(self, apps):
        """One update of each of these apps, a generation each."""
        with self.changed:
            for n in apps:
                self.generation += 1
                rev, spec = self.specs.get(n) or (self.table.generation, document(n, self.table.generation, self.endpoint))
                self.digest -= number(n, rev, spec)
                self.specs[n] = self.generation, document(n, self.generation, self.endpoint)
                self.digest += number(n, *self.specs[n])
                self.log.append(n)
            self.changed.notify_all()

    def state(self):
        with self.changed:
            return {"schema": 1, "epoch": EPOCH, "generation": self.generation, "ready": True, "reason": None} | self.sums()

    def sums(self):
        return {"apps": self.apps, "digest": f"{self.digest % DIGEST:032x}"}

    def changes(self, since, wait):
        """What comes after a generation, or None where only a snapshot says it."""
        with self.changed:
            self.followed.add(since)
            self.changed.wait_for(lambda: self.generation > since, wait)
            if since < self.table.generation:
                return None
            changed = dict.fromkeys(self.log[since - self.table.generation :])
            upserts = ",".join('{{"app":"app-{}","rev":{},"spec":{}}}'.format(n, *self.specs[n]) for n in changed)
            head = {"epoch": EPOCH, "from": since, "to": self.generation, "ready": True, "more": False} | self.sums()
            # The documents go out as they are hashed.
            return json.dumps(head)[:-1] + f',"deletes":[],"upserts":[{upserts}]}}'


def behind(run):
    """As `run`, on a thread that stands back: a real orchestrator has cores of its own. Threads it starts do so, too."""

    def stood_back():
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
        run()

    return stood_back


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A connection that its client closed is no news."""


class Calls(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        desk, call = self.server.desk, urllib.parse.urlsplit(self.path)
        if call.path == "/v1/state":
            self.answer(200, json.dumps(desk.state()).encode())
        elif call.path == "/v1/snapshot":
            self.answer(200, desk.table.body)
        elif call.path == "/v1/changes":
            asked = dict(urllib.parse.parse_qsl(call.query))
            changes = desk.changes(int(asked["since"]), float(asked["wait"].rstrip("s")))
            self.answer(410, b"") if changes is None else self.answer(200, changes.encode())
        else:
            self.answer(404, b"")

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(204, b"")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass
