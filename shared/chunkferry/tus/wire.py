"""``UploadHttp``: uvicorn's HTTP/1.1, made fit for uploads. Knows no header.

uvicorn itself waits for ever for the end of a request's head, and keeps all of it; it drops what
came of a body before its connection broke; and it takes what follows a body for headers.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from chunkferry.tus.http1 import Http1

#: Bytes that may follow one another without being part of a body: headers and their address, what
#: follows a body, the framing of its chunks. Applications have smaller limits of their own.
MOST: Final = 256 * 1024
#: How long a connection may take to come up with a whole head, in seconds: as long as one that is
#: idle between two requests may stay.
PATIENCE: Final = 75.0
#: Where a request's scope has the fields that follow its body, once that has ended.
TRAILERS: Final = "chunkferry.trailers"

_REFUSAL: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class UploadHttp(Http1):
    """One connection."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._beside = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and refuse what is no body and does not end."""
        self._beside += len(data)
        super().data_received(data)
        if self._beside > MOST and not self.transport.is_closing():
            self.transport.write(_REFUSAL)
            self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        """Its head is there."""
        self._beside = 0
        self._head_is_there()
        # Else a proxy's headers could be told behind its back (RFC 9110, section 6.5.1).
        self.headers = self.scope[TRAILERS] = []  # type: ignore[typeddict-unknown-key]  # ours
        super().on_headers_complete()
        self._keep_what_came(self.cycle)

    def on_body(self, body: bytes) -> None:
        """Bytes of its body are there."""
        self._beside = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._beside = 0
        super().on_message_complete()

    @staticmethod
    def _keep_what_came(cycle: RequestResponseCycle) -> None:
        """Have the application get what had arrived before it hears that the client is gone."""
        receive = cycle.receive

        async def keeping() -> Any:  # uvicorn keeps the type to itself
            message = await receive()
            is_lost = message["type"] == "http.disconnect" and not cycle.response_complete
            if not (is_lost and cycle.body):
                return message
            body, cycle.body = bytes(cycle.body), bytearray()
            return {"type": "http.request", "body": body, "more_body": cycle.more_body}

        cycle.receive = keeping  # type: ignore[method-assign]  # uvicorn makes the cycle itself

    def _expect_head(self) -> None:
        self._head_is_there()
        self._deadline = self.loop.call_later(PATIENCE, self.timeout_keep_alive_handler)

    def _head_is_there(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
