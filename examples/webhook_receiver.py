"""A receiver of webhooks: verifies each request, and does its work once for each event.

WEBHOOK_SECRET=whsec_… python webhook_receiver.py 8000
"""

import os
import sqlite3
import sys
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from chunkferry.webhooks import SignatureRefused, verify

SECRET = os.environ["WEBHOOK_SECRET"]
EVENTS = os.environ.get("WEBHOOK_EVENTS", "events.db")
LARGEST = 64 * 1024


def handle(event):
    """Your work; where it belongs to a database, do it in the transaction below."""
    print(event["type"], event["upload"]["filepath"], flush=True)


def once(event):
    """The same event may come again: its id tells."""
    with closing(sqlite3.connect(EVENTS)) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS seen (id PRIMARY KEY)")
        new = database.execute("INSERT OR IGNORE INTO seen VALUES (?)", [event["id"]])
        if new.rowcount:
            handle(event)


class Receiver(BaseHTTPRequestHandler):
    timeout = 30  # seconds that a sender may be silent

    def do_POST(self):
        size = int(self.headers.get("Content-Length", 0))
        if not 0 <= size <= LARGEST:
            self.send_error(413)
            return
        body = self.rfile.read(size)
        try:
            event = verify(self.headers, body, SECRET)
        except SignatureRefused:
            self.send_error(401)
            return
        once(event)  # an error here is answered by none: the event comes again
        self.send_response(204)
        self.end_headers()


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
