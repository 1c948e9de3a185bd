"""Proxies that break connections on request, in one process of their own.

``ProxyProcess`` starts it and tells it what to break, by lines of JSON; as a script this is that
process. How connections are broken is the business of ``tcp_proxy`` and ``http_proxy``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from tests.servers.http_proxy import HttpProxy, Rule
from tests.servers.tcp_proxy import TcpProxy

from chunkferry_worker import tether


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

    def aim(self, name: str, rule: Rule) -> None:
        """Have an HTTP proxy break requests."""
        self._ask(name, "break", **asdict(rule))

    def break_requests(
        self, name: str, how: str, count: int, *, operation: str = "", amount: float = 0
    ) -> None:
        """Break the next ``count`` requests to an HTTP proxy; see ``Rule`` for the rest."""
        self.aim(name, Rule(how=how, count=count, operation=operation, amount=amount))

    def seen(self, name: str) -> list[tuple[str, str]]:
        """The requests since this was asked last: each one's operation, and how it was broken."""
        return [(operation, how) for operation, how in self._ask(name, "seen")]

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
            answer = await proxies[name].serve()
        else:
            answer = proxies[name].order(order, details)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(answer_orders())
