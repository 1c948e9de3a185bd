"""One turn: takes what waits in the stream to the store, part by part, and completes the object.

Works under a lease that somebody else has taken and will let go, and leaves what an error means to
them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from chunkferry.config import Settings
from chunkferry.errors import (
    InitError,
    IntegrityError,
    LeaseLost,
    SessionLost,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from chunkferry.moves import Ending
from chunkferry.services import (
    Abandoning,
    ChunkFileService,
    Part,
    Portable,
    Reconciling,
    SinglePut,
    StoredObject,
    StoredPart,
)
from chunkferry.state import State
from chunkferry_worker.lease import Lease
from chunkferry_worker.reader import Buffers, PartReader

#: Told of each part that a store has taken: its service, and how long that took in seconds.
OnPart = Callable[[str, float], None]


@dataclass(slots=True, kw_only=True)
class DrainReport:
    """What one turn did: the result of the Celery task, as Flower shows it."""

    upload_id: str
    #: ``moves.Acquisition`` if the lease was not taken; else ``moves.Release``,
    #: ``moves.Deferral``, the last state of an upload that ended, "lost" or "interrupted".
    outcome: str = ""
    filepath: str = ""
    service: str = ""
    #: Parts stored in this turn.
    parts: int = 0
    #: Their bytes.
    size: int = 0
    #: Bytes of the upload that are in the store now.
    stored: int = 0
    #: Which lease this was.
    epoch: int = 0
    taken_over: bool = False
    #: What went wrong, by its code.
    error: str = ""
    #: The code of what was behind that: of the store's own error, where a session was not begun.
    cause: str = ""


class Turn:
    """The storing half of one turn: initialize, upload parts, complete."""

    def __init__(
        self,
        lease: Lease,
        service: ChunkFileService,
        settings: Settings,
        buffers: Buffers,
        should_stop: Callable[[], bool],
        *,
        on_part: OnPart,
    ) -> None:
        self._lease = lease
        self._service = service
        self._settings = settings
        self._buffers = buffers
        self._should_stop = should_stop
        self._on_part = on_part
        self._upload = lease.upload
        self._stored = lease.upload.stored
        self._crc32c = lease.upload.crc32c
        #: How far the received bytes reached when they were last asked for.
        self.reads_up_to = 0

    def run(self, report: DrainReport) -> State | None:
        """Store what is there; return the last state if the upload ended.

        Raises:
            Aborting: the upload is being removed.
            LeaseLost: another worker holds it.
            ChunkferryError: of the store.
        """
        whole = self._put_whole(report)
        if whole is not None:
            return self._lease.finish(Ending.COMPLETE, whole)
        # A session that was there before may hold parts that were never counted: their worker
        # died before it could, or Redis came back without its newest changes.
        look = self._service.is_initialized()
        try:
            self._initialize()
            self._store_parts(report, look=look)
            if self._stored != self._lease.standing.length:
                return None
            return self._complete()
        except SessionLost:
            return self._without_session()

    def _initialize(self) -> None:
        if self._service.is_initialized():
            return
        try:
            self._service.initialize_chunk(self._upload)
        except StoreError as exc:
            msg = f"upload initialization error: {exc.code}: {exc}"
            raise InitError(msg, retryable=exc.retryable) from exc
        try:
            self._lease.record_session(self._session())
        except LeaseLost:
            # Nobody else will ever know of this session.
            if isinstance(self._service, Abandoning):
                with suppress(StoreError):
                    self._service.abandon()
            raise

    def _session(self) -> str:
        return self._service.save() if isinstance(self._service, Portable) else ""

    def _store_parts(self, report: DrainReport, *, look: bool) -> None:
        """Store parts until the turn is over; ``look`` whether the first ones are there already."""
        deadline = time.monotonic() + self._settings.slice_seconds
        with PartReader(self._lease.read, self._upload, self._buffers) as reader:
            while span := self._span(self._stored):
                last = report.size + span[1] - span[0] >= self._settings.slice_bytes
                then = None if last else self._span(span[1])
                with reader.part(*self._asked(*span), then=then) as part:
                    self._lease.heartbeat()
                    found = self._find(part) if look else None
                    look = found is not None
                    receipt = self._upload_part(part) if found is None else found
                    self._commit(part, receipt, reader.crc32c)
                report.parts += 1
                report.size += span[1] - span[0]
                report.stored = self._stored
                if (
                    report.size >= self._settings.slice_bytes
                    or time.monotonic() >= deadline
                    or self._should_stop()
                ):
                    return

    def _asked(self, start: int, end: int) -> tuple[int, int]:
        self.reads_up_to = end
        return start, end

    def _span(self, start: int) -> tuple[int, int] | None:
        """The part that starts at ``start``, if all its bytes are received."""
        received, length = self._lease.standing.received, self._lease.standing.length
        boundary = self._upload.grid.boundary(start)
        if received >= boundary:
            return start, boundary
        if received == length and start < received:
            return start, received
        return None

    def _find(self, part: Part) -> str | None:
        """The receipt of ``part`` if it is at the store; None too where the store cannot tell."""
        if isinstance(self._service, Reconciling):
            # Whoever may not look may still send; a repeat does no harm.
            with suppress(StoreRefused):
                return self._service.find_part(part)
        return None

    def _upload_part(self, part: Part) -> str:
        began = time.monotonic()
        receipt = self._service.upload_part(part, self._lease.heartbeat)
        self._on_part(self._upload.service, time.monotonic() - began)
        return receipt

    def _commit(self, part: Part, receipt: str, crc32c: int) -> None:
        size = len(part.data)
        stored = StoredPart(number=part.number, size=size, crc32c=part.crc32c, receipt=receipt)
        finish = part.offset + size
        self._lease.commit(
            part.offset, stored, crc32c=crc32c, boundary=self._upload.grid.boundary(finish)
        )
        self._stored, self._crc32c = finish, crc32c

    def _complete(self) -> State:
        self._lease.begin_complete()
        parts = self._lease.stored_parts()
        self._require_contiguous(parts)
        self._lease.heartbeat()
        made = self._service.complete_upload(parts, self._crc32c, self._lease.heartbeat)
        return self._lease.finish(Ending.COMPLETE, self._require_whole(made))

    def _put_whole(self, report: DrainReport) -> StoredObject | None:
        """Store a small file that is all there in one request, where the store can."""
        upload, service = self._upload, self._service
        length = self._lease.standing.length
        if (
            length is None
            or self._lease.standing.received != length
            or length > upload.grid.boundary(0)
            or self._stored
            or service.is_initialized()
            or not isinstance(service, SinglePut)
            or not service.can_put_whole(length)
        ):
            return None
        self._lease.begin_complete(whole=True)
        with (
            PartReader(self._lease.read, upload, self._buffers) as reader,
            reader.part(*self._asked(0, length), then=None) as part,
        ):
            self._lease.heartbeat()
            began = time.monotonic()
            made = service.put_whole(upload, part, self._lease.heartbeat)
        if made is None:
            return None
        self._on_part(upload.service, time.monotonic() - began)
        report.parts, report.size, report.stored = 1, length, length
        return self._require_whole(made)

    def _without_session(self) -> State:
        """The store forgot the session: the object may be there, or everything may be lost.

        Raises:
            SessionLost: stored parts are gone, and their bytes are freed here.
            StoreUnavailable: nothing was stored yet; the next turn begins anew.
        """
        found = self._service.find_object()
        if found is not None:
            return self._lease.finish(Ending.ADOPTED, found)
        if self._stored:
            raise SessionLost(
                f"the store lost the session with {self._stored} stored bytes: "
                "cancel the upload and send the file again"
            )
        self._lease.record_session("", expected=self._session())
        raise StoreUnavailable("the store lost the session before a part was stored")

    def _require_contiguous(self, parts: list[StoredPart]) -> None:
        expected = [end - start for start, end in self._upload.grid.ranges(self._stored)]
        if [part.size for part in parts] != expected:
            raise IntegrityError(
                f"{len(parts)} parts of {sum(part.size for part in parts)} bytes are recorded, "
                f"expected {len(expected)} of {self._stored}"
            )

    def _require_whole(self, made: StoredObject) -> StoredObject:
        length = self._lease.standing.length
        if made.size != length:
            raise IntegrityError(f"the object has {made.size} bytes, expected {length}")
        return made
