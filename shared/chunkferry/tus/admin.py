"""The list of uploads as JSON and as events, and what may be done to them: ``/api/uploads…``.

Knows neither tus nor the page that shows it. Everybody sees their own uploads; administrators see
all, and they alone may requeue.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import anyio
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chunkferry.errors import ChunkferryError, InvalidArgument
from chunkferry.state import State
from chunkferry.tus.answers import Endpoint, answered
from chunkferry.tus.door import Door
from chunkferry.tus.events import Reading, Seats
from chunkferry.tus.hooks import Action, Principal
from chunkferry.tus.listing import LIMIT, Listing
from chunkferry.tus.middleware import HeaderLimit, Proxies
from chunkferry.upload import ChunkUpload

#: Where uploads are, below the application's root.
FILES: Final = "/files"
#: Between two looks for one reader, in seconds.
_TICK: Final = 1.0
#: Longest silence of a stream, in seconds: proxies end those that seem dead, often after 30.
_HEARTBEAT: Final = 10.0
#: Longest life of a stream, in seconds: the client's next one is admitted anew.
_LIFE: Final = 900.0
#: Browsers send it to other sites' servers only after asking them, and ours says no.
_HEADER: Final = "x-chunkferry"

Row = dict[str, Any]


def routes(door: Door) -> list[Route]:
    """The routes of this interface."""
    admin = Admin(door)
    # No CORS: pages of other sites have no business here, wherever they may upload to.
    passed = [
        Middleware(HeaderLimit, door.settings.http_header_limit),
        Middleware(Proxies, door.settings.http_trusted_proxies),
    ]

    def route(path: str, endpoint: Endpoint, method: str) -> Route:
        return Route(path, answered(endpoint), methods=[method], middleware=passed)

    return [
        route("/api/uploads", admin.uploads, "GET"),
        route("/api/uploads/events", admin.events, "GET"),
        route("/api/uploads/{upload_id}/cancel", admin.cancel, "POST"),
        route("/api/uploads/{upload_id}/requeue", admin.requeue, "POST"),
    ]


class Admin:
    """The endpoints."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._listing = Listing(door)
        self._seats = Seats(door.settings.http_event_readers)

    async def uploads(self, request: Request) -> Response:
        """``GET /api/uploads?state=…&limit=…``: the newest uploads."""
        principal = await self._door.admit(request, Action.LIST)
        state, limit = _state(request), _limit(request)
        found = (await self._listing.newest(_owner(principal)))[state]
        whole = _whole(principal, found, limit, _files(request))
        return JSONResponse(whole, headers={"Cache-Control": "no-store"})

    async def events(self, request: Request) -> Response:
        """``GET /api/uploads/events``: the same as ``uploads``, and then each change (SSE)."""
        principal = await self._door.admit(request, Action.LIST)
        # Before the first byte: an error is still a proper answer.
        first = (await self._listing.newest(_owner(principal)))[None]
        self._seats.require_one()
        return Reading(self._seats, self._stream(request, principal, first))

    async def cancel(self, request: Request) -> Response:
        """``POST /api/uploads/{id}/cancel``: for whoever it belongs to, and administrators."""
        return await self._act(request, Action.TERMINATE, self._door.manager.cancel)

    async def requeue(self, request: Request) -> Response:
        """``POST /api/uploads/{id}/requeue``: another chance for a failed one."""
        return await self._act(request, Action.ADMINISTER, self._door.manager.requeue)

    async def _act(self, request: Request, action: Action, move: Callable[[str], None]) -> Response:
        if not request.headers.get(_HEADER):
            raise InvalidArgument(
                "this needs the header X-Chunkferry with any value: without it, a page of another"
                " site could make a browser send this"
            )
        upload = await self._door.upload(request, action)
        await self._door.call(move, upload.upload_id)
        return Response(status_code=204)

    async def _stream(
        self, request: Request, principal: Principal, first: Sequence[ChunkUpload]
    ) -> AsyncGenerator[str, None]:
        """The whole list, then what changes in it; ends with client or server, or by age."""
        files, ends = _files(request), time.monotonic() + _LIFE
        yield event("uploads", _whole(principal, first, LIMIT, files))
        known, spoke, troubled = _rows(first, files), time.monotonic(), False
        while time.monotonic() < ends and not self._door.is_leaving():
            await anyio.sleep(_TICK)
            try:
                listed = await self._listing.newest(_owner(principal), max_age=_TICK)
            except ChunkferryError as exc:
                said = "" if troubled else event("trouble", {"code": exc.code})
                troubled = True
            else:
                rows = _rows(listed[None], files)
                said = _changes(known, rows, anyway=troubled)
                known, troubled = rows, False
            if not said and time.monotonic() - spoke > _HEARTBEAT:
                said = ": nothing new\n\n"
            if said:
                spoke = time.monotonic()
                yield said


def event(name: str, data: object) -> str:
    """A server-sent event (HTML Living Standard, 9.2.5); JSON has no line breaks of its own."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def row(upload: ChunkUpload, files: str) -> Row:
    """What the list shows of an upload; ``files`` is the path below which uploads are."""
    return {
        "id": upload.upload_id,
        "url": f"{files}/{upload.upload_id}",
        "filepath": upload.filepath,
        "filename": upload.metadata.get("filename", ""),
        "service": upload.service,
        "state": upload.state.value,
        "length": upload.length,
        "received": upload.received,
        "stored": upload.stored,
        "created_at": upload.created_at.isoformat(),
        "expiry": upload.expiry.isoformat(),
        "holder": upload.holder,
        "error": upload.error,
        "error_code": upload.error_code,
    }


def _rows(uploads: Sequence[ChunkUpload], files: str) -> dict[str, Row]:
    return {upload.upload_id: row(upload, files) for upload in uploads[:LIMIT]}


def _whole(
    principal: Principal, uploads: Sequence[ChunkUpload], limit: int, files: str
) -> dict[str, object]:
    return {
        "principal": principal.name,
        "is_admin": principal.is_admin,
        "now": datetime.now(UTC).isoformat(),
        "has_more": len(uploads) > limit,
        "uploads": [row(upload, files) for upload in uploads[:limit]],
    }


def _changes(known: dict[str, Row], rows: dict[str, Row], *, anyway: bool) -> str:
    """The event that leads from one list to the other; empty if nothing does."""
    changed = [row for upload_id, row in rows.items() if known.get(upload_id) != row]
    gone = [upload_id for upload_id in known if upload_id not in rows]
    if not (changed or gone or anyway):
        return ""
    return event("changes", {"changed": changed, "gone": gone})


def _owner(principal: Principal) -> str | None:
    return None if principal.is_admin else principal.name


def _files(request: Request) -> str:
    return f"{request.scope.get('root_path', '')}{FILES}"


def _state(request: Request) -> State | None:
    text = request.query_params.get("state", "")
    if text in set(State):
        return State(text)
    if text:
        raise InvalidArgument(f"state must be one of {', '.join(State)}, not {text!r:.100}")
    return None


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(LIMIT))
    # At most as long as LIMIT: int() takes other scripts' digits, and as many as it gets.
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(LIMIT))
    if not is_number or not 1 <= int(text) <= LIMIT:
        raise InvalidArgument(f"limit must be 1 to {LIMIT}, not {text!r:.100}")
    return int(text)
