"""``LocalObjects``: reads, writes and lists the files of a tree. Knows nothing of uploads."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import ExitStack, suppress
from os import PathLike
from typing import IO, BinaryIO, Final

from chunkferry.errors import IntegrityError
from chunkferry.filepath import check_filepath, is_filepath
from chunkferry.services import DownloadParams, Object, Progress
from chunkferry.storage import transfer
from chunkferry.storage.local import audit, tree

#: Bytes read or written at once.
_PIECE: Final = 1024 * 1024
#: The same where a reader may be slow, and many of them.
_SHORT: Final = 256 * 1024


class LocalObjects:
    """The objects of a folder, whole."""

    def __init__(self, files: tree.Tree) -> None:
        self._tree: Final = files

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
        self._write(filepath, transfer.Reader(reader))

    def md5(self, filepath: str) -> bytes:
        """The digest of the file, which is read for it."""
        digest = hashlib.md5(usedforsecurity=False)
        with self.get(filepath) as file:
            for piece in _pieces(file, filepath):
                digest.update(piece)
        return digest.digest()

    def download(
        self,
        filepath: str,
        writer: BinaryIO | PathLike[str],
        params: DownloadParams | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Copy the file; there is but one disk, whatever the concurrency."""
        transfer.chosen(params)
        with self.get(filepath) as file:
            transfer.copy(_pieces(file, filepath), writer, progress)

    def upload(
        self,
        filepath: str,
        filesize: int,
        reader: BinaryIO | PathLike[str],
        progress: Progress | None = None,
    ) -> None:
        """Store ``filesize`` bytes of ``reader``; visible, whole and durable, at once."""
        check_filepath(filepath)
        with transfer.source(reader) as file:
            self._write(filepath, transfer.Reader(file, size=filesize, progress=progress))

    def download_range(self, filepath: str, writer: BinaryIO, start: int, finish: int) -> None:
        """Write bytes [start, finish) into ``writer``."""
        transfer.check_range(start, finish)
        with self.get(filepath) as file:
            transfer.copy(_pieces(file, filepath, start, finish), writer)

    def read_version(
        self, filepath: str, etag: str, start: int, finish: int
    ) -> Generator[bytes, None, None]:
        """The bytes [start, finish); the file stays open, so that nobody takes its place."""
        with self.get(filepath) as file:
            if tree.etag(os.fstat(file.fileno())) != etag:
                raise transfer.changed(filepath)
            yield from _pieces(file, filepath, start, finish, size=_SHORT)

    def stream(self, filepath: str, writer: BinaryIO) -> None:
        """Write the file into ``writer``."""
        self.download(filepath, writer)

    def objects(self, prefix: str = "") -> Iterator[Object]:
        """The files whose paths start with ``prefix``, in the order of their bytes.

        One folder after the other is read; none is kept open.
        """
        waiting = self._below("", prefix)
        while waiting:
            path, facts = waiting.pop()
            if path.endswith("/"):
                waiting += self._below(path, prefix)
            else:
                yield Object(filepath=path, size=facts.st_size)

    def _below(self, folder: str, prefix: str) -> list[tuple[str, os.stat_result]]:
        """Files and folders (with ``/``) in ``folder`` that matter for ``prefix``; last first."""
        found = list[tuple[str, os.stat_result]]()
        with (
            tree.translated(f"listing {folder!r}"),
            # It went, or something else took its place, since it was seen.
            suppress(FileNotFoundError, NotADirectoryError),
        ):
            for name, facts in self._tree.entries(folder.split("/")[:-1]):
                is_folder = stat.S_ISDIR(facts.st_mode)
                path = f"{folder}{name}/" if is_folder else f"{folder}{name}"
                wanted = path.startswith(prefix) or (is_folder and prefix.startswith(path))
                if wanted and is_filepath(path.rstrip("/")):
                    found.append((path, facts))
        return sorted(found, reverse=True, key=lambda item: item[0].encode())

    def _write(self, filepath: str, reader: transfer.Reader) -> None:
        action = f"writing {filepath!r}"
        temporary = audit.new_put_name()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with ExitStack() as stack:
            with tree.translated(action):
                parent = self._tree.parent_of(filepath, create=True)
                folder, name = stack.enter_context(parent)
                staging = stack.enter_context(self._tree.staging(create=True))
                stack.callback(_remove, staging, temporary)
                file = stack.enter_context(tree.opened(staging, temporary, flags))
            # What the reader raises is not the disk's.
            while piece := reader.read(_PIECE):
                with tree.translated(action):
                    tree.write(file, memoryview(piece))
            with tree.translated(action):
                os.fsync(file)
                tree.publish(staging, temporary, folder, name)


def _pieces(
    file: IO[bytes],
    filepath: str,
    start: int = 0,
    finish: int | None = None,
    *,
    size: int = _PIECE,
) -> Iterator[bytes]:
    """The bytes [start, finish) of ``file``; of one version, or an error."""
    before = os.fstat(file.fileno())
    end = before.st_size if finish is None else min(finish, before.st_size)
    while start < end:
        with tree.translated(f"reading {filepath!r}"):
            piece = os.pread(file.fileno(), min(size, end - start), start)
            after = os.fstat(file.fileno())
        # Objects are replaced by a rename, which an open file does not notice; only what does
        # not keep to that gets here.
        if tree.etag(before) != tree.etag(after) or not piece:
            msg = f"{filepath!r} was written to while it was read"
            raise IntegrityError(msg)
        start += len(piece)
        yield piece


def _remove(folder: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
