"""The endpoints of tus 1.0.0: requests in, answers out.

The rules are those of ``protocol``, the work is that of ``Reception``.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from chunkferry.checksums import ALGORITHMS
from chunkferry.errors import ChunkferryError
from chunkferry.tus import headers, place, protocol
from chunkferry.tus.answers import problem
from chunkferry.tus.body import Disconnected
from chunkferry.tus.concatenation import NOTE, Concatenation
from chunkferry.tus.door import Door
from chunkferry.tus.headers import BadHeader, Checksum
from chunkferry.tus.hooks import Action, Principal
from chunkferry.tus.protocol import Addition, Wanted
from chunkferry.tus.reception import Order, Reception
from chunkferry.tus.staging import Expected
from chunkferry.upload import ChunkUpload


class Tus1:
    """tus 1.0.0 over one ``Door``."""

    #: "The Tus-Resumable header MUST be included in every request and response" (section Headers).
    marks: Mapping[str, str] = MappingProxyType({"Tus-Resumable": protocol.VERSION})

    def __init__(self, door: Door, reception: Reception) -> None:
        self._door = door
        self._reception = reception
        self._concatenation = Concatenation(door, reception)

    def about(self) -> Mapping[str, str]:
        """OPTIONS: what this server can do. Needs neither a version nor an upload."""
        settings = self._door.settings
        return protocol.about_server(
            max_size=settings.http_max_size or None,
            concatenates=self._concatenation.is_offered,
            trailers=settings.http_trailers,
        )

    async def create(self, request: Request) -> Response:
        """POST: begin an upload, and take in what comes along (201)."""
        protocol.require_version(request.headers)
        wanted = protocol.wanted(request.headers)
        principal = await self._door.admit(request, Action.CREATE)
        order = Order(
            length=wanted.length,
            metadata=wanted.metadata,
            content_type=wanted.metadata.get("filetype", ""),
        )
        upload = await self._begin(request, principal, order, wanted)
        also = {
            "Location": place.url_of(request, upload.upload_id, self._door.settings.http_location)
        }
        if wanted.has_bytes:
            also |= await self._take_first(request, upload, wanted)
            return Response(status_code=201, headers=also)
        is_whole = bool(upload.sources) and await self._concatenation.has_all(upload)
        if upload.length == 0 or is_whole:
            # Nothing follows whose answer could tell that all is well.
            upload = await self._reception.settle_whole(upload)
        return Response(status_code=201, headers={**also, **protocol.about_expiry(upload)})

    async def _begin(
        self, request: Request, principal: Principal, order: Order, wanted: Wanted
    ) -> ChunkUpload:
        concat, said = wanted.concat, request.headers.get("upload-concat", "")
        if concat is None:
            return await self._reception.begin(request, principal, order)
        if not concat.is_final:
            return await self._concatenation.begin_partial(principal, order, said)
        upload_ids = [place.upload_id_in(url) for url in concat.partials]
        return await self._concatenation.join(request, principal, order, upload_ids, said)

    async def _take_first(
        self, request: Request, upload: ChunkUpload, wanted: Wanted
    ) -> dict[str, str]:
        """Take the first bytes in; tell where to go on.

        The upload exists: whatever goes wrong, its client is told where it is, and goes on there.
        """
        try:
            return await self._told(upload, await self._take_or_drop(request, upload, wanted))
        except ChunkferryError as exc:
            if not exc.retryable:
                raise
            upload = await self._door.call(self._door.manager.get, upload.upload_id)
            return _standing(upload, self._reception.offset(upload))

    async def _take_or_drop(self, request: Request, upload: ChunkUpload, wanted: Wanted) -> int:
        """Take the first bytes in; what is refused leaves no upload that nobody was told of."""
        try:
            return await self._take(request, upload, 0, wanted)
        except ChunkferryError as exc:
            if not exc.retryable and not isinstance(exc, Disconnected):
                with suppress(ChunkferryError):
                    await self._door.call(self._door.manager.cancel, upload.upload_id)
            raise

    async def append(self, request: Request) -> Response:
        """PATCH: take bytes in (204)."""
        protocol.require_version(request.headers)
        upload = await self._door.upload(request, Action.APPEND)
        if upload.sources:
            raise protocol.NoPatchOfFinal(upload.upload_id)
        added = protocol.addition(request.headers)
        if added.length is not None:
            # Before the length is noted: a wrong offset changes nothing (section PATCH).
            self._reception.require_next(upload, added.offset)
            await self._reception.say_length(upload, added.length)
            upload = await self._door.call(self._door.manager.get, upload.upload_id)
        offset = await self._take(request, upload, added.offset, added)
        return Response(status_code=204, headers=await self._told(upload, offset))

    async def _told(self, upload: ChunkUpload, offset: int) -> dict[str, str]:
        """How far an upload has come, once its client may be told."""
        if offset == upload.length:
            await self._reception.settle_whole(upload)
            return {"Upload-Offset": str(offset)}
        return _standing(await self._reception.settle(upload.upload_id, offset), offset)

    async def _take(
        self, request: Request, upload: ChunkUpload, offset: int, sent: Wanted | Addition
    ) -> int:
        return await self._reception.take(
            request.receive,
            upload,
            offset,
            announced=_announced(request.headers),
            expected=_expected(request, sent, trailers=self._door.settings.http_trailers),
        )

    async def head(self, request: Request) -> Response:
        """HEAD: where to go on. One read of Redis, whoever else is sending."""
        protocol.require_version(request.headers)
        upload = await self._door.upload(request, Action.READ)
        return Response(
            status_code=200,
            headers=protocol.about_upload(
                upload, self._reception.offset(upload), upload.notes.get(NOTE)
            ),
        )

    async def unfinished(self, request: Request) -> None:
        """GET is not of tus."""

    async def remove(self, request: Request) -> Response:
        """DELETE: have the upload removed (204)."""
        protocol.require_version(request.headers)
        upload = await self._door.upload(request, Action.TERMINATE)
        await self._reception.remove(upload)
        return Response(status_code=204)

    def refuse(self, error: Exception) -> Response:
        """The answer to a request that failed."""
        return problem(error)


def _standing(upload: ChunkUpload, offset: int) -> dict[str, str]:
    return {"Upload-Offset": str(offset), **protocol.about_expiry(upload)}


def _announced(request: Mapping[str, str]) -> int | None:
    length = request.get("content-length")
    return None if length is None else headers.number("Content-Length", length)


def _expected(request: Request, sent: Wanted | Addition, *, trailers: bool) -> Expected | None:
    """What has to hold for the body, by a header before it or behind it."""
    known = sent.checksum
    if known is not None:
        return Expected(
            algorithms=(known.algorithm,), digests=lambda: [(known.algorithm, known.digest)]
        )
    if not sent.checksum_follows:
        return None
    if not trailers:
        raise BadHeader("Trailer", "absent: this server cannot read what follows a body", "…")

    def digests() -> list[tuple[str, str]]:
        found = _checksum_behind(request)
        return [(found.algorithm, found.digest)]

    return Expected(algorithms=ALGORITHMS, digests=digests)


def _checksum_behind(request: Request) -> Checksum:
    """The checksum that followed the body."""
    scope = request.scope
    # uvicorn alone, without ``wire``, adds trailers to the headers.
    raw = scope.get("chunkferry.trailers", scope.get("chunkferry.wire", scope["headers"]))
    value = Headers(raw=raw).get("upload-checksum")
    if value is None:
        raise BadHeader("Upload-Checksum", "in the trailer that was announced", None)
    return headers.checksum(value)
