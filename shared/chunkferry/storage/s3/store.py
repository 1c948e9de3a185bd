"""``S3Store``: whole objects in a bucket, and a service for each upload."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from chunkferry.storage import url as urls
from chunkferry.storage.s3 import probe
from chunkferry.storage.s3.bucket import Bucket
from chunkferry.storage.s3.objects import S3Objects
from chunkferry.storage.s3.upload import S3FileService

if TYPE_CHECKING:
    from chunkferry.services import Observation
    from chunkferry.upload import ChunkUpload


def from_url(url: str) -> S3Store:
    """The store of an ``s3://`` URL. Does not connect to it yet.

    Raises:
        ConfigError: there is no bucket, or an option is unknown or unusable.
    """
    return S3Store(Bucket(urls.parse(url)))


class S3Store(S3Objects):
    """One bucket. Thread-safe, and survives a fork."""

    def chunk_file_service(self) -> S3FileService:
        """A fresh service for one upload."""
        return S3FileService(self._bucket)

    def reap(self, upload: ChunkUpload, may_remove: Callable[[], bool]) -> int:
        """Abort the sessions that were open for the path before ``may_remove`` was asked."""
        key = self._bucket.key(upload.filepath)
        sessions = self._bucket.sessions(key)
        if not sessions or not may_remove():
            return 0
        return sum(self._bucket.abort(key, session) for session in sessions)

    def probe(self) -> list[Observation]:
        """Try what the server can do; see ``profiles`` for what that means."""
        return probe.observe(self._bucket)
