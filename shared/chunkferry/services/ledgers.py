"""Ports of the ledger: what is known of all uploads, a role each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from chunkferry.backlog import Backlog
    from chunkferry.moves import (
        Accepted,
        Acquisition,
        Created,
        Deferral,
        Draft,
        Ending,
        Letter,
        Recording,
        Release,
        Rousing,
        Standing,
        Termination,
        Told,
        Turn,
    )
    from chunkferry.parts import Grid
    from chunkferry.services.uploads import StoredPart
    from chunkferry.state import State
    from chunkferry.stream import Event
    from chunkferry.upload import ChunkUpload


class Intake(Protocol):
    """The producers' moves."""

    def create(self, draft: Draft) -> Created:
        """Begin an upload.

        Raises:
            UploadInProgress: another one to the same path has not ended.
            TooManyUploads: ``settings.max_open_uploads`` have not ended.
            Backpressure: Redis is full.
        """

    def append(
        self, upload_id: str, start: int, pieces: Sequence[memoryview], grid: Grid
    ) -> Accepted:
        """Accept ``pieces``, which follow one another from offset ``start``, all or none.

        Args:
            upload_id: the upload.
            start: offset of the first byte.
            pieces: as ``parts.entries`` cuts them, ``config.APPEND_BATCH`` bytes at most. Bytes
                that were received before are compared as far as possible, and acknowledged.
            grid: of the upload; see ``Records.grid``.

        Raises:
            UploadNotFound: there is no such upload.
            UploadClosed: it takes no more data.
            OffsetMismatch: ``start`` is not where the received bytes end.
            LengthMismatch: this is more than was announced.
            ContentConflict: other bytes were received here before.
            Backpressure: the window or Redis is full.
            RedisUnavailable: nobody answers; the same call again tells what was accepted.
        """

    def set_length(self, upload_id: str, length: int) -> bool:
        """Say how long the file is; True if a wake-up is to be sent.

        Raises:
            UploadNotFound: there is no such upload.
            LengthMismatch: more was received, or another length announced.
            UploadClosed: the length cannot change any more.
        """

    def ensure_durable(self, upload_id: str, received: int, length: int | None = None) -> None:
        """Return once what producers wrote before is as durable as the settings ask.

        Args:
            upload_id: the upload.
            received: bytes that are to be there; 0 for the upload itself.
            length: that is to be known; None for any.

        Raises:
            UploadNotFound: there is no such upload any more.
            OffsetMismatch: Redis came back with fewer bytes than ``received``.
            NotDurable: disk or replicas did not answer in time, or the length got lost.
        """

    def cancel(self, upload_id: str) -> bool:
        """Have the upload removed; False if that was asked before.

        Raises:
            UploadNotFound: there is no such upload.
            UploadClosed: it is complete, being completed, or expired.
        """

    def requeue(self, upload_id: str) -> bool:
        """Give a failed upload another chance; True if a wake-up is to be sent.

        Raises:
            UploadNotFound: there is no such upload.
            UploadClosed: it has not failed.
        """

    def terminate(self, upload: ChunkUpload, *, deleted: bool) -> Termination:
        """Note that the object of a complete upload is about to be deleted, or has been.

        In between no other upload to its path begins: the object there stays this upload's.

        Raises:
            UploadNotFound: there is no such upload.
            UploadClosed: it is not complete.
        """


class Leases(Protocol):
    """The workers' moves. Each raises ``LeaseLost`` unless ``nonce`` is that of the holder."""

    def acquire(self, upload_id: str, nonce: str, worker: str) -> Acquisition:
        """Try to take the lease, shown as held by ``worker``."""

    def renew(self, upload_id: str, nonce: str) -> Standing:
        """Keep the lease for another term."""

    def record_session(
        self, upload_id: str, nonce: str, expected: str, session: str
    ) -> Recording | str:
        """Remember what ``Portable.save`` returned, in place of ``expected``.

        Returns:
            What came of it; or the session that is recorded if it is not ``expected``.
        """

    def commit(
        self,
        upload_id: str,
        nonce: str,
        start: int,
        part: StoredPart,
        *,
        crc32c: int,
        boundary: int,
        session: str = "",
    ) -> Standing:
        """Count ``part`` as stored and free its bytes. The same call again changes nothing.

        Args:
            upload_id: the upload.
            nonce: of the lease.
            start: offset of the part: how much was stored before.
            part: what the store confirmed.
            crc32c: of all stored bytes, these included.
            boundary: where the next part ends.
            session: that the part is in, as recorded: a Redis that came back without its newest
                changes may not know it.
        """

    def release(self, upload_id: str, nonce: str) -> Release:
        """Let the lease go, and look once more whether there is work."""

    def defer(
        self, upload_id: str, nonce: str, backoff: timedelta, error_code: str, error: str
    ) -> Deferral:
        """Let the lease go; nobody takes it before ``backoff`` is over."""

    def fail(self, upload_id: str, nonce: str, error_code: str, error: str) -> None:
        """Give the upload up until ``requeue``. ``LeaseLost`` also if it is being removed."""

    def begin_complete(self, upload_id: str, nonce: str, *, whole: bool = False) -> bool:
        """Fix the direction: complete. False if the upload is being removed.

        ``whole``: before one request stores all that was received, instead of after the parts.

        Raises:
            LeaseLost: also where bytes are missing.
        """

    def finish(
        self, held: ChunkUpload, nonce: str, ending: Ending, *, size: int = 0, etag: str = ""
    ) -> State:
        """End the upload; return its last state. ``size`` and ``etag`` are the object's."""

    def read(self, upload_id: str, start: int, end: int) -> Iterator[bytes]:
        """The received bytes [start, end), piece by piece.

        Raises:
            IntegrityError: some are missing; normal for a former holder.
        """

    def stored_parts(self, upload_id: str) -> list[StoredPart]:
        """All stored parts, in order."""


class Agenda(Protocol):
    """The moves of the sweep."""

    def due(self, limit: int = 100) -> list[str]:
        """Uploads to look at now."""

    def attend(self) -> int:
        """Say that a sweep looks; return for how long silence is still forgiven, in milliseconds.

        After a time without any sweep, in which no producer may have been heard, nothing expires
        for as long again.
        """

    def rouse(self, upload_id: str, forgiven_ms: int = 0) -> Rousing:
        """Look at one: expire it, ask for a wake-up, or say when to look again."""

    def graves(self, limit: int = 100) -> list[str]:
        """Ended uploads to look after once more at their store."""

    def forget_grave(self, upload_id: str) -> None:
        """Nothing of it is left there."""


class Joins(Protocol):
    """The moves of uploads that are joined from others, and of those others.

    A joined upload takes its bytes by ``Intake.append`` like any other: whoever joins needs no
    lease, and two who do it at once do no harm.
    """

    def due(self, limit: int = 100) -> list[str]:
        """Joined uploads to look at now."""

    def linger(self, upload_id: str, pause: timedelta, *, waiting: bool = False) -> None:
        """Look at a joined upload again after ``pause``.

        ``waiting``: others are still being received, so it must not expire for its silence.
        """

    def forget(self, upload_id: str) -> None:
        """Nothing is left to be done for a joined upload, nor for those it is joined from."""

    def link(self, partial_ids: Sequence[str], final_id: str) -> None:
        """Note that ``final_id`` needs partial uploads: it is told when one of them ends."""

    def give_up(self, upload_id: str, error_code: str, error: str) -> bool:
        """Fail an upload that cannot be joined until ``requeue``; False if it takes no data."""

    def spent(self, limit: int = 100) -> list[str]:
        """Partial uploads whose objects are not needed any more."""

    def keep(self, uploads: Sequence[ChunkUpload], span: timedelta, final_id: str = "") -> None:
        """Keep the objects of partial uploads for ``span`` from now, and their records for longer.

        Nothing where ``final_id``, which asks for it, is not noted: it has let them go before.
        """

    def spend(self, uploads: Sequence[ChunkUpload], final_id: str, *, whole: bool) -> None:
        """Note that ``final_id`` needs partial uploads no more.

        ``whole``: because it has their bytes, so they may go once no other needs them; not before
        late requests of dead workers have come to an end.
        """

    def discard(self, upload: ChunkUpload) -> None:
        """The object of a partial upload is gone: forget it. Nothing if it has not ended."""

    def forget_partial(self, upload_id: str) -> None:
        """Nothing is known of a partial upload any more."""


class Records(Protocol):
    """Questions about uploads."""

    def get(self, upload_id: str) -> ChunkUpload:
        """The upload as it is now; raises ``UploadNotFound``."""

    def get_all(self, upload_ids: Sequence[str]) -> list[ChunkUpload | None]:
        """Each upload as it is at one moment, in this order; None for those that are not known."""

    def find(self, service: str, filepath: str) -> ChunkUpload | None:
        """The newest upload to a path, ended or not."""

    def list_uploads(self) -> Iterator[ChunkUpload]:
        """All uploads that are known: ended ones until their records vanish."""

    def grid(self, upload_id: str) -> Grid:
        """The part grid of an upload; raises ``UploadNotFound``."""

    def events(self, upload_id: str, after: str, block_ms: int | None = None) -> list[Event]:
        """What happened after the event ``after``, waiting up to ``block_ms`` for news."""

    def last_event_id(self, upload_id: str) -> str:
        """The id of the newest event; "0" if there is none."""


class Health(Protocol):
    """How the uploads are doing as a whole."""

    def backlog(self) -> Backlog:
        """All uploads that have not ended, added up.

        Costs one round trip, and one for each 1,000 uploads, with two short reads for each
        upload: meant to be asked every few seconds, not with every request. The uploads are read
        one after the other, not at one moment.
        """


class Totals(Protocol):
    """What all processes have counted together, for metrics: nothing is decided by it."""

    def add(self, counts: Mapping[str, int]) -> None:
        """Add to the fields that ``families`` names, to all of them or none.

        Raises:
            RedisUnavailable: or that only the answer got lost.
        """

    def read(self) -> dict[str, int]:
        """All fields, in one round trip."""


class Telling(Protocol):
    """Whom to tell of which change. An upload is told of by one teller at a time."""

    def due(self, limit: int = 100) -> list[str]:
        """Uploads that may have news."""

    def begin(self, upload_id: str, nonce: str, span: timedelta) -> Turn | None:
        """Take the turn for ``span``; None if another has it, or the upload is gone."""

    def note(self, turn: Turn, told: str, span: timedelta) -> bool:
        """Remember ``told`` and keep the turn; False if another one has it by now."""

    def end(self, turn: Turn, told: str, pause: timedelta | None) -> Told:
        """Let the turn go. ``pause`` is until the next look; None if all changes are told.

        Once the upload has ended and all is told, its record has the rest of ``result_ttl``.
        """


class Letters(Protocol):
    """What could not be told: kept for 30 days, the newest of them."""

    def add(self, letter: Letter) -> None:
        """One more."""

    def dead(self) -> list[Letter]:
        """All that wait for somebody to decide, oldest first."""

    def send_again(self, letter: Letter) -> None:
        """Have a dead letter told once more."""

    def waiting(self, limit: int = 10) -> list[Letter]:
        """Letters to be told once more."""

    def settle(self, letter: Letter, error: str = "") -> None:
        """A letter of ``waiting`` was told, or is dead again with ``error``."""


class Principals(Protocol):
    """Whose uploads are open. Kept only where quotas are on; protective, not exact."""

    def note(self, principal: str, upload_id: str) -> None:
        """An upload of ``principal`` has begun. The same call again changes nothing."""

    def uploads_of(self, principal: str) -> list[ChunkUpload]:
        """The uploads of ``principal`` that were noted and have not ended, oldest first.

        One round trip to each server, with a short read for each upload.
        """


class Ledger(Protocol):
    """Everything that is known of uploads, and every way to change it."""

    @property
    def intake(self) -> Intake:
        """For producers."""

    @property
    def leases(self) -> Leases:
        """For workers."""

    @property
    def agenda(self) -> Agenda:
        """For the sweep."""

    @property
    def joins(self) -> Joins:
        """For uploads that are joined from others."""

    @property
    def records(self) -> Records:
        """For everybody."""

    @property
    def health(self) -> Health:
        """For operators."""

    @property
    def totals(self) -> Totals:
        """For metrics."""

    @property
    def telling(self) -> Telling:
        """For whoever tells of changes."""

    @property
    def letters(self) -> Letters:
        """For what could not be told."""

    @property
    def principals(self) -> Principals:
        """For front doors with quotas."""
