"""Requests of Resumable Uploads for HTTP: whole ones by httpx, and broken ones on a bare socket.

Speaks the newest version of the draft, unless it is told otherwise.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
from tests.servers.front import Front

VERSION = {"Upload-Draft-Interop-Version": "9"}
PARTIAL = {"Content-Type": "application/partial-upload"}
#: A silent server is a failure.
_SECONDS = 30.0


def create(
    web: httpx.Client, content: bytes | Iterable[bytes] = b"", complete: str = "?0", **headers: str
) -> httpx.Response:
    """Begin an upload; names of further headers are written with underscores."""
    said = {**VERSION, "Upload-Complete": complete, **_named(headers)}
    return web.post("/files", headers=said, content=content)


def append(
    web: httpx.Client,
    url: str,
    offset: int,
    content: bytes | Iterable[bytes] = b"",
    complete: str = "?0",
    **headers: str,
) -> httpx.Response:
    """Send more of it."""
    said = {**VERSION, **PARTIAL, "Upload-Offset": str(offset), "Upload-Complete": complete}
    return web.patch(url, headers={**said, **_named(headers)}, content=content)


def begun(web: httpx.Client, content: bytes = b"", complete: str = "?0", **headers: str) -> str:
    """The URL of a new upload."""
    answer = create(web, content, complete, **headers)
    assert answer.status_code == httpx.codes.CREATED, answer.text
    return answer.headers["location"]


def stands(web: httpx.Client, url: str) -> tuple[int, str]:
    """Offset and completeness, as a HEAD request is told."""
    answer = web.head(url, headers=VERSION)
    assert answer.status_code == httpx.codes.NO_CONTENT, answer.status_code
    return int(answer.headers["upload-offset"]), answer.headers["upload-complete"]


def limits(answer: httpx.Response) -> dict[str, int]:
    """``Upload-Limit``."""
    pairs = (pair.partition("=") for pair in answer.headers["upload-limit"].split(", "))
    return {key: int(value) for key, _, value in pairs}


def problem(answer: httpx.Response) -> str:
    """The type of the problem, without the address of its registry."""
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json().get("type", "about:blank")).rpartition("#")[2]


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One answer on the wire: an interim or a final one."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)


class Wire:
    """One connection, on which a test sends what it likes, when it likes."""

    def __init__(self, front: Front) -> None:
        address = ("127.0.0.1", int(front.url.rpartition(":")[2]))
        self._socket = socket.create_connection(address, timeout=_SECONDS)
        self._reading = self._socket.makefile("rb")

    def begin(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Send the head of a request."""
        lines = [f"{method} {path} HTTP/1.1", "Host: x"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode())

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(data)

    def message(self) -> Message:
        """The next answer; the content of a final one is left."""
        status = int(self._reading.readline().split()[1])
        fields = {}
        while line := self._reading.readline().strip():
            name, _, value = line.decode("latin-1").partition(": ")
            fields[name.lower()] = value
        return Message(status=status, headers=fields)

    def has_message(self) -> bool:
        """Whether something has come that was not read yet."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def close(self) -> None:
        """Hang up."""
        self._reading.close()
        self._socket.close()


@contextmanager
def wire(front: Front) -> Iterator[Wire]:
    """A connection to ``front``, which ends with the block."""
    connection = Wire(front)
    try:
        yield connection
    finally:
        connection.close()
