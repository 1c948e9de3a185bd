"""``ObjectResponse`` closes the store's stream, whatever way it ends."""

from __future__ import annotations

from collections.abc import Generator, MutableMapping
from typing import Any

import anyio
import pytest

from chunkferry.config import load
from chunkferry.manager import ChunkManager
from chunkferry.testing import MemoryLedger, RecordingWaker
from chunkferry.tus.door import Door
from chunkferry.tus.hooks import Hooks
from chunkferry.tus.sending import ObjectResponse, begun

#: Servers that raise where a client is gone, and those that tell by ``receive``.
SERVERS = ["2.4", "2.3"]


class Store:
    """Two pieces of an object, and whether they are being read."""

    def __init__(self) -> None:
        self.is_open = False

    def pieces(self) -> Generator[bytes, None, None]:
        """The pieces."""
        self.is_open = True
        try:
            yield b"first"
            yield b"second"
        finally:
            self.is_open = False


async def for_ever(*_: object) -> Any:
    """A client that neither reads nor leaves."""
    await anyio.sleep_forever()


async def sent(version: str, store: Store, *, cancel_after: float) -> None:
    """Send an object until it is sent, or until the server gives up."""
    settings = load()
    manager = ChunkManager(settings=settings, ledger=MemoryLedger(settings), waker=RecordingWaker())
    door, pieces = Door(manager, Hooks()), store.pieces()
    response = ObjectResponse(
        door, await begun(door, "a", pieces), pieces, status_code=200, headers={}
    )
    assert store.is_open
    scope: MutableMapping[str, Any] = {
        "type": "http",
        "method": "GET",
        "asgi": {"spec_version": version},
    }
    with anyio.move_on_after(cancel_after):
        await response(scope, for_ever, for_ever)


@pytest.mark.parametrize("version", SERVERS)
def test_a_cancelled_request_lets_the_store_go(version: str) -> None:
    """As when a server ends, and its grace is over."""
    store = Store()
    anyio.run(lambda: sent(version, store, cancel_after=0.05))
    assert not store.is_open


def test_a_large_piece_goes_in_slices() -> None:
    """A server keeps what it is given until the client takes it: that is not the whole piece."""
    settings = load()
    manager = ChunkManager(settings=settings, ledger=MemoryLedger(settings), waker=RecordingWaker())
    data, bodies = bytes(range(256)) * 4096 + b"end", list[bytes]()

    def pieces() -> Generator[bytes, None, None]:
        yield data

    async def take(message: MutableMapping[str, Any]) -> None:
        bodies.append(message.get("body", b""))

    async def send() -> None:
        door, found = Door(manager, Hooks()), pieces()
        first = await begun(door, "a", found)
        await ObjectResponse(door, first, found, status_code=200, headers={}).stream_response(take)

    anyio.run(send)
    assert b"".join(bodies) == data
    assert max(map(len, bodies)) <= 256 * 1024
