"""Objects in Google Cloud Storage: ``gs://bucket/prefix?option=value``; ``GcsOptions`` has them.

An object's name is ``prefix/filepath``. Credentials are Google's application default ones
(environment, gcloud, metadata server), never in the URL. The SDK is imported when the first store
is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chunkferry.errors import MissingExtra

if TYPE_CHECKING:
    from chunkferry.storage.gcs.store import GcsStore


def from_url(url: str) -> GcsStore:
    """The store of a ``gs://`` URL.

    Raises:
        ConfigError: there is no bucket, or an option is unknown or unusable.
        MissingExtra: google-cloud-storage is not installed.
    """
    try:
        import google.cloud.storage  # noqa: F401, PLC0415 - asked for here: its absence has a name
    except ModuleNotFoundError as exc:
        feature = "a gs:// store"
        raise MissingExtra(feature, "gcs") from exc
    from chunkferry.storage.gcs import store  # noqa: PLC0415 - imports the SDK

    return store.from_url(url)
