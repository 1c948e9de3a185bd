"""The endpoints of Resumable Uploads for HTTP: requests in, answers out.

The rules are those of ``rufh``, errors those of ``problems``, the work is that of ``Reception``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from chunkferry.errors import ChunkferryError, LengthMismatch, UploadClosed
from chunkferry.tus import answers, counting, headers, interim, place, problems, rufh
from chunkferry.tus.body import TooLarge
from chunkferry.tus.door import Door
from chunkferry.tus.hooks import Action
from chunkferry.tus.interim import SendInterim
from chunkferry.tus.protocol import NoPatchOfFinal
from chunkferry.tus.reception import Order, Reception
from chunkferry.tus.rufh import RESUMPTION_SUPPORTED, Limits, Version
from chunkferry.tus.staging import Expected
from chunkferry.upload import ChunkUpload

#: Between two interim answers that tell of progress, in seconds.
_EVERY: Final = 1.0


class Draft:
    """One interop version of the draft over one ``Door``."""

    #: There is nothing that every answer has to have.
    marks: Mapping[str, str] = MappingProxyType({})

    def __init__(self, door: Door, reception: Reception, version: Version) -> None:
        self._door = door
        self._reception = reception
        self._version = version

    def about(self) -> Mapping[str, str]:
        """OPTIONS: the limits of an upload that would begin now (section 4.1.4)."""
        settings = self._door.settings
        lasting = min(settings.incomplete_upload_expiry, settings.http_max_upload_age)
        most = Limits(max_age=int(lasting.total_seconds()))
        if settings.http_max_size:
            most = Limits(max_size=settings.http_max_size, max_age=most.max_age)
        return rufh.about_server(most)

    async def create(self, request: Request) -> Response:
        """POST: begin an upload, and take in what comes along (section 4.2; 201)."""
        asked = rufh.read(request.method, request.scope["headers"])
        principal = await self._door.admit(request, Action.CREATE)
        upload = await self._reception.begin(request, principal, _order(request, asked))
        location = place.url_of(request, upload.upload_id, self._door.settings.http_location)
        told = rufh.interim_headers(asked, location=location, most=_limits(upload))
        # Where no content follows, the answer itself is as fast.
        if told is not None and asked.announced != 0:
            await interim.sender(request.scope)(RESUMPTION_SUPPORTED, told)
        return await self._take_in(request, asked, upload, location)

    async def append(self, request: Request) -> Response:
        """PATCH: take content in (section 4.4; 204, or what a creation is answered with)."""
        upload = await self._door.upload(request, Action.APPEND)
        if upload.sources:
            raise NoPatchOfFinal(upload.upload_id)
        asked = rufh.read("PATCH", request.scope["headers"])
        location = place.url_of(request, upload.upload_id, self._door.settings.http_location)
        return await self._take_in(request, asked, upload, location)

    async def head(self, request: Request) -> Response:
        """HEAD: where to go on (section 4.3; 204). One read of Redis, whoever else is sending."""
        upload = await self._door.upload(request, Action.READ)
        rufh.require_active(upload)
        return self._told(upload)

    async def unfinished(self, request: Request) -> Response | None:
        """GET of an upload that is not complete is the same (-12, section 4.3).

        Returns:
            None if it is complete, or the client does not say that it speaks the draft.
        """
        if not rufh.names_version(request.scope["headers"]):
            return None
        upload = await self._door.upload(request, Action.READ)
        rufh.require_active(upload)
        return None if upload.is_complete else self._told(upload)

    async def remove(self, request: Request) -> Response:
        """DELETE: have the upload removed (section 4.5; 204)."""
        upload = await self._door.upload(request, Action.TERMINATE)
        await self._reception.remove(upload)
        return Response(status_code=204)

    def refuse(self, error: Exception) -> Response:
        """The answer to a request that failed."""
        most = Limits(max_size=error.most) if isinstance(error, TooLarge) else None
        return self._refused(error, most=most)

    # --- content -----------------------------------------------------------------------------

    async def _take_in(
        self, request: Request, asked: rufh.Request, upload: ChunkUpload, location: str
    ) -> Response:
        """Take the content in, and answer.

        An error of a creation tells of the upload, too: its client may go on there.
        """
        begins = asked.offset is None
        try:
            upload, offset = await self._taken(request, asked, upload)
        except ChunkferryError as exc:
            counting.say(request.scope, exc)
            refused = self._refused(exc, asked=asked, most=_limits(upload))
            if begins:
                refused.headers["Location"] = location
            return refused
        ends = begins or asked.completes
        told = rufh.answer_headers(
            asked, offset=offset, location=location if ends else None, most=_limits(upload)
        )
        return Response(status_code=201 if ends else 204, headers=told)

    async def _taken(
        self, request: Request, asked: rufh.Request, upload: ChunkUpload
    ) -> tuple[ChunkUpload, int]:
        """Take the content in; return the upload, and where it stands."""
        offset = self._reception.position(upload, asked.offset or 0)
        asked.check(upload, offset)
        upload = await self._with_length(upload, asked.length)
        try:
            end = await self._reception.take(
                request.receive,
                upload,
                offset,
                announced=asked.announced,
                expected=_expected(asked),
                progress=_Progress(self._door, asked, upload, interim.sender(request.scope)),
            )
        except LengthMismatch:
            await self._deactivate(upload)
            raise
        await self._with_length(upload, asked.length_at(end))
        return await self._reception.settle(upload.upload_id, end), end

    async def _with_length(self, upload: ChunkUpload, length: int | None) -> ChunkUpload:
        """The upload, once it has its ``length``, as far as it is known."""
        if length is None or length == upload.length:
            return upload
        await self._reception.say_length(upload, length)
        return await self._door.call(self._door.manager.get, upload.upload_id)

    async def _deactivate(self, upload: ChunkUpload) -> None:
        """Give up an upload whose client sends more than there can be (section 4.4).

        One that had all its bytes before is as complete as it was.
        """
        if upload.received != upload.length:
            with suppress(UploadClosed):  # by then it is complete
                await self._door.call(self._door.manager.cancel, upload.upload_id)

    # --- answers -----------------------------------------------------------------------------

    def _told(self, upload: ChunkUpload) -> Response:
        offset = self._reception.offset(upload)
        about = rufh.about_upload(self._version, upload, offset, _limits(upload))
        return Response(status_code=204, headers=about)

    def _refused(
        self,
        error: Exception,
        *,
        asked: rufh.Request | None = None,
        most: Limits | None = None,
    ) -> Response:
        if not isinstance(error, ChunkferryError):
            return answers.problem(error)
        found = problems.problem(error, self._version, request=asked, most=most)
        return answers.problem(error, found.headers, status=found.status, members=found.members)


class _Progress:
    """Tells a client now and then how far its content has come (section 5)."""

    def __init__(
        self, door: Door, asked: rufh.Request, upload: ChunkUpload, send: SendInterim
    ) -> None:
        self._door = door
        self._asked = asked
        self._upload = upload
        self._send = send
        self._next = time.monotonic() + _EVERY

    async def __call__(self, offset: int) -> None:
        """Tell of ``offset``, unless that was done a moment ago; the end is the answer's to tell.

        Whoever is told forgets what came before (section 4.1.1), hence that is made safe first.
        """
        told = rufh.progress_headers(self._asked, offset)
        if told is None or self._send is interim.unsent or time.monotonic() < self._next:
            return
        if offset == self._upload.length:
            return
        self._next = time.monotonic() + _EVERY
        with suppress(ChunkferryError):  # the answer will tell of it, if it lasts
            manager = self._door.manager
            await self._door.persist(manager.ensure_durable, self._upload.upload_id, offset)
            await self._send(RESUMPTION_SUPPORTED, told)


def _order(request: Request, asked: rufh.Request) -> Order:
    """What the client says of its file; tus-js-client does so as in tus, in all protocols."""
    metadata = headers.metadata(request.headers.get("upload-metadata"))
    if asked.filename:
        metadata = {**metadata, "filename": asked.filename}
    content_type = asked.content_type
    if not content_type or content_type.lower().startswith(rufh.PARTIAL):
        content_type = metadata.get("filetype", "")
    return Order(length=asked.length, metadata=metadata, content_type=content_type)


def _expected(asked: rufh.Request) -> Expected | None:
    if not asked.digests:
        return None
    found = [(digest.algorithm, digest.value.hex()) for digest in asked.digests]
    algorithms = tuple(dict.fromkeys(algorithm for algorithm, _ in found))
    return Expected(algorithms=algorithms, digests=lambda: found)


def _limits(upload: ChunkUpload) -> Limits:
    return rufh.limits(upload, upload.max_size, datetime.now(UTC))
