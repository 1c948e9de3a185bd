"""Objects in Azure Blob Storage: ``az://container/prefix?option=value``; see ``AzureOptions``.

A blob's name is ``prefix/filepath``. Credentials come from the variables that Azure's own tools
read, or else from ``DefaultAzureCredential``; never from the URL. The SDK is imported when the
first store is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chunkferry.errors import MissingExtra

if TYPE_CHECKING:
    from chunkferry.storage.azure.store import AzureStore


def from_url(url: str) -> AzureStore:
    """The store of an ``az://`` URL.

    Raises:
        ConfigError: there is no container or account, or an option is unknown or unusable.
        MissingExtra: azure-storage-blob or azure-identity is not installed.
    """
    try:
        import azure.identity  # noqa: PLC0415 - asked for here, so that its absence has a name
        import azure.storage.blob  # noqa: F401, PLC0415 - as above
    except ModuleNotFoundError as exc:
        feature = "an az:// store"
        raise MissingExtra(feature, "azure") from exc
    from chunkferry.storage.azure import store  # noqa: PLC0415 - imports the SDK

    return store.from_url(url)
