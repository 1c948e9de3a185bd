"""``AzureObjects``: whole objects in a container. Knows nothing of uploads in parts."""

from __future__ import annotations

from functools import partial
from typing import IO, Final

from azure.storage.blob import BlobProperties

from chunkferry.services import HeadInfo, Object
from chunkferry.storage.azure import stream
from chunkferry.storage.azure.container import Container, bare
from chunkferry.storage.deadline import Deadline
from chunkferry.storage.remote import RemoteObjects
from chunkferry.storage.transfer import Fetch, Reader


class AzureObjects(RemoteObjects[BlobProperties]):
    """The objects of a container, whole."""

    def __init__(self, container: Container) -> None:
        super().__init__()
        self._container: Final = container

    def _look(self, filepath: str) -> BlobProperties | None:
        return self._container.object(self._container.key(filepath))

    def _describe(self, found: BlobProperties) -> HeadInfo:
        return HeadInfo(
            exists=True,
            last_modified=found.last_modified,
            content_length=found.size,
            content_type=found.content_settings.content_type or "",
            etag=bare(found.etag),
        )

    def _md5(self, found: BlobProperties) -> bytes | None:
        # A blob made of several blocks has none.
        digest = found.content_settings.content_md5
        return bytes(digest) if digest else None

    def _page(self, prefix: str, token: str) -> tuple[list[Object], str]:
        found, following = self._container.page(self._container.prefix + prefix, token)
        listed = [
            Object(filepath=self._container.filepath(key), content_type=content_type, size=size)
            for key, size, content_type in found
        ]
        return listed, following

    def _open(self, filepath: str) -> IO[bytes]:
        return stream.open_blob(self._container, self._container.key(filepath), self._timeout)

    def _version(
        self, filepath: str, found: BlobProperties, deadline: Deadline
    ) -> tuple[int, Fetch]:
        del deadline  # the SDK reads each range in one go
        key = self._container.key(filepath)
        return found.size, partial(stream.read_range, self._container, key, found)

    def _write(self, filepath: str, content: Reader, block: int) -> None:
        key = self._container.key(filepath)
        stream.write_blob(self._container, key, content, block, self._concurrency)

    def _remove(self, filepath: str) -> object:
        return self._container.delete(self._container.key(filepath))

    def _retype(self, filepath: str, mime_type: str, deadline: Deadline) -> None:
        found = self._require(filepath, deadline)
        key = self._container.key(filepath)
        deadline.run(lambda: self._container.retype(key, found, mime_type))
