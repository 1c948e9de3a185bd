"""``GcsFileService``: one upload as a resumable session, fenced by it.

A session takes bytes in one order and makes at most one object: whatever a worker that lost its
lease sends late repeats bytes that are there, or finds no session. It takes multiples of 256 KiB
only, but for the request that makes the object, and that one must not come before the upload's
direction is fixed. So what the last part has beyond such a multiple waits in an object of its
own, under a name that no filepath has, and is taken from there when the upload is completed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from chunkferry.errors import IntegrityError, SessionLost, StoreUnavailable
from chunkferry.parts import PART_SIZE_UNIT
from chunkferry.services import Heartbeat, Part, StoredObject, StoredPart
from chunkferry.storage import manifest
from chunkferry.storage.bound import BoundService
from chunkferry.storage.gcs import metadata

if TYPE_CHECKING:
    from chunkferry.storage.gcs.bucket import Bucket, Found
    from chunkferry.storage.gcs.session import Session
    from chunkferry.upload import ChunkUpload

#: Largest object that takes one request: the SDK copies it.
_MAX_WHOLE: Final = 32 * 1024 * 1024


class GcsFileService(BoundService):
    """One upload into a bucket. Its state is the URI of its session."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__()
        self._bucket: Final = bucket
        self._opened: Session | None = None

    def restore(self, upload: ChunkUpload, state: str) -> None:
        """Take up ``upload``."""
        super().restore(upload, state)
        self._opened = None

    def initialize_chunk(self, upload: ChunkUpload) -> None:
        """Open a session; the object will carry the upload's id and metadata."""
        self._bound = upload
        self._state = self._bucket.open_session(self._key, upload)
        self._opened = None

    def upload_part(self, part: Part, heartbeat: Heartbeat) -> str:
        """Add what the session lacks of ``part``; the receipt is its checksum."""
        whole = len(part.data) // PART_SIZE_UNIT * PART_SIZE_UNIT
        self._session.store(part.data[:whole], part.offset, heartbeat)
        if tail := bytes(part.data[whole:]):
            heartbeat()
            self._bucket.put(self._tail_key, tail)
        return f"{part.crc32c:08x}"

    def complete_upload(
        self, parts: Sequence[StoredPart], crc32c: int, heartbeat: Heartbeat
    ) -> StoredObject:
        """Have the session make its object, and hold that against ``parts``."""
        size = manifest.total_size(parts)
        rest = size % PART_SIZE_UNIT
        heartbeat()
        try:
            self._session.finish(lambda: self._tail(rest), size, crc32c)
        except SessionLost as exc:
            # An earlier call may have succeeded and only its answer was lost.
            found = self._find(size)
            if found is None:
                msg = f"the session of {self._key!r} is gone, and the object is not ours"
                raise SessionLost(msg) from exc
        heartbeat()
        made = self._verified(size, crc32c)
        if rest:
            self._bucket.delete(self._tail_key)
        return made

    def find_object(self) -> StoredObject | None:
        """The object, if its metadata has this upload's id and its size is right."""
        found = self._find(self._upload.length)
        return None if found is None else _described(found)

    def abandon(self) -> None:
        """Cancel the session of this instance."""
        self._session.cancel()

    def cleanup(self, confirm: Heartbeat) -> None:
        """Cancel the session and remove the waiting end.

        Google lists no sessions: one whose worker died before it was recorded ends by itself after
        a week. Nobody can write to it, as nobody knows its URI.
        """
        tail = self._tail_key
        confirm()
        if self._state:
            self._session.cancel()
        self._bucket.delete(tail)

    def can_put_whole(self, length: int) -> bool:
        """True for objects up to 32 MiB."""
        return length <= _MAX_WHOLE

    def put_whole(
        self, upload: ChunkUpload, part: Part, heartbeat: Heartbeat
    ) -> StoredObject | None:
        """Store the object on the condition that there is none under its name.

        Generations never come back, so one that is there could be replaced on the condition of
        its own; but whoever looks late would find the next upload's.
        """
        self._bound = upload
        before = self._bucket.head(self._key)
        if before is not None:
            return _described(before) if self._is_ours(before, len(part.data)) else None
        heartbeat()
        try:
            return _described(self._bucket.put(self._key, bytes(part.data), upload, generation=0))
        except StoreUnavailable:
            # Refused because there is an object: of an earlier try of ours, or of somebody else.
            found = self._find(len(part.data))
            if found is None:
                raise
            return _described(found)

    @property
    def _key(self) -> str:
        return self._bucket.key(self._upload.filepath)

    @property
    def _tail_key(self) -> str:
        return self._bucket.tail_key(self._upload.upload_id)

    @property
    def _session(self) -> Session:
        if self._opened is None:
            self._opened = self._bucket.session(self._state, self._key)
        return self._opened

    def _tail(self, size: int) -> bytes:
        """The last ``size`` bytes, which no session has yet.

        Raises:
            IntegrityError: there are fewer or more.
        """
        if not size:
            return b""
        found = self._bucket.read(self._tail_key) or b""
        if len(found) != size:
            msg = f"{len(found)} bytes of the end of {self._key!r} wait, expected {size}"
            raise IntegrityError(msg)
        return found

    def _verified(self, size: int, crc32c: int) -> StoredObject:
        found = self._bucket.head(self._key)
        if found is None or found.metadata.get(metadata.UPLOAD_ID) != self._upload.upload_id:
            # The session made it; since then it was replaced or removed.
            msg = f"{self._key!r} was completed, but another object or none is there"
            raise SessionLost(msg)
        expected = {
            "size": (size, found.size),
            "CRC32C": (f"{crc32c:08x}", f"{found.crc32c:08x}"),
        }
        for what, (wanted, actual) in expected.items():
            if wanted != actual:
                msg = f"{self._key!r} was completed with {what} {actual}, expected {wanted}"
                raise IntegrityError(msg)
        return _described(found)

    def _find(self, size: int | None) -> Found | None:
        found = self._bucket.head(self._key)
        return found if found is not None and self._is_ours(found, size) else None

    def _is_ours(self, found: Found, size: int | None) -> bool:
        carries = found.metadata.get(metadata.UPLOAD_ID) == self._upload.upload_id
        return carries and size in {None, found.size}


def _described(found: Found) -> StoredObject:
    return StoredObject(size=found.size, etag=found.etag)
