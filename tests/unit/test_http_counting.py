"""The door's middleware: what it counts of each request, whatever becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chunkferry import ChunkManager
from chunkferry.errors import RedisFull
from chunkferry.families import HTTP_SECONDS, distributions
from chunkferry.tally import Tally
from chunkferry.testing import MemoryLedger, RecordingWaker
from chunkferry.testing.totals import MemoryTotals
from chunkferry.tus.counting import Counting, say
from chunkferry.tus.door import Door
from chunkferry.tus.health import Health
from chunkferry.tus.hooks import Hooks


def answering(status: int, error: Exception | None = None) -> ASGIApp:
    """An application that reads the body and answers so."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        if error is not None:
            # Middleware may hand on a copy.
            say({**scope}, error)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


def counted(app: ASGIApp, method: str = "GET", *body: bytes) -> dict[str, int]:
    """What one request adds; of the times, only how many answers have one."""
    totals = MemoryTotals()
    tally = Tally(totals)
    pieces = list(body) or [b""]
    messages: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ]

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        del message

    async def serve() -> None:
        scope = {"type": "http", "method": method, "path": "/secret", "headers": []}
        # The server answers what an application raises.
        with contextlib.suppress(ZeroDivisionError):
            await Counting(app, tally)(scope, receive, send)

    asyncio.run(serve())
    tally.flush()
    found = totals.read()
    answers = sum(found_.buckets[math.inf] for _, found_ in distributions(HTTP_SECONDS, found))
    counts = {name: count for name, count in found.items() if "seconds" not in name}
    return {**counts, "answers": answers}


def test_a_request_and_its_bytes() -> None:
    """By method and kind of status; nothing of its path."""
    assert counted(answering(204), "PATCH", b"abc", b"defg") == {
        "http_requests|PATCH|2xx": 1,
        "http_bytes_received": 7,
        "answers": 1,
    }


def test_an_unknown_method_makes_no_metric() -> None:
    """Anybody can invent some."""
    assert counted(answering(405), "BREW") == {"http_requests|other|4xx": 1, "answers": 1}


def test_an_unavailable_answer_is_counted_by_its_reason() -> None:
    """Also one that nobody gave a reason for."""
    assert counted(answering(503, RedisFull()), "POST") == {
        "http_requests|POST|5xx": 1,
        "http_unavailable|redis_full": 1,
        "answers": 1,
    }
    assert counted(answering(503))["http_unavailable|other"] == 1


def test_a_client_that_went_away_was_not_answered() -> None:
    """Its bytes count all the same."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    assert counted(app, "PATCH", b"abc") == {
        "http_requests|PATCH|none": 1,
        "http_bytes_received": 3,
        "answers": 0,
    }


def test_a_crash_is_counted_and_goes_on() -> None:
    """The server answers it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    assert counted(app) == {"http_requests|GET|5xx": 1, "answers": 1}


def get(app: ASGIApp, path: str) -> httpx.Response:
    """The answer to one request."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            return await client.get(path)

    return asyncio.run(ask())


@pytest.fixture
def manager() -> ChunkManager:
    """A producer over twins in memory."""
    return ChunkManager(ledger=MemoryLedger(), waker=RecordingWaker())


@pytest.fixture
def app(manager: ChunkManager) -> Starlette:
    """The operators' endpoints."""
    return Starlette(routes=Health(Door(manager, Hooks())).routes)


def test_a_missing_extra_is_named(app: Starlette, monkeypatch: pytest.MonkeyPatch) -> None:
    """501 and what to install, instead of a 500."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "chunkferry.metrics", raising=False)
    answer = get(app, "/metrics")
    assert answer.status_code == 501
    assert "pip install 'chunkferry[metrics]'" in answer.text


def test_what_was_counted_just_now_is_shown(app: Starlette, manager: ChunkManager) -> None:
    """By the process that counted it, at once."""
    manager.create("a", 5)
    assert 'chunkferry_uploads_created_total{service="default"} 1.0' in get(app, "/metrics").text
