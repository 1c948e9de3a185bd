"""``AzureStore``: whole objects in a container, and a service for each upload."""

from __future__ import annotations

from typing import IO, BinaryIO, Final

from chunkferry.services import HeadInfo
from chunkferry.storage import transfer
from chunkferry.storage import url as urls
from chunkferry.storage.azure import stream
from chunkferry.storage.azure.container import Container, bare
from chunkferry.storage.azure.upload import AzureFileService


def from_url(url: str) -> AzureStore:
    """The store of an ``az://`` URL. Does not connect to it yet.

    Raises:
        ConfigError: there is no container, or an option is unknown or unusable.
    """
    return AzureStore(Container(urls.parse(url)))


class AzureStore:
    """One container. Thread-safe, and survives a fork."""

    def __init__(self, container: Container) -> None:
        self._container: Final = container

    def chunk_file_service(self) -> AzureFileService:
        """A fresh service for one upload."""
        return AzureFileService(self._container)

    def exists(self, filepath: str) -> bool:
        """True if there is such an object."""
        return self._container.object(self._container.key(filepath)) is not None

    def head(self, filepath: str) -> HeadInfo:
        """What Azure knows of the object."""
        found = self._container.object(self._container.key(filepath))
        if found is None:
            return HeadInfo(exists=False)
        return HeadInfo(
            exists=True,
            last_modified=found.last_modified,
            content_length=found.size,
            content_type=found.content_settings.content_type or "",
            etag=bare(found.etag),
        )

    def get(self, filepath: str) -> IO[bytes]:
        """The object as a stream."""
        return stream.open_blob(self._container, self._container.key(filepath))

    def put(self, filepath: str, reader: BinaryIO) -> None:
        """Store all that ``reader`` holds; in blocks if it is large."""
        stream.write_blob(self._container, self._container.key(filepath), transfer.Reader(reader))

    def delete(self, filepath: str) -> None:
        """Remove the object."""
        self._container.delete(self._container.key(filepath))
