"""All ports: what stores, wake-ups and front doors have to offer. No logic.

A store needs only ``ChunkStore`` and ``ChunkFileService``; every further ability is a Protocol
of its own whose docstring says what is switched off without it. The caller guarantees a
``ChunkFileService`` that it holds the upload's lease, that parts come in order and that part *n*
always holds the same bytes (``chunkferry.parts``). Services translate foreign errors into
``StoreUnavailable`` (try again), ``StoreRefused`` (do not) and ``SessionLost``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from os import PathLike
from typing import IO, TYPE_CHECKING, BinaryIO, Protocol, runtime_checkable

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
    from chunkferry.notifier import Notifier
    from chunkferry.parts import Grid
    from chunkferry.state import State
    from chunkferry.stream import Event
    from chunkferry.upload import ChunkUpload

#: Called by a service each time bytes have moved: it keeps the lease while there is progress.
#: May raise ``LeaseLost``, which the service lets through.
Heartbeat = Callable[[], None]


# --- one upload, part by part -----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of an upload, ready to be stored."""

    #: From 1.
    number: int
    #: Where its first byte stands in the file.
    offset: int
    #: Its bytes; valid only during the call that is given them.
    data: memoryview
    #: CRC32C of ``data``.
    crc32c: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPart:
    """One part that the store has confirmed."""

    number: int
    #: Bytes.
    size: int
    crc32c: int
    #: What ``upload_part`` returned for it.
    receipt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """The finished object, as the store itself describes it."""

    #: Bytes.
    size: int
    #: The store's version tag; empty where it has none.
    etag: str = ""


class Upload(Protocol):
    """What every upload can tell."""

    @property
    def filepath(self) -> str:
        """Where the object goes."""

    @property
    def uploaded(self) -> int:
        """Bytes in the store."""


@runtime_checkable
class ChunkFileService(Protocol):
    """The sequential calls that make one object out of parts. One instance serves one upload."""

    def is_initialized(self) -> bool:
        """True once ``initialize_chunk`` or ``Portable.restore`` has run."""

    def initialize_chunk(self, upload: ChunkUpload) -> None:
        """Open a session at the store. The object must end up carrying ``upload.upload_id``."""

    def upload_part(self, part: Part, heartbeat: Heartbeat) -> str:
        """Store ``part`` durably; return a receipt (up to 512 characters) for ``complete``.

        Repeating it with the same part is harmless.
        """

    def complete_upload(
        self, parts: Sequence[StoredPart], crc32c: int, heartbeat: Heartbeat
    ) -> StoredObject:
        """Make the object visible under its path, verify it, and describe it.

        ``parts`` are all parts in order, ``crc32c`` the checksum of the whole. Until this
        returns, nothing is visible under the path. Repeating it is harmless.

        Raises:
            SessionLost: the session is gone; the caller then asks ``find_object``.
            IntegrityError: the object is not what was uploaded.
        """

    def find_object(self) -> StoredObject | None:
        """The object at the path, if it is whole and carries this upload's id; else None."""

    def cleanup(self, confirm: Heartbeat) -> None:
        """Remove everything unfinished of this upload from the store. Idempotent.

        Also finds what a worker left that died before it could record its session: whatever is
        open for exactly this path. As that may be another upload's once this caller is not the
        holder any more, the service first lists, then calls ``confirm``, which raises
        ``LeaseLost`` to a former holder, and only then removes what it had listed.
        """


@runtime_checkable
class Portable(Protocol):
    """A ``ChunkFileService`` whose state survives its process, so that any worker can go on.

    Without it an upload starts anew whenever a worker hands it over, which is refused: the
    drain requires it of every service.
    """

    def save(self) -> str:
        """The state as text, up to 4 KiB. May hold secrets; is never logged."""

    def restore(self, upload: ChunkUpload, state: str) -> None:
        """Take up ``upload`` with what ``save`` returned; empty before ``initialize_chunk``."""


@runtime_checkable
class Abandoning(Protocol):
    """A service that can drop the session it has just opened, and nothing else.

    Without it, the session of a worker that lost its lease meanwhile waits for ``Reaping``.
    """

    def abandon(self) -> None:
        """Remove what ``initialize_chunk`` of this very instance has opened."""


@runtime_checkable
class Reconciling(Protocol):
    """A service that can tell whether a part is at the store already.

    Without it, a part whose worker died between storing and committing is sent again.
    """

    def find_part(self, part: Part) -> str | None:
        """The receipt of ``part`` if the store holds exactly these bytes; else None."""


@runtime_checkable
class SinglePut(Protocol):
    """A service that can store a whole small object in one fenced request.

    Without it a small object takes the same calls as a large one.
    """

    def put_whole(
        self, upload: ChunkUpload, part: Part, heartbeat: Heartbeat
    ) -> StoredObject | None:
        """Store ``part`` as the whole object, visible at once.

        Only where there is no object yet, and fenced: a late repeat by a worker that lost its
        lease never overwrites another object. ``upload`` has no session.

        Returns:
            The object; or None if there is another one at the path, which takes a session.
        """

    def can_put_whole(self, length: int) -> bool:
        """True if an object of ``length`` bytes may be stored this way."""


@runtime_checkable
class Attesting(Protocol):
    """A service that can tell whether its session is still open at the store.

    Without it, a session that the store has forgotten is noticed at the upload's next part.
    """

    def has_session(self) -> bool:
        """True if the store knows the session that was restored."""


class ChunkFileServiceFactory(Protocol):
    """Makes a ``ChunkFileService`` for each upload."""

    def __call__(self) -> ChunkFileService:
        """A fresh service, not initialized."""


@runtime_checkable
class ChunkStore(Protocol):
    """A configured store: the least a third party has to write."""

    def chunk_file_service(self) -> ChunkFileService:
        """A fresh service for one upload."""


@runtime_checkable
class Reaping(Protocol):
    """A store that can remove what late requests of dead workers left behind.

    Without it such leftovers wait for the store's own lifecycle rules.
    """

    def reap(self, upload: ChunkUpload, may_remove: Callable[[], bool]) -> int:
        """Remove unfinished sessions of an ended upload; return how many.

        The store first lists the sessions of exactly this path, then asks ``may_remove``
        (False once another upload to the path is alive), and only then removes what it listed:
        so a session of a newer upload is never among them.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """Something unfinished at a store, as its listing shows it."""

    #: What the store calls it. Secret, hence never shown.
    name: str = field(repr=False)
    #: How long ago it began or last changed, by the store's own clock.
    age: timedelta
    #: Where the object would go; or where the unfinished file lies, if that is all there is.
    filepath: str
    #: The upload it belongs to; empty where the listing does not tell.
    upload_id: str = ""
    #: False if it may be another program's: then it is shown, and never removed.
    is_ours: bool = True


@runtime_checkable
class Auditing(Protocol):
    """A store that can list all that is unfinished in it, whoever began it.

    Without it, sessions that Redis knows nothing of any more wait for the store's own lifecycle
    rules. The caller guarantees that it first lists, then asks Redis who is alive, and only then
    removes what it had listed: so nothing that began meanwhile is ever among it.
    """

    def unfinished(self) -> Iterator[Unfinished]:
        """Everything unfinished within the store's own bounds, fetched page by page."""

    def weigh(self, found: Unfinished) -> int:
        """The bytes it takes up; 0 if it is gone."""

    def remove(self, found: Unfinished) -> bool:
        """Remove it, and nothing else; False if it is gone, or is not what was listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One feature that only some servers have, as it was found by trying."""

    feature: str
    #: The server has it.
    present: bool
    #: The store makes use of it.
    used: bool
    #: The option of the store's URL that has it used, and the one that has not.
    turn_on: str
    turn_off: str


@runtime_checkable
class Probing(Protocol):
    """A store whose server can be asked what it knows. Without it ``doctor`` takes its word."""

    def probe(self) -> list[Observation]:
        """Try the server's features with an object of our own; leave nothing behind."""


# --- the producers' side ----------------------------------------------------------------------


class Waker(Protocol):
    """Sends wake-ups to the workers. Lossy by contract: a lost one costs seconds, never data."""

    def wake(self, upload_id: str) -> bool:
        """Ask for a drain of the upload; False if that is known not to be on its way.

        Never raises, never blocks for long.
        """

    def join(self, upload_id: str) -> bool:
        """Ask for a turn at joining the upload from others; as ``wake`` in all else."""


@runtime_checkable
class Herald(Protocol):
    """Has workers tell of changes. Without it, a waker leaves them to those that come by."""

    def tell(self) -> bool:
        """Ask for somebody to look what is to be told; True if a message was sent. Never raises."""


class ChunkService(Protocol):
    """Uploading in chunks, resumable."""

    def put_with_status(self, filepath: str, filesize: int | None, reader: BinaryIO) -> Notifier:
        """Start an upload and send what ``reader`` holds."""

    def resume_put_with_status(self, filepath: str, reader: BinaryIO) -> Notifier:
        """Send more data."""

    def get_incomplete_upload(self, filepath: str) -> ChunkUpload | None:
        """The upload to ``filepath`` that has not ended, or None."""

    @property
    def chunk_size(self) -> int:
        """Preferred part size in bytes."""


class ChunkManagementService(Protocol):
    """Something that runs the uploader by itself."""

    def run_uploader(self) -> None:
        """Run until ``shutdown``."""

    def shutdown(self) -> None:
        """End ``run_uploader``."""


# --- the ledger -------------------------------------------------------------------------------


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


# --- whole objects ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadInfo:
    """What a store knows about an object without reading it."""

    exists: bool
    #: With timezone; None if the object does not exist.
    last_modified: datetime | None = None
    #: Bytes.
    content_length: int = 0
    #: Empty where the store keeps none.
    content_type: str = ""
    #: Changes whenever the object does; without quotes.
    etag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """One object of a listing."""

    filepath: str
    #: Empty where a listing does not tell it (S3, folders).
    content_type: str = ""
    #: Bytes.
    size: int = 0


#: Called with the number of bytes that have moved since it was last called: read from the
#: source of an upload, or written to the target of a download. Never by two threads at once;
#: what it raises ends the transfer and comes out unchanged.
Progress = Callable[[int], None]

#: A lazy listing.
ObjectIterator = Iterator[Object]


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadParams:
    """How ``ParallelService.download`` goes about it."""

    #: Ranges fetched at the same time; None for the service's own choice.
    concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedUrlConfig:
    """What a signed URL answers with."""

    #: True to have browsers save the object instead of showing it.
    download: bool = False
    #: The name it is saved under, in any script; sent as RFC 8187 says, with a plain fallback.
    filename: str = ""
    #: For reading: sent in place of the object's own. For writing: what the uploader has to send
    #: as ``Content-Type``, and the object gets; empty to leave it to the uploader.
    content_type: str = ""


@runtime_checkable
class Service(Protocol):
    """Whole objects by path.

    Every method of this and the following ports takes only what ``filepath.check_filepath``
    accepts, else ``InvalidPath``, and raises ``StoreError`` where the store does not say.
    """

    def exists(self, filepath: str) -> bool:
        """True if the object exists. An error is raised, never taken for an answer.

        A folder, that is a path that only others begin with, is no object.
        """

    def get(self, filepath: str) -> IO[bytes]:
        """The object as a readable stream; the caller closes it. FileNotFoundError if absent."""

    def put(self, filepath: str, reader: BinaryIO) -> None:
        """Store all that ``reader`` holds, atomically, in place of what is there."""

    def delete(self, filepath: str) -> None:
        """Remove the object; nothing happens if there is none."""


@runtime_checkable
class HeadService(Protocol):
    """Facts about an object. Without it, sizes are known by reading only."""

    def head(self, filepath: str) -> HeadInfo:
        """What is known; ``exists`` is False for nothing, and for a folder."""


@runtime_checkable
class ListService(Protocol):
    """Listings. Without it nobody can find objects whose paths they do not know."""

    def objects(self, prefix: str = "") -> ObjectIterator:
        """All objects whose path starts with ``prefix``, asked for as the iterator goes on.

        ``prefix`` is text, not a folder: ``a/b`` also finds ``a/bc``. Listed is what the other
        methods can reach: nothing unfinished, nothing under ``.chunkferry/``, no folders. The
        order is the store's own. An object that comes or goes meanwhile may be missed; errors
        are raised by the iterator.
        """


@runtime_checkable
class MD5Service(Protocol):
    """MD5 digests. Without it, comparing takes a download."""

    def md5(self, filepath: str) -> bytes | None:
        """The digest, 16 bytes; None where the store does not know it.

        Raises:
            FileNotFoundError: there is no such object.
        """


@runtime_checkable
class ParallelService(Protocol):
    """Transfers of whole objects over several connections. Without it, one has to do."""

    def download(
        self,
        filepath: str,
        writer: BinaryIO | PathLike[str],
        params: DownloadParams | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Write the object into ``writer``, in order, or into a file at that path.

        The file appears whole, in place of what is there, or not at all; a writer may have got
        a beginning when an error is raised. Never are two versions mixed.

        Raises:
            FileNotFoundError: there is no such object.
            IntegrityError: it changed meanwhile.
            InvalidArgument: ``params.concurrency`` is not 1 or more.
        """

    def upload(
        self,
        filepath: str,
        filesize: int,
        reader: BinaryIO | PathLike[str],
        progress: Progress | None = None,
    ) -> None:
        """Store ``filesize`` bytes of ``reader``, or of the file at that path, atomically.

        Raises:
            LengthMismatch: it holds fewer or more; nothing is stored then.
            InvalidArgument: ``filesize`` is negative.
        """


@runtime_checkable
class RangeService(Protocol):
    """Reads of a part of an object. Without it, a read begins at the first byte."""

    def download_range(self, filepath: str, writer: BinaryIO, start: int, finish: int) -> None:
        """Write bytes [start, finish) into ``writer``, of one version of the object.

        What lies beyond the end of the object is left out: a ``finish`` that is too large ends
        there, a ``start`` beyond it writes nothing. Equal ones write nothing, also both 0.

        Raises:
            FileNotFoundError: there is no such object, whatever the range.
            IntegrityError: the object changed meanwhile.
            InvalidArgument: not 0 <= start <= finish.
        """


@runtime_checkable
class VersionService(Protocol):
    """Reads of exactly the version that ``head`` told of, at the reader's pace.

    Without it, a front door serves whole objects, and no ranges of them.
    """

    def read_version(
        self, filepath: str, etag: str, start: int, finish: int
    ) -> Generator[bytes, None, None]:
        """The bytes [start, finish) of the version ``etag``, piece by piece, 8 MiB at most each.

        Nothing is asked for before the first step, nor read ahead of the reader, who may pause
        for any time between two steps, and closes the generator. No deadline counts here.
        The caller knows the size: 0 <= start <= finish <= size.

        Raises:
            FileNotFoundError: by the first step: there is no such object.
            IntegrityError: by any step: it is another version by now.
        """


@runtime_checkable
class StreamService(Protocol):
    """Sequential reads into a writer."""

    def stream(self, filepath: str, writer: BinaryIO) -> None:
        """Write the whole object into ``writer``, in order, of one version.

        Raises:
            FileNotFoundError: there is no such object.
            IntegrityError: it changed meanwhile.
        """


@runtime_checkable
class SignedUrlService(Protocol):
    """URLs that let anybody read one object for a while."""

    def signed_url(
        self, filepath: str, lifetime: timedelta, config: SignedUrlConfig | None = None
    ) -> str:
        """The URL, valid for ``lifetime`` from now. Whether the object exists is not asked.

        Whoever has the URL may read: it is a secret, and must not be logged.

        Raises:
            InvalidArgument: ``lifetime`` is under a second, or longer than the store allows.
        """


@runtime_checkable
class SignedUrlUploadService(Protocol):
    """URLs that let anybody write one object for a while."""

    def put_signed_url(
        self, filepath: str, lifetime: timedelta, config: SignedUrlConfig | None = None
    ) -> str:
        """The URL, valid for ``lifetime`` from now, for one PUT of the whole object.

        Of ``config`` only ``content_type`` counts.

        Raises:
            InvalidArgument: ``lifetime`` is under a second, or longer than the store allows.
        """


@runtime_checkable
class ServiceWithConcurrency(Protocol):
    """A service with a choice of connections."""

    def set_concurrency(self, concurrency: int) -> None:
        """Use that many at the same time in each later transfer that does not say itself.

        Raises:
            InvalidArgument: it is not 1 or more.
        """


@runtime_checkable
class ServiceWithMimeType(Protocol):
    """A service that can change an object's MIME type."""

    def set_mime_type(self, filepath: str, mime_type: str) -> None:
        """Change it; bytes and metadata stay.

        Raises:
            FileNotFoundError: there is no such object.
        """


@runtime_checkable
class ServiceWithTimeout(Protocol):
    """A service with a deadline. Without it, only each silence of a server is bounded."""

    def set_timeout(self, timeout: timedelta) -> None:
        """Give up every later call on whole objects that takes longer, whatever it waits for.

        Such a call raises ``StoreUnavailable``; what it had asked the store for may still come
        into effect. Of what ``get`` returns, each read is a call. The calls of a
        ``ChunkFileService`` have their lease instead.

        Raises:
            InvalidArgument: it is not above zero.
        """
