"""``S3Store``: whole objects in a bucket, and a service for each upload."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, BinaryIO, Final, cast

from botocore.exceptions import ClientError

from chunkferry.services import HeadInfo, Unfinished
from chunkferry.storage import url as urls
from chunkferry.storage.s3 import audit, errors
from chunkferry.storage.s3.bucket import Bucket
from chunkferry.storage.s3.upload import S3FileService

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from botocore.response import StreamingBody

    from chunkferry.upload import ChunkUpload

#: Bytes asked for at once while an object is read.
_BUFFER: Final = 256 * 1024


def from_url(url: str) -> S3Store:
    """The store of an ``s3://`` URL. Does not connect to it yet.

    Raises:
        ConfigError: there is no bucket, or an option is unknown or unusable.
    """
    return S3Store(Bucket(urls.parse(url)))


class S3Store:
    """One bucket. Thread-safe, and survives a fork."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket: Final = bucket

    def chunk_file_service(self) -> S3FileService:
        """A fresh service for one upload."""
        return S3FileService(self._bucket)

    def reap(self, upload: ChunkUpload, may_remove: Callable[[], bool]) -> int:
        """Abort the sessions that were open for the path before ``may_remove`` was asked."""
        if not self._bucket.can_hold(upload.filepath):
            return 0
        key = self._bucket.key(upload.filepath)
        sessions = self._bucket.sessions(key)
        if not sessions or not may_remove():
            return 0
        return sum(self._bucket.abort(key, session) for session in sessions)

    def unfinished(self) -> Iterator[Unfinished]:
        """All unfinished multipart uploads beneath the prefix; see ``audit``."""
        return audit.unfinished(self._bucket)

    def weigh(self, found: Unfinished) -> int:
        """The bytes of its parts."""
        return audit.weigh(self._bucket, found)

    def remove(self, found: Unfinished) -> bool:
        """Abort it."""
        return audit.remove(self._bucket, found)

    def exists(self, filepath: str) -> bool:
        """True if there is such an object."""
        return self._bucket.head(self._bucket.key(filepath)) is not None

    def head(self, filepath: str) -> HeadInfo:
        """What S3 knows of the object."""
        found = self._bucket.head(self._bucket.key(filepath))
        if found is None:
            return HeadInfo(exists=False)
        return HeadInfo(
            exists=True,
            last_modified=found["LastModified"],
            content_length=found["ContentLength"],
            content_type=found["ContentType"],
            etag=found["ETag"].strip('"'),
        )

    def get(self, filepath: str) -> IO[bytes]:
        """The object as a stream."""
        action = f"reading {filepath!r}"
        key = self._bucket.key(filepath)
        with errors.translated(action):
            try:
                answer = self._bucket.client.get_object(Bucket=self._bucket.name, Key=key)
            except ClientError as exc:
                if errors.is_absent(exc):
                    raise FileNotFoundError(filepath) from exc
                raise
        return io.BufferedReader(_Stream(answer["Body"], action), _BUFFER)

    def put(self, filepath: str, reader: BinaryIO) -> None:
        """Store all that ``reader`` holds; in parts if it is large."""
        key = self._bucket.key(filepath)
        with errors.translated(f"writing {filepath!r}"):
            self._bucket.client.upload_fileobj(
                # boto3 closes what it is given if it can.
                cast("IO[bytes]", SimpleNamespace(read=reader.read)),
                self._bucket.name,
                key,
                ExtraArgs=self._bucket.attributes(),
            )

    def delete(self, filepath: str) -> None:
        """Remove the object."""
        key = self._bucket.key(filepath)
        with errors.translated(f"deleting {filepath!r}"):
            self._bucket.client.delete_object(Bucket=self._bucket.name, Key=key)


class _Stream(io.RawIOBase):
    """An object's bytes as they arrive, with errors translated."""

    def __init__(self, body: StreamingBody, action: str) -> None:
        super().__init__()
        self._body = body
        self._action = action

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        with errors.translated(self._action):
            data = self._body.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._body.close()
        super().close()
