"""``Tree``: files beneath a root folder, reached so that no symlink can lead outside.

Every folder on the way is opened relative to the one before, never following a link. Knows
nothing of uploads.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from chunkferry.errors import StoreError, StoreRefused, StoreUnavailable
from chunkferry.filepath import RESERVED, check_filepath

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_REFUSED: Final = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOTDIR,
        errno.ELOOP,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.EINVAL,
        errno.ENXIO,
    }
)


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn an ``OSError`` inside into a ``StoreError``, except ``FileNotFoundError``.

    A full disk, a stale network mount and whatever else is not known to be for good is
    retryable; missing permission and links in the path are not.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as exc:
        kind: type[StoreError] = StoreRefused if exc.errno in _REFUSED else StoreUnavailable
        msg = f"{action}: {os.strerror(exc.errno or errno.EIO)}"
        raise kind(msg) from exc


class Tree:
    """The files beneath ``root``. Holds nothing open between calls, hence survives a fork."""

    def __init__(self, root: Path) -> None:
        self._root: Final = root

    @contextmanager
    def parent_of(self, filepath: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        """The handle of the folder that holds ``filepath``, and the file's name in it.

        Args:
            filepath: relative to the root.
            create: make missing folders, durably.

        Raises:
            InvalidPath: ``filepath`` is not relative and normal.
            FileNotFoundError: a folder is missing.
            OSError: ELOOP or ENOTDIR where a component is a link or a file.
        """
        *folders, name = check_filepath(filepath).split("/")
        with self._folder(folders, create=create) as handle:
            yield handle, name

    @contextmanager
    def staging(self, *, create: bool = False) -> Iterator[int]:
        """The handle of the folder for unfinished files, on the objects' file system."""
        with self._folder([RESERVED], create=create) as handle:
            yield handle

    def entries(self, folders: list[str]) -> list[tuple[str, os.stat_result]]:
        """Names and facts of the regular files and folders in a folder, in no order.

        Raises:
            FileNotFoundError: a folder is missing.
            OSError: ELOOP or ENOTDIR where a component is a link or a file.
        """
        found = list[tuple[str, os.stat_result]]()
        with self._folder(folders, create=False) as handle, os.scandir(handle) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    facts = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode):
                        found.append((entry.name, facts))
        return found

    @contextmanager
    def _folder(self, folders: list[str], *, create: bool) -> Iterator[int]:
        if create:
            self._root.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._root, _FOLDER)
        try:
            for name in folders:
                inner = _step(handle, name, create=create)
                os.close(handle)
                handle = inner
            yield handle
        finally:
            os.close(handle)


@contextmanager
def opened(folder: int, name: str, flags: int) -> Iterator[int]:
    """The handle of file ``name`` in ``folder``, which must be a regular one.

    Raises:
        OSError: ELOOP for a link, EINVAL for anything else that is not a regular file.
    """
    # O_NONBLOCK: opening a FIFO must not hang; regular files do not know it.
    handle = os.open(
        name, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o666, dir_fd=folder
    )
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        yield handle
    finally:
        os.close(handle)


def stat_file(folder: int, name: str) -> os.stat_result | None:
    """The facts about regular file ``name`` in ``folder``; None if it is a folder or absent.

    Raises:
        OSError: ELOOP for a link, which is nobody's object.
    """
    try:
        facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(facts.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return facts if stat.S_ISREG(facts.st_mode) else None


def publish(source: int, temporary: str, target: int, name: str) -> None:
    """Move a file into its place, atomically and durably, over what is there."""
    os.rename(temporary, name, src_dir_fd=source, dst_dir_fd=target)
    os.fsync(target)


def _step(parent: int, name: str, *, create: bool) -> int:
    if create:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=parent)
        # Also where it was there before: its maker may have died before it was durable.
        os.fsync(parent)
    return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=parent)


def write(file: int, data: memoryview, offset: int | None = None) -> None:
    """Write all of ``data``, at ``offset`` or where the file stands."""
    while data:
        done = os.write(file, data) if offset is None else os.pwrite(file, data, offset)
        data = data[done:]
        offset = None if offset is None else offset + done


def etag(facts: os.stat_result) -> str:
    """A tag that changes whenever the file is replaced or changed."""
    return f"{facts.st_ino:x}-{facts.st_size:x}-{facts.st_mtime_ns:x}"
