"""``RemoteObjects``: whole objects at a server, as far as they are the same at every server.

Knows time-outs, ranges, readers and writers, and no SDK: how to look, list, read and write is what
a store adds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from datetime import timedelta
from functools import partial
from os import PathLike
from typing import IO, BinaryIO, Final, Generic, TypeVar

from chunkferry import parts
from chunkferry.filepath import check_filepath, is_filepath
from chunkferry.services import DownloadParams, HeadInfo, Object, Progress
from chunkferry.storage import transfer
from chunkferry.storage.deadline import Deadline, check_timeout
from chunkferry.storage.transfer import Fetch, Reader

#: What a store's SDK says of an object.
FoundT = TypeVar("FoundT")

#: Bytes that an upload sends at once, where that makes no more than 10 000 pieces.
_BLOCK: Final = 8 * parts.MIB


class RemoteObjects(ABC, Generic[FoundT]):
    """The objects of one store. A call has one deadline, whatever it asks of the server."""

    def __init__(self) -> None:
        self._concurrency = transfer.CONCURRENCY
        self._timeout: timedelta | None = None

    def set_concurrency(self, concurrency: int) -> None:
        """Use that many connections in each later transfer that can use several."""
        self._concurrency = transfer.check_concurrency(concurrency)

    def set_timeout(self, timeout: timedelta) -> None:
        """Give up every later call that takes longer."""
        self._timeout = check_timeout(timeout)

    def exists(self, filepath: str) -> bool:
        """True if there is such an object."""
        return self._find(filepath, self._looking(filepath)) is not None

    def head(self, filepath: str) -> HeadInfo:
        """What the store knows of the object."""
        found = self._find(filepath, self._looking(filepath))
        return HeadInfo(exists=False) if found is None else self._describe(found)

    def md5(self, filepath: str) -> bytes | None:
        """The digest, if the store knows one that is of the bytes."""
        return self._md5(self._require(filepath, self._looking(filepath)))

    def objects(self, prefix: str = "") -> Iterator[Object]:
        """The objects whose paths start with ``prefix``, a page at a time."""
        token = ""
        while True:
            deadline = self._deadline(f"listing {prefix!r}")
            found, token = deadline.run(partial(self._page, prefix, token))
            # Others may have put names there that no method takes, such as "folder/".
            yield from (item for item in found if is_filepath(item.filepath))
            if not token:
                return

    def get(self, filepath: str) -> IO[bytes]:
        """The object as a stream; each of its reads may take as long as a call."""
        return self._reading(filepath).run(lambda: self._open(filepath))

    def stream(self, filepath: str, writer: BinaryIO) -> None:
        """Write the object into ``writer``, one range after the other."""
        self.download(filepath, writer, DownloadParams(concurrency=1))

    def download(
        self,
        filepath: str,
        writer: BinaryIO | PathLike[str],
        params: DownloadParams | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Write the object into ``writer``, from several connections."""
        concurrency = transfer.chosen(params, self._concurrency)
        deadline = self._reading(filepath)
        size, fetch = self._version(filepath, self._require(filepath, deadline), deadline)
        transfer.download(size, fetch, writer, deadline, concurrency=concurrency, progress=progress)

    def download_range(self, filepath: str, writer: BinaryIO, start: int, finish: int) -> None:
        """Write bytes [start, finish) into ``writer``."""
        transfer.check_range(start, finish)
        deadline = self._reading(filepath)
        size, fetch = self._version(filepath, self._require(filepath, deadline), deadline)
        transfer.download(
            max(min(finish, size) - start, 0),
            lambda at, until: fetch(start + at, start + until),
            writer,
            deadline,
            concurrency=1,
        )

    def read_version(
        self, filepath: str, etag: str, start: int, finish: int
    ) -> Generator[bytes, None, None]:
        """The bytes [start, finish), a request for each range: none waits for a slow reader."""
        unbounded = Deadline(f"reading {filepath!r}")
        found = self._require(filepath, unbounded)
        if self._describe(found).etag != etag:
            raise transfer.changed(filepath)
        _, fetch = self._version(filepath, found, unbounded)
        for at, until in transfer.spans(start, finish):
            yield fetch(at, until)

    def put(self, filepath: str, reader: BinaryIO) -> None:
        """Store all that ``reader`` holds; bit by bit if it is large."""
        self._send(filepath, reader, _BLOCK)

    def upload(
        self,
        filepath: str,
        filesize: int,
        reader: BinaryIO | PathLike[str],
        progress: Progress | None = None,
    ) -> None:
        """Store ``filesize`` bytes of ``reader``, over several connections where it can be."""
        block = parts.plan(filesize, _BLOCK).part_size
        check_filepath(filepath)
        with transfer.source(reader) as file:
            self._send(filepath, file, block, size=filesize, progress=progress)

    def delete(self, filepath: str) -> None:
        """Remove the object."""
        self._deadline(f"deleting {filepath!r}").run(lambda: self._remove(filepath))

    def set_mime_type(self, filepath: str, mime_type: str) -> None:
        """Change the type; all else of the object stays as it is."""
        self._retype(filepath, mime_type, self._deadline(f"changing the type of {filepath!r}"))

    # --- what a store adds; what is given no deadline runs within one -----------------------------

    @abstractmethod
    def _look(self, filepath: str) -> FoundT | None:
        """What is known of the object; None if there is none."""

    @abstractmethod
    def _describe(self, found: FoundT) -> HeadInfo:
        """The same in words that are no SDK's."""

    @abstractmethod
    def _md5(self, found: FoundT) -> bytes | None:
        """The MD5 of its bytes, if that is known."""

    @abstractmethod
    def _page(self, prefix: str, token: str) -> tuple[Sequence[Object], str]:
        """Objects of a listing, and the token of those that follow; empty for none."""

    @abstractmethod
    def _open(self, filepath: str) -> IO[bytes]:
        """The bytes as they arrive; raises ``FileNotFoundError``."""

    @abstractmethod
    def _version(self, filepath: str, found: FoundT, deadline: Deadline) -> tuple[int, Fetch]:
        """The size of the object, and what fetches ranges of exactly this version of it."""

    @abstractmethod
    def _write(self, filepath: str, content: Reader, block: int) -> None:
        """Make an object of ``content``, sent ``block`` bytes at once where that matters."""

    @abstractmethod
    def _remove(self, filepath: str) -> object:
        """Remove the object, if there is one."""

    @abstractmethod
    def _retype(self, filepath: str, mime_type: str, deadline: Deadline) -> None:
        """Change the type of the object; raises ``FileNotFoundError`` if there is none."""

    # --- inside ------------------------------------------------------------------------------

    def _deadline(self, action: str) -> Deadline:
        return Deadline(action, self._timeout)

    def _looking(self, filepath: str) -> Deadline:
        return self._deadline(f"looking at {filepath!r}")

    def _reading(self, filepath: str) -> Deadline:
        return self._deadline(f"reading {filepath!r}")

    def _find(self, filepath: str, deadline: Deadline) -> FoundT | None:
        return deadline.run(lambda: self._look(filepath))

    def _require(self, filepath: str, deadline: Deadline) -> FoundT:
        found = self._find(filepath, deadline)
        if found is None:
            raise FileNotFoundError(filepath)
        return found

    def _send(
        self,
        filepath: str,
        reader: BinaryIO,
        block: int,
        *,
        size: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        deadline = self._deadline(f"writing {filepath!r}")
        content = Reader(reader, size=size, progress=progress, deadline=deadline)
        deadline.run(lambda: self._write(filepath, content, block))
