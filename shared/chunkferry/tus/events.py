"""``Events``: the news of an upload as Server-Sent Events (HTML Living Standard, section 9.2).

A reader holds a connection, and a thread only while Redis is asked, which takes well under a
millisecond. Ours rather than a library's: sse-starlette, which is well kept, hooks into uvicorn's
signals, and what it would save is the 20 lines of ``_frame`` and of the heartbeat.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import anyio
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from chunkferry.errors import ChunkferryError, RedisUnavailable, UploadNotFound
from chunkferry.news import News
from chunkferry.state import TERMINAL, State
from chunkferry.stream import Event
from chunkferry.tus.door import Door
from chunkferry.tus.hooks import Action

#: Seconds between two looks: while there is news, and at most.
_BUSY: Final = 0.25
_QUIET: Final = 2.0
#: Seconds between two glances at whether the server is about to end.
_GLANCE: Final = 0.5
#: How much longer each look waits than the last that found nothing.
_BACKOFF: Final = 1.3
#: Seconds after which a silent connection carries a comment, for proxies that close idle ones.
_HEARTBEAT: Final = 15.0
#: Milliseconds after which a browser whose connection breaks comes back.
_RETRY_MS: Final = 2000
#: States that are news by themselves; any other event is named by what has grown.
_NAMED: Final = TERMINAL | {State.FAILED}


class TooManyReaders(ChunkferryError):
    """As many connections of this process read news as may."""

    code = "too_many_readers"
    http_status = 503
    retryable = True
    #: Seconds.
    retry_after = 5.0

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} readers of news are connected: try again when one has left")


@dataclass(slots=True)
class Seats:
    """How many read, in this process, and may."""

    limit: int
    taken: int = 0

    def require_one(self) -> None:
        """Raise ``TooManyReaders`` if none is free; a ``Reading`` takes it, as the next thing."""
        if self.taken >= self.limit:
            raise TooManyReaders(self.limit)


class Events:
    """``GET`` of ``…/{upload_id}/events``."""

    def __init__(self, door: Door) -> None:
        self._door: Final = door
        self._seats: Final = Seats(door.settings.http_event_readers)

    async def get(self, request: Request) -> Response:
        """The news after ``Last-Event-ID``, or from how the upload stands now, until its end.

        204 if ``Last-Event-ID`` is that end: a browser comes back once more after it, and only
        this tells it to stay away.

        Raises:
            UploadNotFound, NotPermitted: as ``Door.upload``.
            InvalidArgument: ``Last-Event-ID`` never was an event's id.
            TooManyReaders: later, or at another process.
        """
        upload = await self._door.upload(request, Action.READ)
        after = request.headers.get("last-event-id") or None
        news = await self._door.call(self._door.manager.news, upload.upload_id, after)
        known = after is not None and upload.has_ended and await self._door.call(_is_over, news)
        if known:
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=_UNCACHED)
        self._seats.require_one()
        return Reading(self._seats, _frames(self._door, news))


#: Nothing between us and the reader keeps what passes (nginx has a name of its own for that).
_UNCACHED: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class Reading(StreamingResponse):
    """One reader's connection."""

    def __init__(self, seats: Seats, frames: AsyncGenerator[str, None]) -> None:
        super().__init__(frames, headers=_UNCACHED, media_type="text/event-stream")
        self._seats = seats
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it until its end."""
        self._seats.taken += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._seats.taken -= 1
            with anyio.CancelScope(shield=True):
                await self._frames.aclose()


async def _frames(door: Door, news: News) -> AsyncGenerator[str, None]:
    """What goes over the connection: events, and a comment now and then."""
    yield f"retry: {_RETRY_MS}\n\n"
    stored, pause, told_at = 0, _BUSY, time.monotonic()
    while not door.is_leaving():
        events = await _looked(door, news)
        if events is None:
            return  # known no more: whoever comes back is told
        for event in events:
            yield _frame(event, has_stored=event.stored > stored)
            stored = event.stored
            if event.state in TERMINAL:
                return
        if events:
            told_at = time.monotonic()
        elif time.monotonic() > told_at + _HEARTBEAT:
            yield ":\n\n"
            told_at = time.monotonic()
        pause = _BUSY if events else min(pause * _BACKOFF, _QUIET)
        await _rested(door, pause)


async def _rested(door: Door, seconds: float) -> None:
    """Wait, but not for long where the server is about to end."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not door.is_leaving():
        await anyio.sleep(min(left, _GLANCE))


async def _looked(door: Door, news: News) -> list[Event] | None:
    try:
        return await door.call(news.read)
    except UploadNotFound:
        return None
    except RedisUnavailable:
        # It will be back, and the readers with it who else would all come at once.
        return []


def _frame(event: Event, *, has_stored: bool) -> str:
    name = event.state if event.state in _NAMED else "stored" if has_stored else "received"
    data = {
        "state": event.state,
        "received": event.received,
        "stored": event.stored,
        "length": event.length,
        "error": event.error,
        "error_code": event.error_code,
    }
    # JSON has no line breaks of its own, which would end the field.
    return f"id: {event.event_id}\nevent: {name}\ndata: {json.dumps(data)}\n\n"


def _is_over(news: News) -> bool:
    """True if nothing follows what is known. Does not go on."""
    return all(map(news.knows, news.look()))
