"""``LocalStore``: objects as files in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, BinaryIO, Final

from chunkferry.errors import ConfigError
from chunkferry.services import HeadInfo, Unfinished
from chunkferry.storage import url as urls
from chunkferry.storage.local import audit, tree
from chunkferry.storage.local.upload import LocalFileService
from chunkferry.upload import ChunkUpload

#: Bytes moved between two heartbeats.
_PIECE: Final = 1024 * 1024


class LocalOptions(urls.Options):
    """Options of a ``file://`` URL: none so far."""


def from_url(url: str) -> LocalStore:
    """The store of a ``file://`` URL.

    Raises:
        ConfigError: the path starts neither with ``/`` nor with ``.``, or an option is unknown.
    """
    parsed = urls.parse(url)
    urls.validate(parsed, LocalOptions)
    if not parsed.location.startswith(("/", "./", "../")):
        msg = "a file URL is file:///absolute/path or file://./relative/path"
        raise ConfigError(msg)
    return LocalStore(Path(parsed.location))


class LocalStore:
    """A folder of objects. Made on first use; thread-safe, and survives a fork."""

    def __init__(self, root: Path) -> None:
        # Absolute now: a later chdir must not move the store.
        self._tree: Final = tree.Tree(root.absolute())

    def chunk_file_service(self) -> LocalFileService:
        """A fresh service for one upload."""
        return LocalFileService(self._tree)

    def reap(self, upload: ChunkUpload, may_remove: Callable[[], bool]) -> int:
        """Remove the unfinished file of ``upload``, whose name is never another upload's."""
        del may_remove  # only a session by path could be another upload's
        service = LocalFileService(self._tree)
        service.restore(upload, "")
        return int(service.remove_leftovers())

    def unfinished(self) -> Iterator[Unfinished]:
        """What lies in ``.chunkferry``; see ``audit``."""
        return audit.unfinished(self._tree)

    def weigh(self, found: Unfinished) -> int:
        """The size of the file."""
        return audit.weigh(self._tree, found)

    def remove(self, found: Unfinished) -> bool:
        """Remove the file."""
        return audit.remove(self._tree, found)

    def exists(self, filepath: str) -> bool:
        """True if there is such a file."""
        return self._facts(filepath) is not None

    def head(self, filepath: str) -> HeadInfo:
        """Size, time and tag; a folder keeps no MIME types."""
        facts = self._facts(filepath)
        if facts is None:
            return HeadInfo(exists=False)
        return HeadInfo(
            exists=True,
            last_modified=datetime.fromtimestamp(facts.st_mtime, UTC),
            content_length=facts.st_size,
            etag=tree.etag(facts),
        )

    def get(self, filepath: str) -> IO[bytes]:
        """The file, open for reading."""
        with (
            tree.translated(f"reading {filepath!r}"),
            self._tree.parent_of(filepath) as (folder, name),
            tree.opened(folder, name, os.O_RDONLY) as handle,
        ):
            return os.fdopen(os.dup(handle), "rb")

    def put(self, filepath: str, reader: BinaryIO) -> None:
        """Store all that ``reader`` holds; visible, whole and durable, at once."""
        temporary = audit.new_put_name()
        with (
            tree.translated(f"writing {filepath!r}"),
            self._tree.parent_of(filepath, create=True) as (folder, name),
            self._tree.staging(create=True) as staging,
        ):
            try:
                with tree.opened(staging, temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
                    while piece := reader.read(_PIECE):
                        tree.write(file, memoryview(piece))
                    os.fsync(file)
                tree.publish(staging, temporary, folder, name)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=staging)

    def delete(self, filepath: str) -> None:
        """Remove the file, durably."""
        with (
            tree.translated(f"deleting {filepath!r}"),
            suppress(FileNotFoundError),
            self._tree.parent_of(filepath) as (folder, name),
        ):
            os.unlink(name, dir_fd=folder)
            os.fsync(folder)

    def _facts(self, filepath: str) -> os.stat_result | None:
        with (
            tree.translated(f"looking at {filepath!r}"),
            suppress(FileNotFoundError),
            self._tree.parent_of(filepath) as (folder, name),
        ):
            return tree.stat_file(folder, name)
        return None
