"""``ObjectResponse``: an object on its way from a store to a client, piece by piece.

A thread is held while the store is asked for a piece, and by no client; whatever way it ends, the
store's stream is closed.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from typing import Final

from anyio import CancelScope
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from chunkferry.errors import ChunkferryError, IntegrityError, StoreUnavailable
from chunkferry.tus.door import Door

log = logging.getLogger(__name__)

#: Bytes handed to the server at once. It keeps two of these where the client is slow, and one
#: piece waits behind them: the next is asked for when all of it is taken.
_SLICE: Final = 256 * 1024


class ObjectGone(ChunkferryError):
    """The upload was completed, but its object was removed or replaced since."""

    code = "object_gone"
    http_status = 410

    def __init__(self, filepath: str) -> None:
        super().__init__(f"the object {filepath!r} was removed or replaced since it was complete")


class ObjectResponse(StreamingResponse):
    """The bytes that ``pieces`` yields; one piece of them is in memory at a time."""

    def __init__(
        self,
        door: Door,
        first: bytes,
        pieces: Generator[bytes, None, None],
        *,
        status_code: int,
        headers: Mapping[str, str],
    ) -> None:
        """Send ``first``, which ``begun`` returned, and what follows it."""
        super().__init__((), status_code=status_code, headers=headers)
        self._door = door
        self._first = first
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, as long as there is a client."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            # Also where the client is gone, and this task cancelled.
            with CancelScope(shield=True):
                await self._door.fetch(self._pieces.close)

    async def stream_response(self, send: Send) -> None:
        """Send the pieces, each after the client has taken the one before."""
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        piece, self._first = self._first, b""
        try:
            while piece:
                for at in range(0, len(piece), _SLICE):
                    part = piece[at : at + _SLICE]
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                piece = await self._door.fetch(next, self._pieces, b"")
        except (ChunkferryError, FileNotFoundError) as exc:
            # Too late for another status: the server cuts the connection off, as the answer has no
            # end, and the client asks for the rest by a range.
            code = exc.code if isinstance(exc, ChunkferryError) else "object_gone"
            log.warning(
                "A download broke off: %s", code, extra={"action": "download", "error": code}
            )
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def begun(door: Door, filepath: str, pieces: Generator[bytes, None, None]) -> bytes:
    """The first of ``pieces``: as long as nothing is sent, an error can still be told.

    Raises:
        ObjectGone: there is no object at ``filepath`` any more.
        StoreError: of the store.
    """
    try:
        return await door.fetch(next, pieces, b"")
    except FileNotFoundError as exc:
        raise ObjectGone(filepath) from exc
    except IntegrityError as exc:
        # Replaced between two calls of ours: the next request finds out by what.
        raise StoreUnavailable(str(exc)) from exc
