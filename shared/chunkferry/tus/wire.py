"""``UploadHttp``: uvicorn's HTTP/1.1, made fit for uploads. Knows no header.

uvicorn itself waits for ever for the end of a request's head, and keeps all of it; it drops what
came of a body before its connection broke; it takes what follows a body for headers; and it cuts
clients off that are told in the middle of a body that it will close.
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
#: How long a client that was told of the connection's end may still send, in seconds.
LINGER: Final = 30.0
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
        self._is_last = False

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
        self._expect_more()

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
        self._hear_out(self.cycle)

    def on_body(self, body: bytes) -> None:
        """Bytes of its body are there."""
        self._beside = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._beside = 0
        super().on_message_complete()
        if self._is_last:
            self.transport.close()

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

    def _hear_out(self, cycle: RequestResponseCycle) -> None:
        """Let the client finish its body after an answer that came before its end.

        A connection that is closed while bytes arrive is reset, and the answer lost with it
        (RFC 9112, section 9.6).
        """
        send = cycle.send

        async def hearing_out(message: Any) -> None:
            if cycle.waiting_for_100_continue:
                # Whether the body comes now is the client's choice: nothing can follow it.
                cycle.keep_alive = False
            is_end = message["type"] == "http.response.body" and not message.get("more_body")
            self._is_last = is_end and cycle.more_body and not cycle.keep_alive
            if self._is_last:
                cycle.keep_alive = True  # else uvicorn would close; the client was told
            await send(message)
            if self._is_last and not self.transport.is_closing():
                self._head_is_there()
                self._deadline = self.loop.call_later(LINGER, self.timeout_keep_alive_handler)
                if self.transport.can_write_eof():
                    self.transport.write_eof()

        cycle.send = hearing_out  # type: ignore[method-assign]  # as above

    def _expect_more(self) -> None:
        """Do not wait for ever for the rest of a body that was answered, or for what follows."""
        # Before the first request there is none that could be answered.
        is_answered = getattr(self.cycle, "response_complete", False)
        is_waiting = self.timeout_keep_alive_task is not None or self._deadline is not None
        if is_answered and not is_waiting and not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _expect_head(self) -> None:
        self._head_is_there()
        self._deadline = self.loop.call_later(PATIENCE, self.timeout_keep_alive_handler)

    def _head_is_there(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
