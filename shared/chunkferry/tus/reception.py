"""``Reception``: what happens to an upload at the front door, in whatever protocol it is asked for.

Begins uploads, takes their bytes in while they arrive, slows clients down where there is no room,
and says how far an upload has come. Knows no header.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.types import Receive

from chunkferry.errors import (
    Backpressure,
    ChunkferryError,
    InvalidArgument,
    LengthMismatch,
    OffsetMismatch,
    TooManyUploads,
    UploadError,
)
from chunkferry.metadata import check_content_type
from chunkferry.parts import MAX_LENGTH
from chunkferry.state import State
from chunkferry.tus.body import Body, Disconnected, SlowBody, TooLarge
from chunkferry.tus.door import Door
from chunkferry.tus.hooks import Creation, Principal
from chunkferry.tus.quotas import Quotas
from chunkferry.tus.removal import remove, require_there
from chunkferry.tus.staging import Expected, staged
from chunkferry.upload import ChunkUpload

#: Between two tries to append, in seconds: the first, and the longest.
_PAUSE: Final = 0.02
_MAX_PAUSE: Final = 1.0
#: When to begin an upload again for which there was no room, in seconds.
_AGAIN: Final = 1.0


class StillStoring(ChunkferryError):
    """All bytes are received, and the object is not in the store yet."""

    code = "still_storing"
    http_status = 503
    retryable = True

    def __init__(self, upload: ChunkUpload, seconds: float) -> None:
        super().__init__(
            f"{upload.stored} of {upload.length} bytes were stored within {seconds:g} s: "
            "send the last byte again"
        )


#: Told of the offset that was reached.
Progress = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An upload as its client wants it."""

    #: Bytes; None if said later.
    length: int | None
    metadata: Mapping[str, str]
    #: As the client tells it; one that is no header is left out.
    content_type: str = ""


class Reception:
    """Takes uploads in. One for each application."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._manager = door.manager
        self._settings = door.settings
        self._quotas = Quotas(door)

    # --- begin -------------------------------------------------------------------------------

    async def begin(self, request: Request, principal: Principal, order: Order) -> ChunkUpload:
        """Begin an upload of ``principal``.

        Raises:
            TooLarge: it is announced with more bytes than it may have.
            OverQuota: the principal has as many uploads open as it may.
            Refused: the application's hook says no.
            ChunkferryError: as ``ChunkManager.create``.
        """
        creation = await self.planned(request, order, f"uploads/{secrets.token_hex(16)}")
        return await self.begun(
            principal,
            partial(
                self._manager.create,
                creation.filepath,
                creation.length,
                service=creation.service,
                content_type=creation.content_type,
                metadata=creation.metadata,
                notes=notes(principal, creation.max_size),
                lasting=self._settings.http_max_upload_age,
            ),
        )

    async def begun(self, principal: Principal, begin: Callable[[], ChunkUpload]) -> ChunkUpload:
        """What ``begin`` begins, if ``principal`` may have one more upload.

        Raises:
            OverQuota: it has as many open as it may.
            Backpressure: as many are open as may be in all.
            ChunkferryError: as ``begin``.
        """
        async with self._quotas.turn(principal):
            await self._quotas.require_another(principal)
            try:
                upload = await self._door.persist(begin)
            except TooManyUploads as exc:
                # Its 429 would end the upload: common clients try again after a 503 only.
                raise Backpressure(0, _AGAIN, "as many uploads are open as may be") from exc
            await self._quotas.note(principal, upload)
        return upload

    async def planned(self, request: Request, order: Order, filepath: str) -> Creation:
        """What is to become of ``order``, after the application had its say.

        Args:
            request: of the client.
            order: what it wants.
            filepath: where the object goes if the application has no wish.

        Raises:
            TooLarge: it is announced with more bytes than it may have.
            Refused: the application says no.
        """
        creation = Creation(
            filepath=filepath,
            service=self._manager.service,
            length=order.length,
            max_size=self._settings.http_max_size or None,
            content_type=_usable(order.content_type),
            metadata=order.metadata,
        )
        creation = await self._door.on_create(request, creation)
        most = MAX_LENGTH if creation.max_size is None else creation.max_size
        if (creation.length or 0) > most:
            raise TooLarge("this upload", most)
        return creation

    # --- take in -----------------------------------------------------------------------------

    async def say_length(self, upload: ChunkUpload, length: int) -> None:
        """Say how long the file is; saying it again is fine.

        Raises:
            TooLarge: longer than it may be.
            LengthMismatch: another length was said before, or more was received.
        """
        most = upload.max_size
        if length > most:
            raise TooLarge("this upload", most)
        if upload.length != length:
            await self._door.persist(self._manager.set_length, upload.upload_id, length)

    async def take(
        self,
        receive: Receive,
        upload: ChunkUpload,
        offset: int,
        *,
        announced: int | None = None,
        expected: Expected | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Take the bytes of a request in; return the offset of the byte that follows them.

        Args:
            receive: where the body comes from.
            upload: as it was when the request came.
            offset: where the first byte belongs.
            announced: bytes of the body, if its client said so.
            expected: a checksum that has to hold before any byte counts.
            progress: called as bytes are accepted, with the offset of the byte that follows.

        Raises:
            OffsetMismatch: these are not the bytes that follow.
            UploadClosed: it was removed.
            LengthMismatch: they go beyond the end of the file; those before it are kept.
            TooLarge: more than the upload may have.
            ChecksumMismatch: nothing was accepted.
            Disconnected, SlowBody: what came before is kept, unless there is a checksum.
            Backpressure, RedisUnavailable: no room, or no Redis, within
                ``settings.append_wait_seconds``; what was accepted is kept.
        """
        self.require_next(upload, offset)
        most, excess = _room(upload)
        if offset + (announced or 0) > most:
            raise excess
        body = Body(
            receive,
            patience=self._settings.http_body_timeout_seconds,
            most=most - offset,
            excess=excess,
        )
        async with body.arriving() as lumps:
            if expected is not None:
                limit = self._settings.http_checksum_limit
                async with staged(lumps, expected, limit, self._door.call) as verified:
                    return await self._append_all(upload, offset, verified, progress)
            return await self._append_all(upload, offset, lumps, progress)

    async def _append_all(
        self,
        upload: ChunkUpload,
        offset: int,
        lumps: AsyncIterator[bytes],
        progress: Progress | None,
    ) -> int:
        broken: ChunkferryError | None = None
        try:
            async for lump in lumps:
                await self._append(upload, offset, lump)
                offset += len(lump)
                if progress is not None:
                    await progress(offset)
        except (Disconnected, SlowBody, TooLarge, LengthMismatch) as exc:
            broken = exc
        if self._settings.waits_for_durability:
            # Also of a connection that broke: what the next HEAD request tells is to be safe.
            await self._patiently(
                lambda: self._door.persist(self._manager.ensure_durable, upload.upload_id, offset)
            )
        if broken is not None:
            raise broken
        return offset

    async def _append(self, upload: ChunkUpload, offset: int, lump: bytes) -> None:
        free = self._quotas.free(upload, offset)
        await self._append_if(upload, offset, lump[:free])
        if free is not None and len(lump) > free:
            await self._append_if(upload, offset + free, lump[free:], within_quota=True)

    async def _append_if(
        self, upload: ChunkUpload, offset: int, lump: bytes, *, within_quota: bool = False
    ) -> None:
        async def append() -> None:
            if within_quota:
                await self._quotas.require_room(upload, offset)
            await self._door.call(
                self._manager.append, upload.upload_id, offset, lump, wait=0, durable=False
            )

        if lump:
            await self._patiently(append)
            self._quotas.spend(upload, len(lump))

    async def _patiently(self, attempt: Callable[[], Awaitable[None]]) -> None:
        """Try again and again while there is no room; the client, unread, slows down meanwhile."""
        deadline = time.monotonic() + self._settings.append_wait_seconds
        pause = _PAUSE
        while True:
            try:
                return await attempt()
            except ChunkferryError as exc:
                if not exc.retryable or time.monotonic() + pause > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _MAX_PAUSE)

    # --- how far it is -----------------------------------------------------------------------

    def offset(self, upload: ChunkUpload) -> int:
        """Where the client is to go on.

        To clients an offset that equals the length means that all is well. Where that is to mean
        ``stored``, the last byte is asked for again until the object is in the store.

        Raises:
            UploadClosed: it was removed: no offset would be right.
        """
        require_there(upload)
        return max(0, upload.received - self._holds_back(upload))

    def position(self, upload: ChunkUpload, offset: int) -> int:
        """``offset`` for a client that knows of all bytes that came, else as ``offset`` says.

        Whoever says only behind the last byte that it was the last may have no byte to repeat.
        """
        told = self.offset(upload)
        return offset if offset == upload.received else told

    def require_next(self, upload: ChunkUpload, offset: int) -> None:
        """Raise ``OffsetMismatch`` unless the upload goes on at ``offset``, or ``UploadClosed``."""
        if offset != (expected := self.position(upload, offset)):
            raise OffsetMismatch(expected, offset)

    def _holds_back(self, upload: ChunkUpload) -> bool:
        return (
            self._settings.http_ack == "stored"
            and upload.received == upload.length
            and not upload.is_complete
        )

    async def settle(self, upload_id: str, offset: int) -> ChunkUpload:
        """The upload, once its client may be told that it has come as far as ``offset``.

        Where acknowledgement means ``stored``, the end of the file waits for the object.

        Raises:
            StillStoring: it is not there within ``settings.http_ack_wait_seconds``.
            UploadError: the upload failed.
            UploadClosed: it was removed.
        """
        seconds = self._settings.http_ack_wait_seconds
        deadline = time.monotonic() + seconds
        pause = _PAUSE
        while True:
            upload = await self._door.call(self._manager.get, upload_id)
            require_there(upload)
            is_end = offset == upload.length and self._holds_back(upload)
            if offset <= upload.received and not is_end:
                return upload
            if upload.state is State.FAILED:
                raise UploadError(f"upload {upload_id} failed: {upload.error}")
            if time.monotonic() + pause > deadline:
                raise StillStoring(upload, seconds)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _MAX_PAUSE)

    async def settle_whole(self, upload: ChunkUpload) -> ChunkUpload:
        """The upload, once its client may be told that all of it is there, or will be.

        Raises:
            ChunkferryError: as ``settle``.
        """
        if self._settings.http_ack == "received" or upload.length is None:
            return upload
        return await self.settle(upload.upload_id, upload.length)

    # --- remove ------------------------------------------------------------------------------

    async def remove(self, upload: ChunkUpload) -> None:
        """Have the upload removed, complete or not; see ``removal.remove``."""
        await remove(self._door, upload)


def _room(upload: ChunkUpload) -> tuple[int, ChunkferryError]:
    """Bytes that the upload may have, and what is raised of more."""
    if upload.length is not None:
        return upload.length, LengthMismatch(
            f"the file has {upload.length} bytes, and this body goes beyond them"
        )
    most = upload.max_size
    return most, TooLarge("this upload", most)


def notes(principal: Principal, most: int | None) -> dict[str, str]:
    """What the front door writes down of an upload."""
    found = {"principal": principal.name}
    return found if most is None else {**found, "max_size": str(most)}


def _usable(content_type: str) -> str:
    """``content_type`` if it can be one; clients send all kinds of text."""
    try:
        return check_content_type(content_type)
    except InvalidArgument:
        return ""
