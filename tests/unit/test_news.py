"""The stream of the list's news, with its times made short."""

from __future__ import annotations

import anyio
import httpx
import pytest
from starlette.applications import Starlette

from chunkferry import ChunkManager
from chunkferry.config import load
from chunkferry.testing import MemoryLedger, RecordingWaker
from chunkferry.tus import admin
from chunkferry.tus.door import Door
from chunkferry.tus.hooks import Hooks


def news(manager: ChunkManager, rounds: int) -> list[str]:
    """All that a reader gets before the server leaves."""
    door = Door(manager, Hooks())
    door.is_leaving = iter([*[False] * rounds, True]).__next__
    app = Starlette(routes=[*admin.routes(door)])

    async def read() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            return (await client.get("http://page/api/uploads/events")).text

    return anyio.run(read).split("\n\n")


@pytest.fixture
def manager() -> ChunkManager:
    settings = load()
    return ChunkManager(settings=settings, ledger=MemoryLedger(settings), waker=RecordingWaker())


def test_a_stream_without_news_gives_signs_of_life(
    manager: ChunkManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comments, which readers of events skip, so that no proxy takes it for dead."""
    monkeypatch.setattr(admin, "_TICK", 0.001)
    monkeypatch.setattr(admin, "_HEARTBEAT", 0.0)
    manager.create("a", 10)
    first, *others = news(manager, rounds=3)
    assert first.startswith("event: uploads\ndata: {")
    assert others == [": nothing new", ": nothing new", ": nothing new", ""]


def test_a_stream_ends_of_itself(manager: ChunkManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reader comes again, and has to say anew who it is."""
    monkeypatch.setattr(admin, "_LIFE", 0.0)
    first, *others = news(manager, rounds=99)
    assert first.startswith("event: uploads\n")
    assert others == [""]


def test_an_event_is_one_line_whatever_is_in_it() -> None:
    """A name with line breaks cannot make up an event of its own."""
    told = admin.event("changes", {"filename": "a\n\nevent: uploads\rdata: {}\u2028"})
    assert told.splitlines()[0] == "event: changes"
    assert len(told.splitlines()) == 3
    assert told.endswith("\n\n")
