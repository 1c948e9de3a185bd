"""``S3Store``: whole objects in a bucket, and a service for each upload."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from chunkferry.services import Unfinished
from chunkferry.storage import url as urls
from chunkferry.storage.s3 import audit, probe
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

    def probe(self) -> list[Observation]:
        """Try what the server can do; see ``profiles`` for what that means."""
        return probe.observe(self._bucket)
