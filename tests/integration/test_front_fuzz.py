"""Whatever bytes come: no request is answered with a 500, and none ends the server.

In this process, where headers of any bytes reach the application; and over sockets, where any bytes
reach the server.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from tests.servers.front import TUS, Front, answer_of, begun, head_of, offset_of

from chunkferry import ChunkManager, config
from chunkferry.testing import MemoryLedger
from chunkferry.tus import TusApp, beside
from chunkferry.tus.protocol import OCTETS, REQUEST_HEADERS
from chunkferry.wakeup import NoWaker

METHODS = ["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS", "BREW", "\xff", ""]
#: All that is read anywhere at the front door.
NAMES = [
    *(name.lower() for name in REQUEST_HEADERS),
    "accept", "access-control-request-headers", "access-control-request-method", "connection",
    "content-length", "content-range", "expect", "forwarded", "host", "if-match",
    "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "origin", "range",
    "te", "trailer", "transfer-encoding", "upgrade", "want-content-digest", "x-forwarded-for",
    "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-proto",
]  # fmt: skip
#: What gets a request past its first checks.
SENSIBLE = [
    b"1.0.0", b"0", b"1", b"4", b"?0", b"?1", b"8", b"6", OCTETS.encode(), b"text/plain",
    b"application/partial-upload", b"partial", b"final;/files/a /files/b", b"bytes=0-1", b"*",
    b"key dmFsdWU=", b"sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", b"sha-256=:AAAA:", b"PATCH", b"chunked",
    b"Upload-Checksum", b"https://app.example.org", b"for=1.2.3.4;host=a;proto=https", b"Bearer x",
    b"attachment; filename*=UTF-8''a", b"100-continue", b"9" * 30, b"-1", b"localhost:80",
]  # fmt: skip
#: What a fault is answered with; 423 is told to HEAD, and nobody locks anything here.
FAULTS = {423, 500, 502}
ODD = [b"", b"\xff\xfe", b"\0", b"\r\nX: y", b"(" * 2000, b"," * 2000]
values = st.one_of(st.sampled_from(SENSIBLE), st.binary(max_size=40))
names = st.one_of(st.sampled_from(NAMES).map(str.encode), st.binary(max_size=12))
heads = st.lists(st.tuples(names, values), max_size=10)
bodies = st.binary(max_size=12)


def sockets_heads() -> st.SearchStrategy[list[tuple[bytes, bytes]]]:
    """Headers that an HTTP server lets through."""
    text = st.binary(max_size=30).map(lambda data: bytes(set(data) - {0, 10, 13}))
    value = st.one_of(st.sampled_from(SENSIBLE), text)
    return st.lists(st.tuples(st.sampled_from(NAMES).map(str.encode), value), max_size=8)


# --- in this process --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request, of any bytes."""

    method: str
    path: str
    query: bytes = b""
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""


class Inside:
    """The application over a ledger in memory, and one upload."""

    def __init__(self) -> None:
        chosen = config.load(
            services={"default": "memory://fuzz"},
            http_trusted_proxies=["127.0.0.0/8"],
            http_cors_origins=["https://app.example.org"],
            http_location="absolute",
            http_trailers=True,
            http_body_timeout_seconds=1,
            append_wait_seconds=0.1,
        )
        manager = ChunkManager(settings=chosen, ledger=MemoryLedger(chosen), waker=NoWaker())
        self.app = beside(PlainTextResponse("", 404), "/files", TusApp(manager))
        self.upload_id = manager.create("a", 4).upload_id

    async def answer(self, request: Request) -> int:
        """The status of the answer to one request."""
        path = request.path.replace("{}", self.upload_id)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode("latin-1"),
            "query_string": request.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        sent: list[dict[str, object]] = []
        messages = [{"type": "http.request", "body": request.body, "more_body": False}]

        async def receive() -> dict[str, object]:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: object) -> None:
            sent.append(message)  # type: ignore[arg-type]  # as ASGI has it

        await self.app(scope, receive, send)
        status = sent[0]["status"] if sent else 0
        assert isinstance(status, int)
        return status


@pytest.fixture(scope="module")
def inside() -> Inside:
    """The application in this process."""
    return Inside()


paths = st.one_of(
    st.sampled_from(["/files", "/files/", "/files/{}", "/files/{}/", "/", "/files/x", "//", ""]),
    st.binary(max_size=20).map(lambda data: "/files/" + data.decode("latin-1")),
    st.binary(max_size=20).map(lambda data: "/" + data.decode("latin-1")),
)


requests = st.builds(
    Request,
    method=st.sampled_from(METHODS),
    path=paths,
    query=st.binary(max_size=20),
    headers=st.tuples(heads, st.booleans()).map(
        lambda drawn: [*drawn[0], *[(b"tus-resumable", b"1.0.0")] * drawn[1]]
    ),
    body=bodies,
)


@settings(max_examples=400)
@given(request=requests)
def test_no_request_is_a_500(inside: Inside, request: Request) -> None:
    """Whatever method, path, query, headers and body; with and without the version of tus."""
    assert asyncio.run(inside.answer(request)) not in FAULTS


@pytest.mark.parametrize("name", NAMES)
def test_no_value_of_any_header_is_a_500(inside: Inside, name: str) -> None:
    """Each header we read, in an otherwise right request of each kind."""
    right = {
        "POST": {"upload-length": b"4"},
        "PATCH": {"upload-offset": b"0", "content-type": OCTETS.encode()},
        "HEAD": {},
        "OPTIONS": {},
    }

    async def statuses() -> list[int]:
        found = []
        for (method, needed), value in product(right.items(), [*SENSIBLE, *ODD]):
            said = {"tus-resumable": b"1.0.0", "host": b"x", **needed, name: value}
            raw = [(key.encode(), text) for key, text in said.items()]
            path = "/files" if method == "POST" else "/files/{}"
            request = Request(method=method, path=path, headers=raw)
            found.append(await inside.answer(request))
        return found

    assert FAULTS.isdisjoint(asyncio.run(statuses()))


# --- over sockets -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def connections(shared_front: Front) -> Iterator[Front]:
    """The server; after all it has answered to, its process is still the same one."""
    pid = shared_front.pid
    yield shared_front
    with shared_front.client() as web:
        assert offset_of(web, begun(web, 4)) == 0
    assert shared_front.pid == pid
    assert shared_front.is_running


def status_of(front: Front, data: bytes) -> int:
    """The status of the answer to these bytes; 0 if the connection is closed without one."""
    with front.connection() as client, suppress(ConnectionResetError, BrokenPipeError):
        client.sendall(data)
        client.shutdown(1)
        return answer_of(client)[0]
    return 0


@settings(max_examples=150)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_answered_or_refused(connections: Front, data: bytes) -> None:
    """As a request they are none."""
    assert status_of(connections, data) in {0, 400}


@settings(max_examples=200)
@given(
    request=st.builds(
        Request,
        method=st.sampled_from(["HEAD", "POST", "PATCH", "DELETE", "OPTIONS", "GET"]),
        path=st.sampled_from(["/files", "/files/1-0", "/files/%ff%00", "/files/%2e%2e/x", "*"]),
        query=st.binary(max_size=8).map(lambda data: bytes({*data} - {0, 10, 13, 32})),
        headers=sockets_heads(),
        body=bodies,
    )
)
def test_no_request_over_a_socket_is_a_500(connections: Front, request: Request) -> None:
    """Through a real server, which has its own idea of headers."""
    lines = [name + b": " + value for name, value in request.headers]
    lines += [b"Host: x", b"Tus-Resumable: 1.0.0"]
    target = request.path.encode() + b"?" * bool(request.query) + request.query
    first = request.method.encode() + b" " + target + b" HTTP/1.1"
    data = b"\r\n".join([first, *lines, b"", request.body])
    assert status_of(connections, data) not in FAULTS


def test_damaged_requests_are_answered_or_refused(
    connections: Front, shared_web: httpx.Client
) -> None:
    """A right request, with bytes of it changed, doubled or left out."""
    chance = random.Random(7)
    url = begun(shared_web, 1000)
    headers = {**TUS, "Content-Type": OCTETS, "Upload-Offset": "0", "Transfer-Encoding": "chunked"}
    right = head_of("PATCH", url, **headers) + b"4\r\nabcd\r\n0\r\n\r\n"
    for _ in range(300):
        data = bytearray(right)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data))
            match chance.randrange(3):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    del data[at : at + chance.randrange(9)]
                case _:
                    data[at:at] = data[at : at + chance.randrange(9)]
        assert status_of(connections, bytes(data)) not in FAULTS
