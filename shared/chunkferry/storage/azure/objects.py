"""``AzureObjects``: whole objects in a container. Knows nothing of uploads in parts."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from datetime import timedelta
from functools import partial
from os import PathLike
from typing import IO, TYPE_CHECKING, BinaryIO, Final

from chunkferry import parts
from chunkferry.filepath import check_filepath, is_filepath
from chunkferry.services import DownloadParams, HeadInfo, Object, Progress
from chunkferry.storage import transfer
from chunkferry.storage.azure import stream
from chunkferry.storage.azure.container import bare
from chunkferry.storage.deadline import Deadline, check_timeout

if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties

    from chunkferry.storage.azure.container import Container

#: Bytes of one block of an upload, where fewer than 10 000 of them suffice.
_BLOCK: Final = 8 * parts.MIB


class AzureObjects:
    """The objects of a container, whole."""

    def __init__(self, container: Container) -> None:
        self._container: Final = container
        self._concurrency = transfer.CONCURRENCY
        self._timeout: timedelta | None = None

    def set_concurrency(self, concurrency: int) -> None:
        """Use that many connections in each later transfer."""
        self._concurrency = transfer.check_concurrency(concurrency)

    def set_timeout(self, timeout: timedelta) -> None:
        """Give up every later call that takes longer."""
        self._timeout = check_timeout(timeout)

    def exists(self, filepath: str) -> bool:
        """True if there is such an object."""
        return self._head(filepath) is not None

    def head(self, filepath: str) -> HeadInfo:
        """What Azure knows of the object."""
        found = self._head(filepath)
        if found is None:
            return HeadInfo(exists=False)
        return HeadInfo(
            exists=True,
            last_modified=found.last_modified,
            content_length=found.size,
            content_type=found.content_settings.content_type or "",
            etag=bare(found.etag),
        )

    def md5(self, filepath: str) -> bytes | None:
        """The digest that the blob carries; None for one made of several blocks."""
        found = self._require(filepath).content_settings.content_md5
        return bytes(found) if found else None

    def objects(self, prefix: str = "") -> Iterator[Object]:
        """The objects whose paths start with ``prefix``, a page at a time."""
        token = ""
        while True:
            action = f"listing {prefix!r}"
            list_page = partial(self._container.page, self._container.prefix + prefix, token)
            found, token = self._deadline(action).run(list_page)
            for key, size, content_type in found:
                filepath = key.removeprefix(self._container.prefix)
                # Others may have put names here that no method takes, such as "folder/".
                if is_filepath(filepath):
                    yield Object(filepath=filepath, content_type=content_type, size=size)
            if not token:
                return

    def get(self, filepath: str) -> IO[bytes]:
        """The object as a stream."""
        key = self._container.key(filepath)
        return self._deadline(f"reading {filepath!r}").run(
            lambda: stream.open_blob(self._container, key, self._timeout)
        )

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
        found = self._require(filepath)
        transfer.download(
            found.size,
            partial(stream.read_range, self._container, self._container.key(filepath), found),
            writer,
            self._deadline(f"reading {filepath!r}"),
            concurrency=concurrency,
            progress=progress,
        )

    def download_range(self, filepath: str, writer: BinaryIO, start: int, finish: int) -> None:
        """Write bytes [start, finish) into ``writer``."""
        transfer.check_range(start, finish)
        found = self._require(filepath)
        key = self._container.key(filepath)
        transfer.download(
            max(min(finish, found.size) - start, 0),
            lambda at, to: stream.read_range(self._container, key, found, start + at, start + to),
            writer,
            self._deadline(f"reading {filepath!r}"),
            concurrency=1,
        )

    def read_version(
        self, filepath: str, etag: str, start: int, finish: int
    ) -> Generator[bytes, None, None]:
        """The bytes [start, finish), a request for each range: none waits for a slow reader."""
        key = self._container.key(filepath)
        found = self._container.object(key)
        if found is None:
            raise FileNotFoundError(filepath)
        if bare(found.etag) != etag:
            raise transfer.changed(filepath)
        for at, to in transfer.spans(start, finish):
            yield stream.read_range(self._container, key, found, at, to)

    def put(self, filepath: str, reader: BinaryIO) -> None:
        """Store all that ``reader`` holds; in blocks if it is large, up to 400 000 MiB."""
        self._send(filepath, reader, _BLOCK)

    def upload(
        self,
        filepath: str,
        filesize: int,
        reader: BinaryIO | PathLike[str],
        progress: Progress | None = None,
    ) -> None:
        """Store ``filesize`` bytes of ``reader``, over several connections."""
        block = parts.plan(filesize, _BLOCK).part_size
        check_filepath(filepath)
        with transfer.source(reader) as file:
            self._send(filepath, file, block, size=filesize, progress=progress)

    def delete(self, filepath: str) -> None:
        """Remove the object."""
        key = self._container.key(filepath)
        self._deadline(f"deleting {filepath!r}").run(lambda: self._container.delete(key))

    def set_mime_type(self, filepath: str, mime_type: str) -> None:
        """Change the type; bytes, metadata and the other properties stay."""
        found = self._require(filepath)
        key = self._container.key(filepath)
        self._deadline(f"changing the type of {filepath!r}").run(
            lambda: self._container.retype(key, found, mime_type)
        )

    def _deadline(self, action: str) -> Deadline:
        return Deadline(action, self._timeout)

    def _head(self, filepath: str) -> BlobProperties | None:
        key = self._container.key(filepath)
        return self._deadline(f"looking at {filepath!r}").run(lambda: self._container.object(key))

    def _require(self, filepath: str) -> BlobProperties:
        found = self._head(filepath)
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
        key = self._container.key(filepath)
        deadline = self._deadline(f"writing {filepath!r}")
        content = transfer.Reader(reader, size=size, progress=progress, deadline=deadline)
        concurrency = self._concurrency
        deadline.run(lambda: stream.write_blob(self._container, key, content, block, concurrency))
