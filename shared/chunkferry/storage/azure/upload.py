"""``AzureFileService``: one upload as blocks of a blob, fenced by their names.

Azure has no sessions: uncommitted blocks belong to a blob's name, and whoever commits any list, or
replaces the blob, discards all the others. So an upload begins with a block of its own, its mark.
While the mark is there, nobody has committed since; the list is committed on the condition that
the blob is as it was before the mark was seen. A late completion finds its mark gone, or the blob
changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from chunkferry.errors import IntegrityError, SessionLost, StoreUnavailable
from chunkferry.services import Heartbeat, Part, StoredObject, StoredPart
from chunkferry.storage import manifest
from chunkferry.storage.azure import blocks, metadata
from chunkferry.storage.azure.container import bare
from chunkferry.storage.body import no_heartbeat
from chunkferry.storage.bound import BoundService

if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties

    from chunkferry.storage.azure.container import Container
    from chunkferry.upload import ChunkUpload

#: Largest object that takes one request: the SDK copies it.
_MAX_WHOLE: Final = 32 * 1024 * 1024
#: Tries to complete while somebody else changes the old blob.
_ROUNDS: Final = 3
#: What a mark holds; Azure takes no empty block.
_MARK: Final = memoryview(b"\0")


class AzureFileService(BoundService):
    """One upload into a container. Its state is the name of its mark."""

    def __init__(self, container: Container) -> None:
        super().__init__()
        self._container: Final = container

    def initialize_chunk(self, upload: ChunkUpload) -> None:
        """Set the mark."""
        self._bound = upload
        metadata.encode(upload.upload_id, upload.metadata)  # refused now, not after the last byte
        mark = blocks.mark(upload.upload_id)
        self._container.stage(self._key, mark, _MARK, no_heartbeat)
        self._state = mark

    def upload_part(self, part: Part, heartbeat: Heartbeat) -> str:
        """Send ``part`` as a block; the receipt is its checksum, which is in the block's name."""
        name = blocks.of_part(self._upload.upload_id, part)
        self._container.stage(self._key, name, part.data, heartbeat)
        return f"{part.crc32c:08x}"

    def find_part(self, part: Part) -> str | None:
        """The receipt, if there is a block with this part's name and size."""
        found = self._container.uncommitted(self._key)
        name = blocks.of_part(self._upload.upload_id, part)
        return f"{part.crc32c:08x}" if found.get(name) == len(part.data) else None

    def complete_upload(
        self, parts: Sequence[StoredPart], crc32c: int, heartbeat: Heartbeat
    ) -> StoredObject:
        """Make the blob of exactly ``parts``, and hold it against them."""
        size = manifest.total_size(parts)
        names = [blocks.of_part(self._upload.upload_id, part) for part in parts]
        described = metadata.encode(self._upload.upload_id, self._upload.metadata)
        described[metadata.CRC32C] = f"{crc32c:08x}"
        for _ in range(_ROUNDS):
            heartbeat()
            # In this order: whoever commits after the look at the mark changes the blob.
            before = self._container.head(self._key)
            if not self._has_all(parts):
                return self._made_before(size)
            heartbeat()
            if self._container.commit(
                self._key, names, before, described, self._upload.content_type
            ):
                heartbeat()
                return self._verified(size)
        msg = f"{self._key!r} was changed by others each time it was about to be completed"
        raise StoreUnavailable(msg)

    def find_object(self) -> StoredObject | None:
        """The blob, if its metadata has this upload's id and its size is right."""
        return self._find(self._upload.length)

    def cleanup(self, confirm: Heartbeat) -> None:
        """Discard the upload's blocks, where that touches no object.

        Blocks are discarded by committing others. A former holder must not discard those of the
        next upload to the path: so what is committed is a guard, a block that was sent before the
        lease was confirmed, and that is gone once anybody else has cleaned up. It makes a blob of
        one byte for the moment until it is deleted. Where there is an object, the blocks wait for
        the next commit, or for a week.
        """
        before = self._container.head(self._key)
        if before is not None:
            confirm()
            if self._is_discarded(before):
                self._container.delete(self._key, before)
            return
        if not self._blocks():
            return
        upload_id = self._upload.upload_id
        guard = blocks.guard(upload_id)
        self._container.stage(self._key, guard, _MARK, no_heartbeat)
        confirm()
        self._container.commit(
            self._key, [guard], None, {metadata.UPLOAD_ID: upload_id, metadata.DISCARDED: "1"}
        )
        made = self._container.head(self._key)
        if made is not None and self._is_discarded(made):
            self._container.delete(self._key, made)

    def can_put_whole(self, length: int) -> bool:
        """True for objects up to 32 MiB."""
        return length <= _MAX_WHOLE

    def put_whole(
        self, upload: ChunkUpload, part: Part, heartbeat: Heartbeat
    ) -> StoredObject | None:
        """Store the blob on the condition that there is none at its name."""
        self._bound = upload
        size = len(part.data)
        described = metadata.encode(upload.upload_id, upload.metadata)
        described[metadata.CRC32C] = f"{part.crc32c:08x}"
        before = self._container.head(self._key)
        if before is not None:
            return _described(before) if self._is_ours(before, size) else None
        heartbeat()
        etag = self._container.put(self._key, part.data, described, upload.content_type)
        if etag is not None:
            return StoredObject(size=size, etag=etag)
        # Refused because there is a blob: of an earlier try of ours, or of somebody else.
        found = self._find(size)
        if found is None:
            msg = f"storing {self._key!r}: there is another blob by now (HTTP 409)"
            raise StoreUnavailable(msg)
        return found

    @property
    def _key(self) -> str:
        return self._container.key(self._upload.filepath)

    def _blocks(self) -> dict[str, int]:
        """The upload's own uncommitted blocks."""
        owner = blocks.owner(self._upload.upload_id)
        found = self._container.uncommitted(self._key)
        return {name: size for name, size in found.items() if name.startswith(owner)}

    def _has_all(self, parts: Sequence[StoredPart]) -> bool:
        """True if all blocks are there; False if there is no upload any more.

        Raises:
            IntegrityError: the upload is there, and a part of it is not.
        """
        found = self._blocks()
        if blocks.mark(self._upload.upload_id) not in found:
            return False
        for part in parts:
            actual = found.get(blocks.of_part(self._upload.upload_id, part))
            if actual != part.size:
                msg = (
                    f"part {part.number} of {self._key!r} has {actual or 'no'} bytes at the store, "
                    f"expected {part.size}"
                )
                raise IntegrityError(msg)
        return True

    def _made_before(self, size: int) -> StoredObject:
        """The object of an earlier call, of which only the answer was lost."""
        found = self._find(size)
        if found is None:
            msg = f"the blocks of {self._key!r} are gone, and the object is not ours"
            raise SessionLost(msg)
        return found

    def _verified(self, size: int) -> StoredObject:
        found = self._container.head(self._key)
        if found is None or not self._is_ours(found, None):
            msg = f"{self._key!r} was completed, but another object or none is there"
            raise SessionLost(msg)
        if found.size != size:
            msg = f"{self._key!r} was completed with size {found.size}, expected {size}"
            raise IntegrityError(msg)
        return _described(found)

    def _find(self, size: int | None) -> StoredObject | None:
        found = self._container.head(self._key)
        return _described(found) if found is not None and self._is_ours(found, size) else None

    def _is_ours(self, found: BlobProperties, size: int | None) -> bool:
        carries = (found.metadata or {}).get(metadata.UPLOAD_ID) == self._upload.upload_id
        return carries and not self._is_discarded(found) and size in {None, found.size}

    def _is_discarded(self, found: BlobProperties) -> bool:
        notes = found.metadata or {}
        return (
            metadata.DISCARDED in notes and notes.get(metadata.UPLOAD_ID) == self._upload.upload_id
        )


def _described(found: BlobProperties) -> StoredObject:
    return StoredObject(size=found.size, etag=bare(found.etag))
