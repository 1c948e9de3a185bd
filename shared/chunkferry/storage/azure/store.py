"""``AzureStore``: whole objects in a container, and a service for each upload."""

from __future__ import annotations

from datetime import timedelta

from chunkferry.services import SignedUrlConfig
from chunkferry.storage import url as urls
from chunkferry.storage.azure import signing
from chunkferry.storage.azure.container import Container
from chunkferry.storage.azure.objects import AzureObjects
from chunkferry.storage.azure.upload import AzureFileService


def from_url(url: str) -> AzureStore:
    """The store of an ``az://`` URL. Does not connect to it yet.

    Raises:
        ConfigError: there is no container, or an option is unknown or unusable.
    """
    return AzureStore(Container(urls.parse(url)))


class AzureStore(AzureObjects):
    """One container. Thread-safe, and survives a fork."""

    def chunk_file_service(self) -> AzureFileService:
        """A fresh service for one upload."""
        return AzureFileService(self._container)

    def signed_url(
        self, filepath: str, lifetime: timedelta, config: SignedUrlConfig | None = None
    ) -> str:
        """A URL that lets its bearer read the object."""
        return signing.reading(self._container, filepath, lifetime, config or SignedUrlConfig())

    def put_signed_url(
        self, filepath: str, lifetime: timedelta, config: SignedUrlConfig | None = None
    ) -> str:
        """A URL that lets its bearer store the object; Azure does not bind it to a type."""
        del config
        return signing.writing(self._container, filepath, lifetime)
