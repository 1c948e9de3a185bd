"""``LocalFileService``: one upload into a folder, fenced by a rename.

An upload grows in ``.chunkferry/<upload id>`` under the root and is renamed into its place when
it is whole. A worker that lost its lease finds nothing left to rename, and whatever else it
writes late are the same bytes at the same offsets. For that reason nothing here ever truncates
a file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import google_crc32c

from chunkferry.errors import ConfigError, IntegrityError, SessionLost
from chunkferry.filepath import check_filepath
from chunkferry.services import Heartbeat, Part, StoredObject, StoredPart
from chunkferry.storage import manifest
from chunkferry.storage.bound import BoundService
from chunkferry.storage.local import tree
from chunkferry.upload import ChunkUpload

#: Bytes moved between two heartbeats.
_PIECE: Final = 1024 * 1024


class LocalFileService(BoundService):
    """One upload into a folder. Its state is the inode of the unfinished file: ``{"inode": N}``."""

    def __init__(self, files: tree.Tree) -> None:
        super().__init__()
        self._tree: Final = files
        self._inode: int | None = None

    def restore(self, upload: ChunkUpload, state: str) -> None:
        """Take up ``upload``.

        Raises:
            ConfigError: its session is one of another kind of store.
        """
        try:
            self._inode = int(json.loads(state)["inode"]) if state else None
        except (ValueError, TypeError, KeyError) as exc:
            msg = (
                f"the upload to {upload.filepath!r} was begun in another kind of store: expected "
                f"a folder; has the URL of service {upload.service!r} been changed?"
            )
            raise ConfigError(msg) from exc
        super().restore(upload, state)

    def initialize_chunk(self, upload: ChunkUpload) -> None:
        """Create the unfinished file, or adopt it from a worker that died before saying so."""
        check_filepath(upload.filepath)
        self._bound = upload
        with (
            tree.translated(f"starting {upload.filepath!r}"),
            self._tree.staging(create=True) as folder,
            # Without O_TRUNC: what an earlier worker wrote are the bytes to be written again.
            tree.opened(folder, self._temporary, os.O_WRONLY | os.O_CREAT) as file,
        ):
            os.fsync(folder)
            self._inode = os.fstat(file).st_ino
        self._state = json.dumps({"inode": self._inode})

    def upload_part(self, part: Part, heartbeat: Heartbeat) -> str:
        """Write ``part`` at its offset, durably; the receipt is its checksum."""
        with (
            tree.translated(f"writing part {part.number} of {self._upload.filepath!r}"),
            self._unfinished(os.O_WRONLY) as file,
        ):
            for start in range(0, len(part.data), _PIECE):
                tree.write(file, part.data[start : start + _PIECE], part.offset + start)
                heartbeat()
            os.fdatasync(file)
        return f"{part.crc32c:08x}"

    def find_part(self, part: Part) -> str | None:
        """The receipt, if the file holds these bytes already."""
        with (
            tree.translated(f"reading part {part.number} of {self._upload.filepath!r}"),
            suppress(SessionLost),
            self._unfinished(os.O_RDONLY) as file,
        ):
            if os.fstat(file).st_size < part.offset + len(part.data):
                return None
            if _crc32c(file, part.offset, len(part.data)) != part.crc32c:
                return None
            # Its writer may have died before it did this.
            os.fdatasync(file)
            return f"{part.crc32c:08x}"
        return None

    def complete_upload(
        self, parts: Sequence[StoredPart], crc32c: int, heartbeat: Heartbeat
    ) -> StoredObject:
        """Move the file into its place.

        ``crc32c`` goes unused: each part was durable before it was counted, and reading
        terabytes back from the page cache would prove little.
        """
        del crc32c
        size = manifest.total_size(parts)
        filepath = self._upload.filepath
        heartbeat()
        with (
            tree.translated(f"finishing {filepath!r}"),
            # Gone: published already, or cleaned up. The object tells which.
            suppress(FileNotFoundError, SessionLost),
        ):
            self._check_whole(size)
            heartbeat()
            with (
                self._tree.staging() as staging,
                self._tree.parent_of(filepath, create=True) as (folder, name),
            ):
                tree.publish(staging, self._temporary, folder, name)
        found = self._find(size)
        if found is None:
            msg = f"the unfinished file of {filepath!r} is gone, and the object is not ours"
            raise SessionLost(msg)
        return found

    def find_object(self) -> StoredObject | None:
        """The object, if it is the file this upload wrote."""
        return self._find(self._upload.length)

    def has_session(self) -> bool:
        """True if the unfinished file is there."""
        with (
            tree.translated(f"looking for the unfinished file of {self._upload.filepath!r}"),
            suppress(SessionLost),
            self._unfinished(os.O_RDONLY),
        ):
            return True
        return False

    def cleanup(self, confirm: Heartbeat) -> None:
        """Remove the unfinished file; what is published has another name by then."""
        confirm()
        self.remove_leftovers()

    def remove_leftovers(self) -> bool:
        """Remove the unfinished file; True if there was one."""
        name = self._temporary
        with (
            tree.translated("removing an unfinished file"),
            suppress(FileNotFoundError),
            self._tree.staging() as folder,
        ):
            os.unlink(name, dir_fd=folder)
            return True
        return False

    @property
    def _temporary(self) -> str:
        upload_id = check_filepath(self._upload.upload_id)
        return upload_id.replace("/", "_")

    @contextmanager
    def _unfinished(self, flags: int) -> Iterator[int]:
        """The handle of the unfinished file.

        Raises:
            SessionLost: it is gone.
        """
        try:
            with (
                self._tree.staging() as folder,
                tree.opened(folder, self._temporary, flags) as file,
            ):
                # Another file under this name was made by a worker that is no longer in charge,
                # after ours was removed: it lacks the parts stored before.
                if os.fstat(file).st_ino == self._inode:
                    yield file
                    return
        except FileNotFoundError:
            pass
        msg = f"the unfinished file of {self._upload.filepath!r} is gone"
        raise SessionLost(msg)

    def _check_whole(self, size: int) -> None:
        with self._unfinished(os.O_RDONLY) as file:
            actual = os.fstat(file).st_size
            if actual != size:
                msg = f"{self._upload.filepath!r} has {actual} bytes, but {size} were stored"
                raise IntegrityError(msg)
            os.fsync(file)

    def _find(self, size: int | None) -> StoredObject | None:
        with (
            tree.translated(f"looking for {self._upload.filepath!r}"),
            suppress(FileNotFoundError),
            self._tree.parent_of(self._upload.filepath) as (folder, name),
        ):
            facts = tree.stat_file(folder, name)
            # The inode proves it: while our file exists nobody else's can have its number, and
            # it disappears only when a later upload replaces it, which starts after this ended.
            if facts is None or facts.st_ino != self._inode:
                return None
            if size is not None and facts.st_size != size:
                return None
            # Its publisher may have died before it did this.
            os.fsync(folder)
            return StoredObject(size=facts.st_size, etag=tree.etag(facts))
        return None


def _crc32c(file: int, offset: int, length: int) -> int:
    checksum = 0
    end = offset + length
    while offset < end:
        piece = os.pread(file, min(_PIECE, end - offset), offset)
        if not piece:
            break
        checksum = google_crc32c.extend(checksum, piece)
        offset += len(piece)
    return checksum
