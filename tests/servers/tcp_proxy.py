"""A proxy for any protocol over TCP that breaks connections on request.

Passes on every byte until it is told not to, and knows nothing of what the bytes say.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

#: Bytes moved at once; also what a reader holds before it stops reading.
PIECE = 256 * 1024


class Closed(Exception):
    """One side of a connection has gone."""


class Link:
    """One client's connection, and ours to the server behind."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.behind: asyncio.StreamWriter | None = None
        #: True once bytes of it were swallowed.
        self.lost = False

    def reset(self) -> None:
        """Have both sides see ECONNRESET."""
        for writer in filter(None, (self.writer, self.behind)):
            found = writer.get_extra_info("socket")
            if found is not None and found.fileno() >= 0:
                linger = struct.pack("ii", 1, 0)
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    @contextlib.asynccontextmanager
    async def server(self, port: int) -> AsyncIterator[asyncio.StreamReader]:
        """A new connection to the server behind."""
        reader, self.behind = await asyncio.open_connection("127.0.0.1", port, limit=PIECE)
        try:
            yield reader
        finally:
            self.behind.close()
            self.behind = None


class TcpProxy:
    """Passes bytes on, or does not."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.counts = Counter[str]()
        self._links = set[Link]()
        self._hole_until = self._slow_until = self._rate = 0.0
        self._left: float | None = None

    async def serve(self) -> int:
        """Begin to listen; return where."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=PIECE)
        self._server = server
        return int(server.sockets[0].getsockname()[1])

    def order(self, order: str, details: dict[str, Any]) -> object:
        """Do what ``ProxyProcess`` was asked for."""
        orders: dict[str, Callable[..., object]] = {
            "reset": self._reset,
            "reset_after": self._reset_after,
            "black_hole": self._black_hole,
            "slow": self._slow,
            "calm": self._calm,
            "counts": lambda: self.counts,
        }
        return orders[order](**details)

    def _reset(self) -> int:
        count = len(self._links)
        for link in list(self._links):
            link.reset()
        self.counts["reset"] += count
        return count

    def _reset_after(self, size: int) -> None:
        self._left = size

    def _black_hole(self, seconds: float) -> None:
        self._hole_until = now() + seconds
        asyncio.get_running_loop().call_later(seconds, self._reset_lost)

    def _reset_lost(self) -> None:
        if now() < self._hole_until - 0.05:
            return
        for link in [link for link in self._links if link.lost]:
            link.reset()

    def _slow(self, seconds: float, rate: float) -> None:
        self._slow_until, self._rate = now() + seconds, rate

    def _calm(self) -> None:
        self._hole_until = self._slow_until = 0
        self._left = None
        self._reset_lost()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(reader, writer)
        self._links.add(link)
        try:
            await self.join(link)
        except (OSError, Closed, asyncio.IncompleteReadError):
            link.reset()
        finally:
            self._links.discard(link)
            writer.close()

    async def join(self, link: Link) -> None:
        """Carry one connection until either side ends it."""
        async with link.server(self.port) as behind:
            assert link.behind is not None
            pumps = [
                asyncio.create_task(self._pump(link, link.reader, link.behind)),
                asyncio.create_task(self._pump(link, behind, link.writer)),
            ]
            await until_one_ends(pumps)

    async def _pump(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(PIECE):
            await self.weather(link, len(data))
            if link.lost:
                continue
            writer.write(data)
            await writer.drain()

    async def weather(self, link: Link, size: int) -> None:
        """What happens to ``size`` bytes on their way."""
        if now() < self._hole_until and not link.lost:
            self.counts["black-holed"] += 1
            link.lost = True
        if now() < self._slow_until:
            self.counts["slowed"] += 1
            await asyncio.sleep(min(size / self._rate, self._slow_until - now()))
        if self._left is not None:
            self._left -= size
            if self._left <= 0:
                self._left = None
                self.counts["reset"] += 1
                raise Closed


def now() -> float:
    """The event loop's clock, in seconds."""
    return asyncio.get_running_loop().time()


async def until_one_ends(tasks: list[asyncio.Task[None]]) -> None:
    """Wait for the first, end the others, and raise what it raised."""
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    # Both may have failed: asyncio complains about errors that nobody asked for.
    errors = [task.exception() for task in done]
    for error in filter(None, errors):
        raise error
