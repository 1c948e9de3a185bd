"""An S3 server that throws bodies away: what is measured against it is the client.

It remembers sizes and metadata, so that a client's own verification passes, and nothing else:
signatures are not checked, listings are empty. Run it as ``python -m bench.null_s3``; the first
line it prints is its port.
"""

from __future__ import annotations

import itertools
import socket
import socketserver
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from io import BufferedReader
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import click

#: Bytes asked of the kernel at once.
_PIECE: Final = 1024 * 1024
#: With this flag Linux discards the bytes instead of copying them; elsewhere they are copied.
_DISCARD: Final = 0x20 if sys.platform == "linux" else 0
#: Longest request or header line.
_MAX_LINE: Final = 64 * 1024
_METADATA: Final = "x-amz-meta-"

_LISTINGS: Final = {
    "uploads": "ListMultipartUploadsResult",
    "uploadId": "ListPartsResult",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request without its body."""

    method: str
    path: str
    query: Mapping[str, str]
    #: By lower-case name.
    headers: Mapping[str, str]

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return int(self.headers.get("content-length", 0))

    @property
    def metadata(self) -> dict[str, str]:
        """What the object is to carry."""
        return {name: text for name, text in self.headers.items() if name.startswith(_METADATA)}

    @property
    def names_an_object(self) -> bool:
        """False for a bucket."""
        return "/" in self.path.strip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer."""

    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(slots=True)
class _Object:
    """An object, or one in the making: all but its bytes."""

    metadata: Mapping[str, str]
    #: By part number.
    sizes: dict[int, int] = field(default_factory=dict)


class Bucket:
    """What the server remembers. Thread-safe: every change is one operation on a dict."""

    def __init__(self) -> None:
        self._objects: dict[str, _Object] = {}
        self._sessions: dict[str, _Object] = {}
        self._numbers = itertools.count(1)

    def answer(self, request: Request) -> Answer:
        """Do what ``request`` asks for, its body discarded already."""
        answer = _error(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented")
        match request.method:
            case "PUT" if "partNumber" in request.query:
                answer = self._upload_part(request)
            case "PUT":
                answer = self._put(request)
            case "POST" if "uploads" in request.query:
                answer = self._begin(request)
            case "POST" if "uploadId" in request.query:
                answer = self._complete(request)
            case "DELETE":
                self._sessions.pop(request.query.get("uploadId", ""), None)
                answer = Answer(status=HTTPStatus.NO_CONTENT)
            case "HEAD":
                answer = self._head(request) if request.names_an_object else Answer()
            case "GET" if listings := _LISTINGS.keys() & request.query.keys():
                name = _LISTINGS[listings.pop()]
                answer = _xml(f"<{name}><IsTruncated>false</IsTruncated></{name}>")
        return answer

    def _put(self, request: Request) -> Answer:
        self._objects[request.path] = _Object(request.metadata, {1: request.size})
        return Answer(headers=self._etag())

    def _begin(self, request: Request) -> Answer:
        session = f"session-{next(self._numbers)}"
        self._sessions[session] = _Object(request.metadata)
        name = "InitiateMultipartUploadResult"
        return _xml(f"<{name}><UploadId>{session}</UploadId></{name}>")

    def _upload_part(self, request: Request) -> Answer:
        session = self._sessions.get(request.query["uploadId"])
        if session is None:
            return _error(HTTPStatus.NOT_FOUND, "NoSuchUpload")
        session.sizes[int(request.query["partNumber"])] = request.size
        return Answer(headers=self._etag())

    def _complete(self, request: Request) -> Answer:
        session = self._sessions.pop(request.query["uploadId"], None)
        if session is None:
            return _error(HTTPStatus.NOT_FOUND, "NoSuchUpload")
        self._objects[request.path] = session
        name, etag = "CompleteMultipartUploadResult", self._etag()["ETag"]
        return _xml(f"<{name}><ETag>{etag}</ETag></{name}>")

    def _head(self, request: Request) -> Answer:
        found = self._objects.get(request.path)
        if found is None:
            return Answer(status=HTTPStatus.NOT_FOUND)
        headers = {
            **found.metadata,
            **self._etag(),
            "Content-Length": str(sum(found.sizes.values())),
            "Last-Modified": formatdate(usegmt=True),
        }
        return Answer(headers=headers)

    def _etag(self) -> dict[str, str]:
        """An ETag that nobody takes for an MD5."""
        return {"ETag": f'"null-{next(self._numbers)}"'}


class Connection(socketserver.BaseRequestHandler):
    """One client's connection, in a thread of its own."""

    server: Server

    def handle(self) -> None:
        """Answer requests until the client closes."""
        connection: socket.socket = self.request
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection.makefile("rb") as reader:
            while (request := _read_head(reader)) is not None:
                if request.headers.get("expect", "").lower() == "100-continue":
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                if request.size:
                    # What came with the head waits in the reader, the rest in the socket.
                    early = len(reader.read(min(request.size, len(reader.peek()))))
                    self._discard(connection, request.size - early)
                answer = self.server.bucket.answer(request)
                time.sleep(self.server.latency)
                connection.sendall(_serialized(request, answer))

    def _discard(self, connection: socket.socket, left: int) -> None:
        while left:
            count = connection.recv_into(self.server.waste, min(left, _PIECE), _DISCARD)
            if not count:
                return
            left -= count


class Server(socketserver.ThreadingTCPServer):
    """The server."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, latency: float) -> None:
        """Listen on ``port`` of the loopback interface, and answer ``latency`` seconds late."""
        super().__init__(("127.0.0.1", port), Connection)
        self.latency = latency
        self.bucket = Bucket()
        #: Where bodies go, all of them to the same place.
        self.waste = bytearray(_PIECE)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])


def _read_head(reader: BufferedReader) -> Request | None:
    """The next request up to its body, or None at the end."""
    method, target, *_ = [*reader.readline(_MAX_LINE).decode("latin-1").split(), "", ""]
    if not method:
        return None
    headers: dict[str, str] = {}
    while line := reader.readline(_MAX_LINE).decode("latin-1").strip():
        name, _, text = line.partition(":")
        headers[name.lower()] = text.strip()
    url = urlsplit(target)
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    return Request(method=method, path=url.path, query=query, headers=headers)


def _serialized(request: Request, answer: Answer) -> bytes:
    headers = {"Content-Length": str(len(answer.body)), **answer.headers}
    lines = [f"HTTP/1.1 {answer.status.value} {answer.status.phrase}"]
    lines += [f"{name}: {text}" for name, text in headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head if request.method == "HEAD" else head + answer.body


def _xml(text: str) -> Answer:
    return Answer(headers={"Content-Type": "application/xml"}, body=text.encode())


def _error(status: HTTPStatus, code: str) -> Answer:
    return Answer(status=status, body=f"<Error><Code>{code}</Code></Error>".encode())


@click.command(context_settings={"show_default": True})
@click.option("--port", default=0, help="Where to listen; 0 takes a free port.")
@click.option("--latency", default=0.0, help="Seconds added to each answer.")
def main(port: int, latency: float) -> None:
    """Serve S3 on the loopback interface until killed, and forget all bodies."""
    with Server(port, latency) as server:
        click.echo(server.port)
        server.serve_forever()


if __name__ == "__main__":
    main()
