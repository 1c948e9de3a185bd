"""``Http1``: uvicorn's HTTP/1.1, which also sends interim answers. Needs the extra ``serve``.

Knows how they are written, and when it is too late for one; not what they tell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from chunkferry.tus.interim import EXTENSION

#: Reason phrases that Python does not know.
_PHRASES: Final = {104: "Upload Resumption Supported"}
#: What would end a line, or the message.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Http1(HttpToolsProtocol):
    """One connection. Used as ``uvicorn.Config(app, http=Http1)``."""

    def on_headers_complete(self) -> None:
        """Offer the extension to the request that begins; it is served in a moment, not now."""
        super().on_headers_complete()
        cycle = self.cycle
        # There is no request after an upgrade; and clients of HTTP/1.0 know no interim answers.
        if getattr(cycle, "scope", None) is not self.scope or self.scope["http_version"] != "1.1":
            return
        scope = cast("dict[str, Any]", self.scope)
        scope.setdefault("extensions", {})[EXTENSION] = _Sender(cycle)


class _Sender:
    """Sends interim answers to one request."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    async def __call__(self, status: int, headers: Mapping[str, str]) -> None:
        """See ``interim.SendInterim``."""
        cycle = self._cycle
        if cycle.response_started or cycle.disconnected or cycle.transport.is_closing():
            return
        if cycle.flow.write_paused:  # by a client that reads nothing: it would be told late
            return
        phrase = _PHRASES[status] if status in _PHRASES else HTTPStatus(status).phrase
        lines = [f"HTTP/1.1 {status} {phrase}", *map(_line, headers.items()), "", ""]
        cycle.transport.write("\r\n".join(lines).encode("latin-1"))


def _line(field: tuple[str, str]) -> str:
    line = ": ".join(field)
    if _CONTROL.search(line):
        raise ValueError(f"the header field {field[0]!r} has control characters")
    return line
