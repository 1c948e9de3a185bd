"""Proxies that break connections on request: for any protocol over TCP, and for S3's HTTP.

All of them live in one process of their own (``ProxyProcess``), which is told what to break by
lines of JSON. They know nothing of uploads, and pass on every byte until they are told not to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from tests.servers.faulty_s3 import operation_of

from chunkferry_worker import tether

#: Bytes moved at once; also what a reader holds before it stops reading.
PIECE = 256 * 1024


class ProxyProcess:
    """The process of all proxies; a context manager. It dies with the one that started it."""

    def __enter__(self) -> Self:
        self._process = tether.spawn(
            [sys.executable, "-m", "tests.servers.proxy"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def listen(self, name: str, port: int, *, http: bool = False) -> int:
        """Open a proxy called ``name`` to ``port``; return where it listens itself."""
        return int(self._ask(name, "listen", port=port, http=http))

    def reset(self, name: str) -> int:
        """Reset all open connections; return how many there were."""
        return int(self._ask(name, "reset"))

    def reset_after(self, name: str, size: int) -> None:
        """Reset the connection that carries the ``size``-th byte from now on."""
        self._ask(name, "reset_after", size=size)

    def black_hole(self, name: str, seconds: float) -> None:
        """Swallow all bytes without an answer; then reset the connections that lost some."""
        self._ask(name, "black_hole", seconds=seconds)

    def slow(self, name: str, seconds: float, rate: float) -> None:
        """Pass on ``rate`` bytes a second, per connection and direction, for some seconds."""
        self._ask(name, "slow", seconds=seconds, rate=rate)

    def break_requests(
        self, name: str, how: str, count: int, *, operation: str = "", amount: float = 0
    ) -> None:
        """Break the next ``count`` requests to an HTTP proxy.

        Args:
            name: the proxy.
            how: ``500`` or ``503`` (answered so), ``stall`` (``amount`` seconds, then reset),
                ``reset`` (after ``amount`` bytes of the body), ``lose`` (the answer).
            count: so many requests.
            operation: only those of this kind, such as ``PUT partNumber``; any if empty.
            amount: see ``how``.
        """
        self._ask(name, "break", how=how, count=count, operation=operation, amount=amount)

    def calm(self, name: str) -> None:
        """Stop all faults that were ordered."""
        self._ask(name, "calm")

    def counts(self, name: str) -> dict[str, int]:
        """How many connections and requests were broken, by the way they were."""
        return dict(self._ask(name, "counts"))

    def _ask(self, name: str, order: str, **details: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = json.dumps({"name": name, "order": order, **details}) + "\n"
        self._process.stdin.write(line.encode())
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


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


class HttpProxy(TcpProxy):
    """Passes requests on one by one, or does not."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._orders: list[dict[str, Any]] = []

    def order(self, order: str, details: dict[str, Any]) -> object:
        """See ``TcpProxy.order``."""
        if order == "break":
            self._orders.append(details)
            return None
        if order == "calm":
            self._orders.clear()
        return super().order(order, details)

    async def join(self, link: Link) -> None:
        """Carry requests until either side ends the connection."""
        while True:
            try:
                request = await Message.read(link.reader)
            except asyncio.IncompleteReadError:
                return
            method, target, _ = request.start.split(" ", 2)
            if request.take("expect"):
                link.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            order = self._next_order(operation_of(method, target))
            if order is None:
                await self._pass_on(link, request, method)
            else:
                self.counts[order["how"]] += 1
                await self._break(link, request, method, order)

    def _next_order(self, operation: str) -> dict[str, Any] | None:
        for order in self._orders:
            if order["operation"] in {"", operation}:
                order["count"] -= 1
                if not order["count"]:
                    self._orders.remove(order)
                return order
        return None

    async def _pass_on(
        self, link: Link, request: Message, method: str, *, lose: bool = False
    ) -> None:
        async with link.server(self.port) as behind:
            assert link.behind is not None
            link.behind.write(request.head)
            await self._copy(link, link.reader, link.behind, request.length)
            answer = await Message.read(behind)
            while answer.start.split()[1].startswith("1"):
                answer = await Message.read(behind)
            empty = method == "HEAD" or answer.start.split()[1] in {"204", "304"}
            to = None if lose else link.writer
            if to is not None:
                to.write(answer.head)
            if not empty and "chunked" in answer.headers.get("transfer-encoding", ""):
                await self._copy_chunks(link, behind, to)
            elif not empty:
                await self._copy(link, behind, to, answer.length)
            if lose:
                raise Closed

    async def _break(
        self, link: Link, request: Message, method: str, order: dict[str, Any]
    ) -> None:
        match order["how"]:
            case "lose":
                await self._pass_on(link, request, method, lose=True)
            case "stall":
                await self._copy(link, link.reader, None, request.length)
                await asyncio.sleep(order["amount"])
                raise Closed
            case "reset":
                async with link.server(self.port):
                    assert link.behind is not None
                    link.behind.write(request.head)
                    size = min(int(order["amount"]), max(0, request.length - 1))
                    await self._copy(link, link.reader, link.behind, size)
                    raise Closed
            case status:
                await self._copy(link, link.reader, None, request.length)
                link.writer.write(refusal(int(status), body=method != "HEAD"))
                await link.writer.drain()

    async def _copy(
        self,
        link: Link,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter | None,
        length: int,
    ) -> None:
        """Move ``length`` bytes, to nowhere if there is no writer."""
        while length:
            data = await reader.read(min(PIECE, length))
            if not data:
                raise Closed
            length -= len(data)
            await self.weather(link, len(data))
            if writer is not None and not link.lost:
                writer.write(data)
                await writer.drain()

    async def _copy_chunks(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None
    ) -> None:
        while True:
            line = await reader.readuntil(b"\r\n")
            if writer is not None:
                writer.write(line)
            size = int(line.split(b";")[0], 16)
            await self._copy(link, reader, writer, size + 2)
            if not size:
                return


class Message:
    """The head of one request or answer."""

    def __init__(self, start: str, headers: dict[str, str]) -> None:
        self.start = start
        self.headers = headers

    @classmethod
    async def read(cls, reader: asyncio.StreamReader) -> Self:
        """The next one; ``IncompleteReadError`` if there is none."""
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        start, *lines = text[:-4].split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return cls(start, {name.lower(): value.strip() for name, _, value in pairs})

    def take(self, name: str) -> str:
        """A header, which is then gone."""
        return self.headers.pop(name, "")

    @property
    def length(self) -> int:
        """Bytes of its body, unless that comes in chunks."""
        return int(self.headers.get("content-length", "0"))

    @property
    def head(self) -> bytes:
        """What it is on the wire."""
        lines = [self.start, *(f"{name}: {value}" for name, value in self.headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def refusal(status: int, *, body: bool) -> bytes:
    """An S3 server's answer when it is overloaded or broken."""
    code = {500: "InternalError", 503: "SlowDown"}[status]
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>" if body else ""
    retry = "retry-after: 1\r\n" if status == 503 else ""
    head = f"HTTP/1.1 {status} {code}\r\n{retry}content-length: {len(text)}\r\n\r\n"
    return (head + text).encode()


def now() -> float:
    """The event loop's clock, in seconds."""
    return asyncio.get_running_loop().time()


async def until_one_ends(tasks: list[asyncio.Task[None]]) -> None:
    """Wait for the first, end the others, and raise what it raised."""
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for task in done:
        task.result()


async def answer_orders() -> None:
    """Serve until stdin ends."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    proxies: dict[str, TcpProxy] = {}
    while line := await reader.readline():
        details = json.loads(line)
        name, order = details.pop("name"), details.pop("order")
        answer: object
        if order == "listen":
            kind = HttpProxy if details["http"] else TcpProxy
            proxies[name] = kind(details["port"])
            serving: Awaitable[int] = proxies[name].serve()
            answer = await serving
        else:
            answer = proxies[name].order(order, details)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(answer_orders())
