"""The body of one request, as it arrives: read ahead in bounded memory, handed out in lumps.

Knows no protocol and no upload. Runs on asyncio; holds no thread while a client is slow.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from starlette.types import Receive

from chunkferry.errors import ChunkferryError

#: Bytes that are worth a transaction of their own …
_LEAST: Final = 1 << 20
#: … and how long to wait for so many, in seconds: what a slow client sent is soon safe.
_LINGER: Final = 0.2
#: Bytes read ahead. With those being handed over, this much twice is a request's memory.
AHEAD: Final = 4 << 20
#: Fewer bytes within the patience are as bad as none.
TRICKLE: Final = 1024


class Disconnected(ChunkferryError):
    """The client went away before its body ended; nobody is there to be answered."""

    code = "disconnected"
    http_status = 400


class SlowBody(ChunkferryError):
    """The client sent next to nothing for too long.

    503 and not 408, because common clients give up on a 408 and go on after a 503.
    """

    code = "slow_body"
    http_status = 503
    retryable = True

    def __init__(self, seconds: float) -> None:
        super().__init__(f"expected {TRICKLE} bytes of the body or its end within {seconds:g} s")
        #: The rest of the body is not waited for either (tus, section PATCH).
        self.headers = {"Connection": "close"}


class TooLarge(ChunkferryError):
    """More bytes than are allowed."""

    code = "too_large"
    http_status = 413

    def __init__(self, what: str, most: int) -> None:
        super().__init__(f"{what} may have up to {most} bytes")
        self.most = most


class Body:
    """One request's body. Iterate over it once, inside ``async with body.arriving()``."""

    def __init__(
        self,
        receive: Receive,
        *,
        patience: float,
        most: int | None = None,
        excess: ChunkferryError | None = None,
    ) -> None:
        """Read from ``receive``.

        Args:
            receive: of the ASGI application.
            patience: seconds within which the client has to send something.
            most: bytes it may have; None for any number.
            excess: what to raise if it has more; default: ``TooLarge``.
        """
        self._receive = receive
        self._patience = patience
        self._most = most
        self._excess = excess or TooLarge("the body", most or 0)
        self._pieces: list[bytes] = []
        self._size = 0
        self._total = 0
        self._ended = False
        self._failure: ChunkferryError | None = None
        self._news = asyncio.Event()

    @asynccontextmanager
    async def arriving(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """Lumps of the body, while it is being read ahead.

        Iterating raises ``Disconnected``, ``SlowBody`` or the error of an excess after the last
        byte that came before.
        """
        reading = asyncio.create_task(self._read())
        try:
            yield self._lumps()
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading

    async def _lumps(self) -> AsyncIterator[bytes]:
        while lump := await self._lump():
            yield lump
        if self._failure is not None:
            raise self._failure

    async def _lump(self) -> bytes:
        """What has arrived; empty at the end."""
        await self._until(lambda: bool(self._size) or self._ended)
        if self._size < _LEAST:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LINGER):
                    await self._until(lambda: self._size >= _LEAST or self._ended)
        lump = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self._size = [], 0
        self._news.set()
        return lump

    async def _read(self) -> None:
        try:
            await self._read_all()
        except ChunkferryError as exc:
            self._failure = exc
        finally:
            self._ended = True
            self._news.set()

    async def _read_all(self) -> None:
        more, deadline, since = True, time.monotonic() + self._patience, 0
        while more:
            piece, more = await self._next(deadline)
            since += len(piece)
            if since >= TRICKLE:
                since, deadline = 0, time.monotonic() + self._patience
            self._total += len(piece)
            if self._most is not None and self._total > self._most:
                raise self._excess
            if not piece:
                continue
            self._pieces.append(piece)
            self._size += len(piece)
            self._news.set()
            if self._size >= AHEAD:
                await self._until(lambda: self._size < AHEAD)
                # That was our slowness, not the client's.
                deadline = time.monotonic() + self._patience

    async def _next(self, deadline: float) -> tuple[bytes, bool]:
        """The next piece, and whether there are more."""
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            raise SlowBody(self._patience) from None
        if message["type"] == "http.disconnect":
            raise Disconnected("the client went away in the middle of the body")
        return message.get("body", b""), message.get("more_body", False)

    async def _until(self, predicate: Callable[[], bool]) -> None:
        while not predicate():
            self._news.clear()
            await self._news.wait()
