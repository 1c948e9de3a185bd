"""A proxy for S3's HTTP that breaks single requests: before their effect, amid it, and after it.

Knows requests and answers, and of S3 no more than what its operations are called.
"""

from __future__ import annotations

import asyncio
from typing import Any, Self

from tests.servers.faulty_s3 import operation_of
from tests.servers.tcp_proxy import PIECE, Closed, Link, TcpProxy


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
