"""An object as the answer to a GET or HEAD: whole, a range of it, or that it has not changed.

Knows stores by their ports, and no uploads: who may read what was decided before.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol, TypeGuard

from starlette.requests import Request
from starlette.responses import Response

from chunkferry.errors import ChunkferryError, IntegrityError
from chunkferry.services import ChunkStore, HeadInfo, HeadService, Service, VersionService
from chunkferry.storage import transfer
from chunkferry.tus import conditions
from chunkferry.tus.conditions import NotSatisfiable, Validators, Verdict
from chunkferry.tus.door import Door
from chunkferry.tus.sending import ObjectResponse, begun

#: Bytes read at once from a store that streams whole objects only.
_PIECE: Final = 256 * 1024


class PreconditionFailed(ChunkferryError):
    """``If-Match`` or ``If-Unmodified-Since`` does not hold."""

    code = "precondition_failed"
    http_status = 412

    def __init__(self) -> None:
        super().__init__("the object is not the version that the request is about")


class NotReadable(ChunkferryError):
    """The store of this object cannot be read from by chunkferry."""

    code = "not_readable"
    http_status = 501

    def __init__(self, store: ChunkStore) -> None:
        super().__init__(f"a {type(store).__name__} has no get: it only takes objects in")


class Readable(ChunkStore, Service, Protocol):
    """The least that objects are served from."""


def require_readable(store: ChunkStore) -> Readable:
    """``store`` itself; raises ``NotReadable``."""
    if not _is_readable(store):
        raise NotReadable(store)
    return store


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """An object that a request may have."""

    store: Readable
    filepath: str
    #: What the store's ``head`` has said of it.
    found: HeadInfo
    #: Of every answer that has the object, such as its type.
    headers: Mapping[str, str]


async def serve(door: Door, request: Request, offer: Offer) -> Response:
    """The answer to ``request``, a GET or HEAD, with the object that is offered.

    Raises:
        PreconditionFailed: the request is about another version.
        ObjectGone, StoreError: it cannot be read.
    """
    version = conditions.validators(offer.found.etag, offer.found.last_modified)
    verdict = conditions.judge(request.headers, version)
    if verdict is Verdict.FAILED:
        raise PreconditionFailed
    headers = {**offer.headers, **_described(version)}
    if verdict is Verdict.NOT_MODIFIED:
        # What describes the bytes stays away, for the client has them (section 15.4.5).
        headers.pop("Content-Type", None)
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    has_ranges = isinstance(offer.store, VersionService) and bool(version.etag)
    headers["Accept-Ranges"] = "bytes" if has_ranges else "none"
    size = offer.found.content_length
    if request.method == "HEAD":  # to which ranges mean nothing (section 14.2)
        return Response(headers={**headers, "Content-Length": str(size)})
    try:
        part = conditions.span(request.headers, version, size) if has_ranges else None
    except NotSatisfiable:
        return _not_satisfiable(size)
    return await _sent(door, offer, part, headers)


async def _sent(
    door: Door, offer: Offer, part: tuple[int, int] | None, headers: dict[str, str]
) -> Response:
    size = offer.found.content_length
    start, finish = part or (0, size)
    headers["Content-Length"] = str(finish - start)
    status = HTTPStatus.OK
    if part is not None:
        status = HTTPStatus.PARTIAL_CONTENT
        headers["Content-Range"] = f"bytes {start}-{finish - 1}/{size}"
    pieces = _pieces(offer, start, finish)
    first = await begun(door, offer.filepath, pieces)
    return ObjectResponse(door, first, pieces, status_code=status, headers=headers)


def _not_satisfiable(size: int) -> Response:
    return Response(
        status_code=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"},
    )


def _described(version: Validators) -> dict[str, str]:
    described = {"ETag": version.etag, "Last-Modified": version.last_modified_header}
    return {name: value for name, value in described.items() if value}


def _pieces(offer: Offer, start: int, finish: int) -> Generator[bytes, None, None]:
    if isinstance(offer.store, VersionService) and offer.found.etag:
        return offer.store.read_version(offer.filepath, offer.found.etag, start, finish)
    return _whole(offer.store, offer.filepath, offer.found)


def _whole(store: Readable, filepath: str, found: HeadInfo) -> Generator[bytes, None, None]:
    """The whole object, from a store without ``VersionService``.

    Raises:
        IntegrityError: it is not what ``head`` has told of.
    """
    with store.get(filepath) as file:
        # As before it was opened: then it is this one that is open.
        if isinstance(store, HeadService) and store.head(filepath) != found:
            raise transfer.changed(filepath)
        missing = found.content_length
        while piece := file.read(min(_PIECE, missing)):
            missing -= len(piece)
            yield piece
        if missing:
            raise IntegrityError(f"{filepath!r} ended {missing} bytes before its end")


def _is_readable(store: ChunkStore) -> TypeGuard[Readable]:
    return isinstance(store, Service)
