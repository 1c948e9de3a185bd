"""A server that answers as it is told: for faults that no real one makes on request."""

from __future__ import annotations

import socket
import struct
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from operator import attrgetter

from chunkferry.testing import ManualClock

#: What the server does with one request.
Answer = Callable[["Handler"], None]
#: Tells which operation of the service a request is.
Naming = Callable[["Handler"], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it came."""

    operation: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class ScriptedServer:
    """The server's script and its memory."""

    naming: Naming = attrgetter("command")
    port: int = 0
    #: Operation -> answers, in order; the last one is given for ever.
    script: dict[str, list[Answer]] = field(default_factory=lambda: defaultdict(list))
    requests: list[Request] = field(default_factory=list)
    #: Set at the end, so that no stalled answer outlives the test.
    ended: threading.Event = field(default_factory=threading.Event)
    #: Set when a client has hung up on a trickle.
    gone: threading.Event = field(default_factory=threading.Event)

    @property
    def endpoint(self) -> str:
        """The server's URL."""
        return f"http://127.0.0.1:{self.port}"

    def on(self, operation: str, *answers: Answer) -> None:
        """Answer ``operation`` like this."""
        self.script[operation] = list(answers)

    def seen(self, operation: str) -> list[Request]:
        """The requests of that kind, in order; only those that arrived whole."""
        return [request for request in self.requests if request.operation == operation]

    def next_answer(self, operation: str) -> Answer:
        """What comes next."""
        answers = self.script[operation]
        return answers.pop(0) if len(answers) > 1 else answers[0]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_: ScriptedServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""

    def handle_one(self) -> None:
        """Hand the request to its answer."""
        answer = self.server_.next_answer(self.operation())
        answer(self)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = handle_one  # noqa: N815 - the base's names

    def operation(self) -> str:
        """The operation of this request."""
        return self.server_.naming(self)

    def read_body(self, limit: int | None = None) -> bytes:
        """The body, or its first ``limit`` bytes."""
        length = int(self.headers.get("Content-Length", 0))
        return self.rfile.read(length if limit is None else min(limit, length))


def answer(status: int = 200, body: str = "", /, **headers: str) -> Answer:
    """Read the request and, if it came whole, answer it.

    ``_`` in names of headers stands for ``-``, and ``__`` for ``_``.
    """

    def give(handler: Handler) -> None:
        received = handler.read_body()
        if len(received) < int(handler.headers.get("Content-Length", 0)):
            handler.close_connection = True
            return
        handler.server_.requests.append(
            Request(operation=handler.operation(), headers=dict(handler.headers), body=received)
        )
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header("_".join(p.replace("_", "-") for p in name.split("__")), value)
        if "Content_Length" not in headers:
            handler.send_header("Content-Length", str(len(body.encode())))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body.encode())
        handler.close_connection = "Content_Length" in headers and handler.command != "HEAD"

    return give


def stall(handler: Handler) -> None:
    """Take the request and never answer."""
    handler.read_body()
    handler.server_.ended.wait()
    handler.close_connection = True


def reset_after(count: int) -> Answer:
    """Reset the connection after ``count`` bytes of the body."""

    def give(handler: Handler) -> None:
        handler.read_body(count)
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        # As a file it holds the socket open otherwise.
        handler.rfile.close()
        handler.connection.close()
        handler.close_connection = True

    return give


def lose_answer(handler: Handler) -> None:
    """Take the request, and close without a word."""
    handler.read_body()
    handler.close_connection = True


def after(clock: ManualClock, span: timedelta, then: Answer) -> Answer:
    """Let so much time pass on ``clock``, and do ``then``."""

    def give(handler: Handler) -> None:
        clock.advance(span)
        then(handler)

    return give


def trickle(**headers: str) -> Answer:
    """Promise a large body, and send a byte of it now and then until the client has gone."""

    def give(handler: Handler) -> None:
        handler.read_body()
        handler.close_connection = True
        handler.send_response(206)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        with suppress(OSError):
            while not handler.server_.ended.wait(0.1):
                handler.wfile.write(b"x")
        handler.server_.gone.set()

    return give


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Joining would wait for idle keep-alive connections.
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Broken connections are what these tests are about."""


@contextmanager
def running(naming: Naming) -> Iterator[ScriptedServer]:
    """A server on a free port."""
    scripted = ScriptedServer(naming=naming)
    handler = type("_Handler", (Handler,), {"server_": scripted})
    with _Server(("127.0.0.1", 0), handler) as server:
        scripted.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield scripted
        finally:
            scripted.ended.set()
            server.shutdown()
            thread.join()
