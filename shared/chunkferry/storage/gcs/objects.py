"""``GcsObjects``: whole objects in a bucket. Knows nothing of uploads in parts."""

from __future__ import annotations

from typing import IO, Final

from chunkferry.services import HeadInfo, Object
from chunkferry.storage.deadline import Deadline
from chunkferry.storage.gcs import stream
from chunkferry.storage.gcs.bucket import Bucket, Found
from chunkferry.storage.remote import RemoteObjects
from chunkferry.storage.transfer import Fetch, Reader


class GcsObjects(RemoteObjects[Found]):
    """The objects of a bucket, whole. An upload takes one connection: sessions have an order."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__()
        self._bucket: Final = bucket

    def _look(self, filepath: str) -> Found | None:
        return self._bucket.head(self._bucket.key(filepath))

    def _describe(self, found: Found) -> HeadInfo:
        return HeadInfo(
            exists=True,
            last_modified=found.updated,
            content_length=found.size,
            content_type=found.content_type,
            etag=found.etag,
        )

    def _md5(self, found: Found) -> bytes | None:
        # An object that was composed has none.
        return found.md5

    def _page(self, prefix: str, token: str) -> tuple[list[Object], str]:
        found, following = self._bucket.page(self._bucket.prefix + prefix, token)
        listed = [
            Object(filepath=self._bucket.filepath(key), content_type=content_type, size=size)
            for key, size, content_type in found
        ]
        return listed, following

    def _open(self, filepath: str) -> IO[bytes]:
        return stream.open_object(self._bucket, self._bucket.key(filepath), self._timeout)

    def _version(self, filepath: str, found: Found, deadline: Deadline) -> tuple[int, Fetch]:
        version = stream.Version(self._bucket, self._bucket.key(filepath), found, deadline)
        return found.size, version.fetch

    def _write(self, filepath: str, content: Reader, block: int) -> None:
        del block  # sessions have chunks of their own
        stream.write_object(self._bucket, self._bucket.key(filepath), content)

    def _remove(self, filepath: str) -> object:
        return self._bucket.delete(self._bucket.key(filepath))

    def _retype(self, filepath: str, mime_type: str, deadline: Deadline) -> None:
        # The generation stays, and with it all else.
        key = self._bucket.key(filepath)
        if not deadline.run(lambda: self._bucket.retype(key, mime_type)):
            raise FileNotFoundError(filepath)
