"""A proxy for HTTP that breaks single requests: before their effect, amid it, and after it.

Knows requests and answers, and of the stores no more than what their operations are called.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any, Final, Self

from tests.servers.operations import operation_of
from tests.servers.tcp_proxy import PIECE, Closed, Link, TcpProxy

#: Requests that are remembered; a chaos run makes very many.
_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Which requests are broken, and how."""

    #: ``500`` or ``503`` (answered so), ``stall`` (``amount`` seconds, then reset), ``reset``
    #: (after ``amount`` bytes of the body; unheard if there is none), ``lose`` (the answer).
    how: str
    #: Only requests of this kind, such as ``PUT partNumber``; any if empty.
    operation: str = ""
    #: The first of them to break; 1 is the next one.
    occurrence: int = 1
    #: So many of them.
    count: int = 1
    #: See ``how``.
    amount: float = 0


class _Aim:
    """A rule, and how far it has come."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._seen = 0

    @property
    def is_spent(self) -> bool:
        """True once it breaks nothing any more."""
        return self._seen >= self.rule.occurrence + self.rule.count - 1

    def hits(self, operation: str) -> bool:
        """True if the next request, of this kind, is to be broken."""
        if self.rule.operation not in {"", operation}:
            return False
        self._seen += 1
        return self._seen >= self.rule.occurrence


class HttpProxy(TcpProxy):
    """Passes requests on one by one, or does not."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._aims: list[_Aim] = []
        self._seen = deque[tuple[str, str]](maxlen=_REMEMBERED)

    def order(self, order: str, details: dict[str, Any]) -> object:
        """See ``TcpProxy.order``."""
        if order == "break":
            self._aims.append(_Aim(Rule(**details)))
            return None
        if order == "seen":
            seen = list(self._seen)
            self._seen.clear()
            return seen
        if order == "calm":
            self._aims.clear()
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
            operation = operation_of(method, target)
            rule = self._next_rule(operation)
            self._seen.append((operation, rule.how if rule else ""))
            if rule is None:
                await self._pass_on(link, request, method)
            else:
                self.counts[rule.how] += 1
                await self._break(link, request, method, rule)

    def _next_rule(self, operation: str) -> Rule | None:
        for aim in self._aims:
            if aim.hits(operation):
                if aim.is_spent:
                    self._aims.remove(aim)
                return aim.rule
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

    async def _break(self, link: Link, request: Message, method: str, rule: Rule) -> None:
        match rule.how:
            case "lose":
                await self._pass_on(link, request, method, lose=True)
            case "stall":
                await self._copy(link, link.reader, None, request.length)
                await asyncio.sleep(rule.amount)
                raise Closed
            case "reset" if not request.length:
                raise Closed
            case "reset":
                async with link.server(self.port):
                    assert link.behind is not None
                    link.behind.write(request.head)
                    size = min(int(rule.amount), request.length - 1)
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
    """A server's answer when it is overloaded or broken, worded as S3's."""
    code = {500: "InternalError", 503: "SlowDown"}[status]
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>" if body else ""
    retry = "retry-after: 1\r\n" if status == 503 else ""
    head = f"HTTP/1.1 {status} {code}\r\n{retry}content-length: {len(text)}\r\n\r\n"
    return (head + text).encode()
