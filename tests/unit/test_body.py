"""The body of a request as it arrives: what is handed out, and what ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import Message

from chunkferry.tus import body
from chunkferry.tus.body import AHEAD, Body, Disconnected, SlowBody, TooLarge

Receive = Callable[[], Awaitable[Message]]


def piece(data: bytes, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


GONE: Message = {"type": "http.disconnect"}


class Client:
    """Sends what it is told to, then nothing more."""

    def __init__(self, *messages: Message) -> None:
        self._messages = list(messages)
        self.asked = 0

    async def receive(self) -> Message:
        self.asked += 1
        await asyncio.sleep(0)
        if self._messages:
            return self._messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")


async def collected(client: Client, **options: Any) -> tuple[list[bytes], Exception | None]:
    """What is handed out, and what it ends with."""
    lumps: list[bytes] = []
    try:
        async with Body(client.receive, **{"patience": 30.0, **options}).arriving() as arriving:
            async for lump in arriving:
                lumps.append(lump)
    except Exception as exc:
        return lumps, exc
    return lumps, None


def test_all_bytes_are_handed_out_in_order() -> None:
    """However they were cut up on their way."""
    client = Client(piece(b"ab"), piece(b""), piece(b"c"), piece(b"def", more=False))
    lumps, error = asyncio.run(collected(client))
    assert (b"".join(lumps), error) == (b"abcdef", None)


def test_an_empty_body_has_no_lumps() -> None:
    """A PATCH without bytes only asks for the offset."""
    assert asyncio.run(collected(Client(piece(b"", more=False)))) == ([], None)


def test_what_came_before_a_break_is_handed_out() -> None:
    """Then the break is told."""
    lumps, error = asyncio.run(collected(Client(piece(b"ab"), GONE)))
    assert (b"".join(lumps), type(error)) == (b"ab", Disconnected)


def test_silence_ends_the_body() -> None:
    """What came before it is handed out."""
    lumps, error = asyncio.run(collected(Client(piece(b"ab")), patience=0.05))
    assert (b"".join(lumps), type(error)) == (b"ab", SlowBody)


def test_a_trickle_is_as_bad_as_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then holds no connection for ever."""
    now = iter(range(10_000))
    monkeypatch.setattr("chunkferry.tus.body.time.monotonic", lambda: float(next(now)))
    client = Client(*[piece(b"x")] * 500)
    lumps, error = asyncio.run(collected(client, patience=100.0))
    assert type(error) is SlowBody
    assert 0 < len(b"".join(lumps)) < 500


def test_more_than_is_allowed_ends_the_body() -> None:
    """The piece that goes too far is left out."""
    client = Client(piece(b"ab"), piece(b"cd"), piece(b"ef", more=False))
    lumps, error = asyncio.run(collected(client, most=4))
    assert (b"".join(lumps), type(error)) == (b"abcd", TooLarge)


def test_no_more_is_read_ahead_than_fits() -> None:
    """Else a fast client would fill the memory while Redis is slow."""
    client = Client(*[piece(bytes(1 << 20))] * 100)

    async def read() -> int:
        async with Body(client.receive, patience=30).arriving() as arriving:
            handed_out = len(await anext(arriving))
            for _ in range(1000):
                await asyncio.sleep(0)
            return (client.asked << 20) - handed_out

    assert asyncio.run(read()) == AHEAD


def test_a_slow_client_is_soon_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few bytes do not wait for more than a moment: they are to be safe."""
    monkeypatch.setattr(body, "_LINGER", 0.01)

    async def first() -> bytes:
        async with Body(Client(piece(b"ab")).receive, patience=30).arriving() as arriving:
            return await anext(arriving)

    assert asyncio.run(first()) == b"ab"
