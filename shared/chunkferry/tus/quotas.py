"""``Quotas``: how much of a shared server one principal may take up. Off unless it is set.

Protective, not exact: what is known of a principal's bytes may be half a second old, and each
process looks for itself. Knows no header.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from chunkferry.errors import Backpressure, ChunkferryError
from chunkferry.tus.door import Door
from chunkferry.tus.hooks import Principal
from chunkferry.upload import ChunkUpload

#: For how long a count is taken for true, in seconds.
_FRESH: Final = 0.5
#: Principals whose counts are remembered.
_REMEMBERED: Final = 4096


class OverQuota(ChunkferryError):
    """A principal has as many uploads open as it may; some have to end first.

    503 and not 429, because common clients give up on a 429 and go on after a 503.
    """

    code = "over_quota"
    http_status = 503
    retryable = True

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"you may have {limit} uploads open at one time: end or remove some, then try again"
        )


class Quotas:
    """The quotas of one application."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._uploads = door.settings.http_quota_uploads
        self._bytes = door.settings.http_quota_bytes
        #: Principal -> (until when it is fresh, bytes that wait).
        self._waiting: dict[str, tuple[float, int]] = {}
        #: Principal -> whose turn it is to begin an upload, as long as anybody waits for that.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, principal: Principal) -> AsyncIterator[None]:
        """Alone in this process to begin an upload of ``principal``: a crowd would pass as one."""
        if not self._uploads:
            yield
            return
        async with self._turns.setdefault(principal.name, asyncio.Lock()):
            yield

    async def require_another(self, principal: Principal) -> None:
        """Raise ``OverQuota`` unless ``principal`` may begin one more upload."""
        if not self._uploads:
            return
        open_ = await self._door.call(self._door.manager.uploads_of, principal.name)
        if len(open_) >= self._uploads:
            raise OverQuota(self._uploads)

    async def note(self, principal: Principal, upload: ChunkUpload) -> None:
        """``principal`` has begun an upload."""
        if self._uploads or self._bytes:
            await self._door.call(
                self._door.manager.note_principal, principal.name, upload.upload_id
            )

    def free(self, upload: ChunkUpload, offset: int) -> int | None:
        """Bytes from ``offset`` on that are let in whatever waits; None for any number.

        The rest of a part that has begun: else parts that can never become whole would use the
        quota up, and nothing would ever be stored.
        """
        if not self._bytes:
            return None
        grid = upload.grid
        return 0 if grid.begins(offset) else grid.boundary(offset) - offset

    def spend(self, upload: ChunkUpload, size: int) -> None:
        """``size`` bytes of the upload have come since its principal was last counted."""
        name = upload.notes.get("principal", "")
        if name in self._waiting:
            until, waiting = self._waiting[name]
            self._waiting[name] = until, waiting + size

    async def require_room(self, upload: ChunkUpload, offset: int) -> None:
        """Raise ``Backpressure`` unless more bytes of the upload's principal may wait."""
        name = upload.notes.get("principal", "")
        until, waiting = self._waiting.get(name, (0.0, 0))
        now = time.monotonic()
        if now >= until:
            open_ = await self._door.call(self._door.manager.uploads_of, name)
            until, waiting = now + _FRESH, sum(each.received - each.stored for each in open_)
            if len(self._waiting) >= _REMEMBERED:
                self._waiting.clear()
            self._waiting[name] = until, waiting
        if waiting >= self._bytes:
            raise Backpressure(offset, _FRESH, f"{self._bytes} bytes of yours wait to be stored")
