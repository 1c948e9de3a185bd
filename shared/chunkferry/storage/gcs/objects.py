"""``GcsObjects``: whole objects in a bucket. Knows nothing of uploads in parts."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from datetime import timedelta
from functools import partial
from os import PathLike
from typing import IO, TYPE_CHECKING, BinaryIO, Final

from chunkferry.filepath import check_filepath, is_filepath
from chunkferry.services import DownloadParams, HeadInfo, Object, Progress
from chunkferry.storage import transfer
from chunkferry.storage.deadline import Deadline, check_timeout
from chunkferry.storage.gcs import stream

if TYPE_CHECKING:
    from chunkferry.storage.gcs.bucket import Bucket, Found


class GcsObjects:
    """The objects of a bucket, whole."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket: Final = bucket
        self._concurrency = transfer.CONCURRENCY
        self._timeout: timedelta | None = None

    def set_concurrency(self, concurrency: int) -> None:
        """Use that many connections in each later download; an upload takes one."""
        self._concurrency = transfer.check_concurrency(concurrency)

    def set_timeout(self, timeout: timedelta) -> None:
        """Give up every later call that takes longer."""
        self._timeout = check_timeout(timeout)

    def exists(self, filepath: str) -> bool:
        """True if there is such an object."""
        return self._head(filepath) is not None

    def head(self, filepath: str) -> HeadInfo:
        """What Google knows of the object."""
        found = self._head(filepath)
        if found is None:
            return HeadInfo(exists=False)
        return HeadInfo(
            exists=True,
            last_modified=found.updated,
            content_length=found.size,
            content_type=found.content_type,
            etag=found.etag,
        )

    def md5(self, filepath: str) -> bytes | None:
        """The digest that Google knows; None for objects that were composed."""
        return self._require(filepath).md5

    def objects(self, prefix: str = "") -> Iterator[Object]:
        """The objects whose paths start with ``prefix``, a page at a time."""
        token = ""
        while True:
            action = f"listing {prefix!r}"
            list_page = partial(self._bucket.page, self._bucket.prefix + prefix, token)
            found, token = self._deadline(action).run(list_page)
            for key, size, content_type in found:
                filepath = key.removeprefix(self._bucket.prefix)
                # Others may have put keys here that no method takes, such as "folder/".
                if is_filepath(filepath):
                    yield Object(filepath=filepath, content_type=content_type, size=size)
            if not token:
                return

    def get(self, filepath: str) -> IO[bytes]:
        """The object as a stream."""
        key = self._bucket.key(filepath)
        return self._deadline(f"reading {filepath!r}").run(
            lambda: stream.open_object(self._bucket, key, self._timeout)
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
        deadline = self._deadline(f"reading {filepath!r}")
        found = self._require(filepath)
        transfer.download(
            found.size,
            stream.Version(self._bucket, self._bucket.key(filepath), found, deadline).fetch,
            writer,
            deadline,
            concurrency=concurrency,
            progress=progress,
        )

    def download_range(self, filepath: str, writer: BinaryIO, start: int, finish: int) -> None:
        """Write bytes [start, finish) into ``writer``."""
        transfer.check_range(start, finish)
        deadline = self._deadline(f"reading {filepath!r}")
        found = self._require(filepath)
        version = stream.Version(self._bucket, self._bucket.key(filepath), found, deadline)
        transfer.download(
            max(min(finish, found.size) - start, 0),
            lambda at, to: version.fetch(start + at, start + to),
            writer,
            deadline,
            concurrency=1,
        )

    def read_version(
        self, filepath: str, etag: str, start: int, finish: int
    ) -> Generator[bytes, None, None]:
        """The bytes [start, finish), a request for each range: none waits for a slow reader."""
        found = self._bucket.head(self._bucket.key(filepath))
        if found is None:
            raise FileNotFoundError(filepath)
        if found.etag != etag:
            raise transfer.changed(filepath)
        unbounded = Deadline(f"reading {filepath!r}")
        version = stream.Version(self._bucket, self._bucket.key(filepath), found, unbounded)
        for at, to in transfer.spans(start, finish):
            yield version.fetch(at, to)

    def put(self, filepath: str, reader: BinaryIO) -> None:
        """Store all that ``reader`` holds; in a session if it is large."""
        self._send(filepath, reader)

    def upload(
        self,
        filepath: str,
        filesize: int,
        reader: BinaryIO | PathLike[str],
        progress: Progress | None = None,
    ) -> None:
        """Store ``filesize`` bytes of ``reader``, over one connection: sessions have an order."""
        check_filepath(filepath)
        with transfer.source(reader) as file:
            self._send(filepath, file, size=filesize, progress=progress)

    def delete(self, filepath: str) -> None:
        """Remove the object."""
        key = self._bucket.key(filepath)
        self._deadline(f"deleting {filepath!r}").run(lambda: self._bucket.delete(key))

    def set_mime_type(self, filepath: str, mime_type: str) -> None:
        """Change the type; the generation stays, and with it all else."""
        key = self._bucket.key(filepath)
        action = f"changing the type of {filepath!r}"
        if not self._deadline(action).run(lambda: self._bucket.retype(key, mime_type)):
            raise FileNotFoundError(filepath)

    def _deadline(self, action: str) -> Deadline:
        return Deadline(action, self._timeout)

    def _head(self, filepath: str) -> Found | None:
        key = self._bucket.key(filepath)
        return self._deadline(f"looking at {filepath!r}").run(lambda: self._bucket.head(key))

    def _require(self, filepath: str) -> Found:
        found = self._head(filepath)
        if found is None:
            raise FileNotFoundError(filepath)
        return found

    def _send(
        self,
        filepath: str,
        reader: BinaryIO,
        *,
        size: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        key = self._bucket.key(filepath)
        deadline = self._deadline(f"writing {filepath!r}")
        content = transfer.Reader(reader, size=size, progress=progress, deadline=deadline)
        deadline.run(lambda: stream.write_object(self._bucket, key, content))
