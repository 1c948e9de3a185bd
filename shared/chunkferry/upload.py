"""``ChunkUpload``: a frozen picture of one upload, as Redis knew it at one moment."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from chunkferry.parts import MAX_LENGTH, Grid
from chunkferry.state import REMOVED, TERMINAL, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An upload came into a state."""

    #: From 1, for each upload; never used twice.
    index: int
    state: State
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkUpload:
    """One upload. Its moves are ``ChunkManager.append``, ``set_length``, ``cancel``, ….

    All sizes and offsets are in bytes.
    """

    upload_id: str
    #: Where the object goes, relative to the root or prefix of its service.
    filepath: str
    #: Name of the configured store.
    service: str
    state: State
    #: Bytes of the whole file; None while nobody has said.
    length: int | None
    #: Bytes accepted from the producer: the offset of the next append.
    received: int = 0
    #: Bytes in the store.
    stored: int = 0
    #: Which bytes make which part.
    grid: Grid
    #: The object's MIME type; empty for the store's default.
    content_type: str = ""
    #: The caller's own notes; stored with the object where the store can.
    metadata: Mapping[str, str] = field(default_factory=dict)
    #: Of whoever took the upload in, such as whose it is; not kept with the object.
    notes: Mapping[str, str] = field(default_factory=dict)
    #: True if its object is only there to be joined into that of another upload.
    is_partial: bool = False
    #: The uploads it is joined from, in this order; none if a producer sends its bytes.
    sources: tuple[str, ...] = ()
    #: The uploads that need a partial one, to be joined from it.
    finals: tuple[str, ...] = ()
    created_at: datetime
    #: When the upload is given up if its producer stays silent.
    expiry: datetime
    #: Of a complete upload whose object is taken back on request: ``begun`` while it is being
    #: deleted, ``done`` once it is; else empty.
    termination: str = ""
    #: Why it failed, as a sentence; empty if it did not.
    error: str = ""
    #: ``code`` of that error.
    error_code: str = ""
    #: The worker that holds the lease; empty if none does.
    holder: str = ""
    #: Counts the leases so far: of two holders, the one with the higher epoch is the later.
    epoch: int = 0
    #: Failed tries since the last stored part.
    attempts: int = 0
    #: CRC32C of the stored bytes.
    crc32c: int = 0
    #: What the store calls the object's version; empty unless it is complete and the store tells.
    etag: str = ""
    #: Its changes of state, oldest first: the first one and the newest 63. Changes that a worker of
    #: version 0.1 made are missing, or noted when somebody of a later one came by.
    history: tuple[Change, ...] = ()
    #: What the store's ``ChunkFileService`` saved to go on with; secret, hence never shown.
    session: str = field(default="", repr=False)

    @property
    def uploaded(self) -> int:
        """Bytes in the store."""
        return self.stored

    @property
    def max_size(self) -> int:
        """Most bytes it may have, as a front door has noted."""
        return int(self.notes.get("max_size", MAX_LENGTH))

    @property
    def is_complete(self) -> bool:
        """True once the object is whole and verified in the store."""
        return self.state is State.COMPLETE

    @property
    def is_removed(self) -> bool:
        """True once it was given up, cancelled or taken back: nothing leads back from there."""
        return self.state in REMOVED or bool(self.termination)

    @property
    def is_processing(self) -> bool:
        """True while a worker holds the upload."""
        return bool(self.holder)

    @property
    def has_ended(self) -> bool:
        """True once nothing can happen to the upload any more."""
        return self.state in TERMINAL

    @property
    def chunks(self) -> int | None:
        """Number of parts of the whole file; None while its length is not known."""
        return None if self.length is None else self._parts_in(self.length)

    @property
    def num_received_parts(self) -> int:
        """Number of parts of which all bytes are received."""
        if self.length is not None and self.received == self.length:
            return self._parts_in(self.length)
        whole = 0
        for _, end in self.grid.ranges(self.received):
            whole += self.grid.boundary(end - 1) == end
        return whole

    def _parts_in(self, length: int) -> int:
        return sum(1 for _ in self.grid.ranges(length))


def from_hashes(
    upload_id: str, intake: Mapping[str, str], work: Mapping[str, str], now_ms: int
) -> ChunkUpload:
    """The upload that the two hashes of ``keys`` describe.

    Args:
        upload_id: the upload.
        intake: its ``keys.intake`` hash.
        work: its ``keys.work`` hash.
        now_ms: the server's clock, by which a lease is or is not over.
    """
    length = int(intake["length"])
    holds = bool(work.get("owner")) and int(work.get("lease_until", "0")) > now_ms
    return ChunkUpload(
        upload_id=upload_id,
        filepath=intake["filepath"],
        service=intake["service"],
        state=State(intake["state"]),
        length=None if length < 0 else length,
        received=int(intake["received"]),
        stored=int(work.get("stored", "0")),
        grid=Grid.load(intake["grid"]),
        content_type=intake["content_type"],
        metadata=json.loads(intake["metadata"]),
        # Uploads that began under version 0.1 have none.
        notes=json.loads(intake.get("notes", "{}")),
        is_partial=int(intake.get("keep_ms", "0")) > 0,
        sources=tuple(json.loads(intake.get("sources", "[]"))),
        finals=tuple(intake.get("finals", "").split()),
        created_at=_time(intake["created_at"]),
        expiry=_time(intake["expires_at"]),
        termination=intake.get("termination", ""),
        error=work.get("error", ""),
        error_code=work.get("error_code", ""),
        holder=work.get("worker", "") if holds else "",
        epoch=int(work.get("epoch", "0")),
        attempts=int(work.get("attempts", "0")),
        crc32c=int(work.get("crc32c", "0")),
        etag=intake.get("etag", ""),
        history=tuple(_changes(intake.get("history", ""))),
        session=work.get("session", ""),
    )


def _changes(history: str) -> Iterator[Change]:
    for text in filter(None, history.split(";")):
        index, state, milliseconds = text.split(":")
        yield Change(index=int(index), state=State(state), time=_time(milliseconds))


def _time(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
