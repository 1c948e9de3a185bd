"""Objects in S3 and its like: ``s3://bucket/prefix?option=value``; ``S3Options`` has the options.

An object's key is ``prefix/filepath``. Credentials come from boto3's own chain (environment,
profile, instance role), never from the URL. boto3 is imported when the first store is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chunkferry.errors import MissingExtra

if TYPE_CHECKING:
    from chunkferry.storage.s3.store import S3Store


def from_url(url: str) -> S3Store:
    """The store of an ``s3://`` URL.

    Raises:
        ConfigError: there is no bucket, or an option is unknown or unusable.
        MissingExtra: boto3 is not installed.
    """
    try:
        import boto3  # noqa: F401, PLC0415 - asked for here, so that its absence has a name
    except ModuleNotFoundError as exc:
        feature = "an s3:// store"
        raise MissingExtra(feature, "s3") from exc
    from chunkferry.storage.s3 import store  # noqa: PLC0415 - imports boto3

    return store.from_url(url)
