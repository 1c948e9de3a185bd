"""What the memory ledger's roles share: the entries, their lock, and the prelude of the moves."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Final

from chunkferry import keys
from chunkferry.config import Settings
from chunkferry.errors import IntegrityError, UploadNotFound
from chunkferry.ledger.scripts import lease_lost, milliseconds
from chunkferry.parts import Grid
from chunkferry.services import StoredPart
from chunkferry.state import TERMINAL, State
from chunkferry.stream import Event
from chunkferry.upload import Change, ChunkUpload

#: Events kept of one upload.
_MAX_EVENTS: Final = 200
#: Changes of state noted of one upload.
_MAX_CHANGES: Final = 64
#: States in which the end of the data is in sight.
_ALWAYS_RUNNABLE: Final = frozenset({State.RECEIVED, State.COMPLETING, State.ABORTING})


@dataclass(slots=True, kw_only=True)
class Entry:
    """All that is known of one upload. Times are milliseconds since 1970, 0 for never."""

    upload_id: str
    service: str
    filepath: str
    state: State
    length: int | None
    grid: Grid
    idle_ms: int
    created_at: int
    expires_at: int
    content_type: str
    metadata: Mapping[str, str]
    notes: Mapping[str, str]
    token: str
    #: What it is joined from; how long it waits to be joined itself, 0 if it is no partial one.
    sources: tuple[str, ...] = ()
    keep_ms: int = 0
    finals: tuple[str, ...] = ()
    finished_at: int = 0
    #: The latest possible ``expires_at``; 0 for none.
    expires_by: int
    #: What an upload that is being removed will be.
    reason: State = State.CANCELLED
    received: int = 0
    stored: int = 0
    #: Received bytes from which on there is work: the end of the part being filled.
    ripe_at: int
    #: (start, finish, CRC32C) of the newest append.
    last: tuple[int, int, int] | None = None
    told_at: int = 0
    #: Nonce of the lease; empty if nobody holds it.
    owner: str = ""
    worker: str = ""
    lease_until: int = 0
    epoch: int = 0
    #: True while a wake-up is on its way or a worker at work.
    scheduled: bool = False
    deaths: int = 0
    attempts: int = 0
    retry_at: int = 0
    rewakes: int = 0
    #: Since when a worker is wanted.
    wanted_since: int = 0
    failed_until: int = 0
    session: str = ""
    crc32c: int = 0
    error: str = ""
    error_code: str = ""
    etag: str = ""
    #: (number, state, moment) of each change of state.
    history: list[tuple[int, State, int]] = field(default_factory=list)
    #: Nonce of whoever has the turn to tell of the changes; what it wants remembered.
    teller: str = ""
    teller_until: int = 0
    told: str = ""
    #: See ``ChunkUpload.termination``.
    termination: str = ""
    #: When an ended upload is forgotten.
    forgotten_at: int = 0
    #: Bytes that wait to be stored, by their end offset, in order.
    parts: dict[int, bytes] = field(default_factory=dict)
    receipts: dict[int, StoredPart] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    @property
    def is_runnable(self) -> bool:
        """Is there something for a worker to do?"""
        if self.state is State.RECEIVING:
            return self.received >= self.ripe_at
        return self.state in _ALWAYS_RUNNABLE

    def is_active(self, now: int) -> None:
        """Its producer has just been heard of."""
        idle_until = now + self.idle_ms
        self.expires_at = min(idle_until, self.expires_by) if self.expires_by else idle_until

    def let_go(self) -> None:
        """Nobody holds the lease any more."""
        self.owner, self.lease_until = "", 0

    def another_chance(self) -> None:
        """Forget what went wrong so far."""
        self.deaths = self.attempts = self.retry_at = self.rewakes = 0

    def without_error(self) -> None:
        """The last error is history."""
        self.error = self.error_code = ""


class Book:
    """The entries, the agenda and the graves, under one lock."""

    def __init__(self, settings: Settings, clock: Callable[[], int]) -> None:
        self.settings = settings
        self.rewake_ms = milliseconds(settings.rewake_seconds)
        self.is_pressed = False
        self.is_unsafe = False
        self.due: dict[str, int] = {}
        self.graves: dict[str, int] = {}
        #: Uploads of which somebody is to be told -> when to look for news of them.
        self.telling: dict[str, int] = {}
        self.joins: dict[str, int] = {}
        self.partials: dict[str, int] = {}
        self.news = threading.Condition(threading.RLock())
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._newest: dict[tuple[str, str], str] = {}
        self._event_ids = count(1)

    @contextmanager
    def turn(self) -> Iterator[int]:
        """The lock, and what time it is; what has had its time is forgotten."""
        with self.news:
            now = self._clock()
            for entry in list(self._entries.values()):
                if 0 < entry.forgotten_at <= now:
                    self.discard(entry)
            yield now

    def add(self, entry: Entry) -> None:
        """A new upload, the newest to its path."""
        self._entries[entry.upload_id] = entry
        self._newest[entry.service, entry.filepath] = entry.upload_id

    def discard(self, entry: Entry) -> None:
        """Forget an upload."""
        del self._entries[entry.upload_id]
        if self._newest.get((entry.service, entry.filepath)) == entry.upload_id:
            del self._newest[entry.service, entry.filepath]

    def find(self, upload_id: str) -> Entry | None:
        """The entry of an upload, if there is one."""
        keys.shard_of(upload_id)
        return self._entries.get(upload_id)

    def entry(self, upload_id: str) -> Entry:
        """The entry of an upload; raises ``UploadNotFound``."""
        entry = self.find(upload_id)
        if entry is None:
            raise UploadNotFound(upload_id)
        return entry

    def held(self, upload_id: str, nonce: str) -> Entry:
        """The entry of an upload that ``nonce`` holds; raises ``LeaseLost``."""
        entry = self.find(upload_id)
        if entry is None or entry.owner != nonce:
            raise lease_lost(upload_id)
        return entry

    def newest(self, service: str, filepath: str) -> Entry | None:
        """The newest upload to a path, ended or not."""
        upload_id = self._newest.get((service, filepath))
        return None if upload_id is None else self._entries.get(upload_id)

    def room(self) -> float:
        """How many bytes of new parts there is memory for; parts already begun come first."""
        if self.is_pressed:
            return 0
        if not self.settings.memory_limit:
            return math.inf
        free = self.settings.memory_limit
        for entry in self._entries.values():
            free -= sum(map(len, entry.parts.values())) + _missing(entry)
        return max(0, free)

    def tell(self, entry: Entry, error: str = "", error_code: str = "") -> None:
        """Add to the news of an upload."""
        event = Event(
            event_id=f"{next(self._event_ids)}-0",
            state=entry.state.value,
            received=entry.received,
            stored=entry.stored,
            length=entry.length,
            error=error,
            error_code=error_code,
        )
        entry.events = [*entry.events, event][-_MAX_EVENTS:]
        self.news.notify_all()

    def turn_to(self, entry: Entry, state: State, now: int) -> None:
        """Change the state, note that, and have it told soon where anybody is to be told."""
        entry.state = state
        index = entry.history[-1][0] + 1 if entry.history else 1
        if len(entry.history) >= _MAX_CHANGES:
            del entry.history[1]
        entry.history.append((index, state, now))
        if entry.upload_id in self.telling:
            self.telling[entry.upload_id] = now

    def abort(self, entry: Entry, reason: State, now: int) -> None:
        """Let everything accepted go; the worker that finds the upload cleans up at the store."""
        entry.parts.clear()
        self.turn_to(entry, State.ABORTING, now)
        entry.reason, entry.scheduled = reason, True
        entry.another_chance()
        entry.wanted_since = now
        self.due[entry.upload_id] = now + self.rewake_ms
        self.tell(entry)

    def park(self, entry: Entry, error_code: str, error: str, now: int) -> None:
        """Give the upload up for now: everything is kept for requeue."""
        self.turn_to(entry, State.FAILED, now)
        entry.scheduled = False
        entry.let_go()
        entry.error, entry.error_code = error, error_code
        entry.failed_until = now + milliseconds(self.settings.failed_upload_expiry)
        self.due[entry.upload_id] = entry.failed_until
        self.tell(entry, error, error_code)

    def read(self, upload_id: str, start: int, end: int) -> Iterator[bytes]:
        """The received bytes [start, end), piece by piece; see ``stream.read``."""
        at = start
        while at < end:
            with self.turn():
                entry = self.find(upload_id)
                known = entry.parts if entry else {}
                finish = next((finish for finish in known if finish > at), 0)
                data = known.get(finish, b"")
            if not data:
                raise IntegrityError(f"expected bytes from {at} in the stream, found none")
            begin = finish - len(data)
            if begin > at:
                raise IntegrityError(f"bytes {at} to {begin} are missing from the stream")
            yield data[at - begin : end - begin]
            at = finish

    def snapshot(self, entry: Entry, now: int) -> ChunkUpload:
        """The upload as it is now."""
        return ChunkUpload(
            upload_id=entry.upload_id,
            filepath=entry.filepath,
            service=entry.service,
            state=entry.state,
            length=entry.length,
            received=entry.received,
            stored=entry.stored,
            grid=entry.grid,
            content_type=entry.content_type,
            metadata=dict(entry.metadata),
            notes=dict(entry.notes),
            is_partial=entry.keep_ms > 0,
            sources=entry.sources,
            finals=entry.finals,
            created_at=_time(entry.created_at),
            expiry=_time(entry.expires_at),
            termination=entry.termination,
            error=entry.error,
            error_code=entry.error_code,
            holder=entry.worker if entry.owner and entry.lease_until > now else "",
            epoch=entry.epoch,
            attempts=entry.attempts,
            crc32c=entry.crc32c,
            etag=entry.etag,
            history=tuple(
                Change(index=index, state=state, time=_time(at))
                for index, state, at in entry.history
            ),
            session=entry.session,
        )

    def snapshots(self, now: int) -> list[ChunkUpload]:
        """All uploads that are known."""
        return [self.snapshot(entry, now) for entry in self._entries.values()]

    def living(self) -> list[Entry]:
        """All uploads that have not ended."""
        return [entry for entry in self._entries.values() if not has_ended(entry)]


def _missing(entry: Entry) -> int:
    """Bytes until the part that is being filled is whole."""
    open_ = entry.state is State.RECEIVING and not entry.grid.begins(entry.received)
    end = entry.grid.boundary(entry.received)
    return min(end, end if entry.length is None else entry.length) - entry.received if open_ else 0


def has_ended(entry: Entry) -> bool:
    """True once nothing can happen to the upload any more."""
    return entry.state in TERMINAL


def _time(milliseconds_: int) -> datetime:
    return datetime.fromtimestamp(milliseconds_ / 1000, UTC)
