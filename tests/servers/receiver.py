"""A receiver of webhooks: a real web server that remembers requests and answers as told."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

#: Of a receiver's URL: must not be readable anywhere else.
TOKEN = "url-secret-7f3a91"
#: 24 bytes and more, as Standard Webhooks wants it.
SECRET = "whsec_" + "c2lnbmluZy1zZWNyZXQtN2YzYTkxLTAx"
SECRET_BEFORE = "whsec_" + "c2lnbmluZy1zZWNyZXQtN2YzYTkxLTAw"


@dataclass(frozen=True)
class Request:
    """One request that came."""

    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        """What it tells."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def kind(self) -> str:
        """Of its event."""
        return str(self.event["type"])

    @property
    def event_id(self) -> str:
        """Of its event."""
        return str(self.event["id"])

    @property
    def path(self) -> str:
        """Of its upload."""
        return str(self.event["upload"]["filepath"])


@dataclass(frozen=True)
class Answer:
    """What a receiver answers."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Who did not like our certificate is the test's business."""


class Receiver:
    """Listens until it is closed."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Answer] = lambda _: Answer()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = Request(self.path, dict(self.headers.items()), body)
                receiver.requests.append(request)
                answer = receiver.answer(request)
                # Whoever asked may have gone meanwhile.
                with contextlib.suppress(OSError):
                    self.send_response(answer.status)
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as inherited
                del format, args

        self._server = _Server(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            # Not in the thread that accepts: a bad handshake is nobody else's business.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Where it wants to be told."""
        return f"http://127.0.0.1:{self.port}/hooks/{TOKEN}?key={TOKEN}"

    def of(self, path: str) -> list[Request]:
        """What came of the upload to a path."""
        return [request for request in self.requests if request.path == path]

    def kinds(self, path: str) -> list[str]:
        """The kinds of its events, as they came."""
        return [request.kind for request in self.of(path)]

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """One without TLS."""
    with contextlib.closing(Receiver()) as made:
        yield made
