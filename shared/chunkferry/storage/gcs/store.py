"""``GcsStore``: whole objects in a bucket, and a service for each upload."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, TYPE_CHECKING, BinaryIO, Final

from chunkferry.services import HeadInfo
from chunkferry.storage import url as urls
from chunkferry.storage.gcs import stream
from chunkferry.storage.gcs.bucket import Bucket
from chunkferry.storage.gcs.upload import GcsFileService

if TYPE_CHECKING:
    from chunkferry.upload import ChunkUpload


def from_url(url: str) -> GcsStore:
    """The store of a ``gs://`` URL. Does not connect to it yet.

    Raises:
        ConfigError: there is no bucket, or an option is unknown or unusable.
    """
    return GcsStore(Bucket(urls.parse(url)))


class GcsStore:
    """One bucket. Thread-safe, and survives a fork."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket: Final = bucket

    def chunk_file_service(self) -> GcsFileService:
        """A fresh service for one upload."""
        return GcsFileService(self._bucket)

    def reap(self, upload: ChunkUpload, may_remove: Callable[[], bool]) -> int:  # noqa: ARG002
        """Remove what is named by this very upload: nobody else's, so nobody has to be asked."""
        return int(self._bucket.delete(self._bucket.tail_key(upload.upload_id)))

    def exists(self, filepath: str) -> bool:
        """True if there is such an object."""
        return self._bucket.head(self._bucket.key(filepath)) is not None

    def head(self, filepath: str) -> HeadInfo:
        """What Google knows of the object."""
        found = self._bucket.head(self._bucket.key(filepath))
        if found is None:
            return HeadInfo(exists=False)
        return HeadInfo(
            exists=True,
            last_modified=found.updated,
            content_length=found.size,
            content_type=found.content_type,
            etag=found.etag,
        )

    def get(self, filepath: str) -> IO[bytes]:
        """The object as a stream."""
        return stream.open_object(self._bucket, self._bucket.key(filepath))

    def put(self, filepath: str, reader: BinaryIO) -> None:
        """Store all that ``reader`` holds; in parts if it is large."""
        stream.write_object(self._bucket, self._bucket.key(filepath), reader)

    def delete(self, filepath: str) -> None:
        """Remove the object."""
        self._bucket.delete(self._bucket.key(filepath))
