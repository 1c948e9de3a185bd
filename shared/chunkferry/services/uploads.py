"""Ports of one upload, part by part: what a store needs to take uploads, and what it may add.

A store needs only ``ChunkStore`` and ``ChunkFileService``; every further ability is a Protocol
of its own whose docstring says what is switched off without it. The caller guarantees a
``ChunkFileService`` that it holds the upload's lease, that parts come in order and that part *n*
always holds the same bytes (``chunkferry.parts``). Services translate foreign errors into
``StoreUnavailable`` (try again), ``StoreRefused`` (do not) and ``SessionLost``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from chunkferry.upload import ChunkUpload

#: Called by a service each time bytes have moved: it keeps the lease while there is progress.
#: May raise ``LeaseLost``, which the service lets through.
Heartbeat = Callable[[], None]


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
