"""``GcsStore``: whole objects in a bucket, and a service for each upload."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from chunkferry.services import SignedUrlConfig
from chunkferry.storage import url as urls
from chunkferry.storage.gcs import signing
from chunkferry.storage.gcs.bucket import Bucket
from chunkferry.storage.gcs.objects import GcsObjects
from chunkferry.storage.gcs.upload import GcsFileService

if TYPE_CHECKING:
    from chunkferry.upload import ChunkUpload


def from_url(url: str) -> GcsStore:
    """The store of a ``gs://`` URL; a ``SigningGcsStore`` unless it is used anonymously.

    Does not connect to it yet.

    Raises:
        ConfigError: there is no bucket, or an option is unknown or unusable.
    """
    bucket = Bucket(urls.parse(url))
    return GcsStore(bucket) if bucket.options.anonymous else SigningGcsStore(bucket)


class GcsStore(GcsObjects):
    """One bucket. Thread-safe, and survives a fork."""

    def chunk_file_service(self) -> GcsFileService:
        """A fresh service for one upload."""
        return GcsFileService(self._bucket)

    def reap(self, upload: ChunkUpload, may_remove: Callable[[], bool]) -> int:
        """Remove what is named by this very upload."""
        del may_remove  # nobody else's: nobody has to be asked
        return int(self._bucket.delete(self._bucket.tail_key(upload.upload_id)))


class SigningGcsStore(GcsStore):
    """The same with credentials, which may be able to sign."""

    def signed_url(
        self, filepath: str, lifetime: timedelta, config: SignedUrlConfig | None = None
    ) -> str:
        """A URL that lets its bearer read the object."""
        return signing.reading(self._bucket, filepath, lifetime, config or SignedUrlConfig())

    def put_signed_url(
        self, filepath: str, lifetime: timedelta, config: SignedUrlConfig | None = None
    ) -> str:
        """A URL that lets its bearer store the object with one PUT."""
        return signing.writing(self._bucket, filepath, lifetime, config or SignedUrlConfig())
