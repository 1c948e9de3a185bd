"""Signed URLs of S3: version 4, of a bucket's own client. Sends nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from chunkferry.services import SignedUrlConfig
from chunkferry.storage import disposition, lifetime
from chunkferry.storage.s3 import errors

if TYPE_CHECKING:
    from chunkferry.storage.s3.bucket import Bucket


def reading(bucket: Bucket, filepath: str, valid: timedelta, config: SignedUrlConfig) -> str:
    """A URL to GET the object with; disposition and type of the answer are part of it."""
    wanted = {
        "ResponseContentDisposition": disposition.header(config),
        "ResponseContentType": config.content_type,
    }
    return _signed(bucket, "get_object", filepath, valid, wanted)


def writing(bucket: Bucket, filepath: str, valid: timedelta, config: SignedUrlConfig) -> str:
    """A URL to PUT the object with; a type that is named has to be sent along."""
    return _signed(bucket, "put_object", filepath, valid, {"ContentType": config.content_type})


def _signed(
    bucket: Bucket,
    operation: Literal["get_object", "put_object"],
    filepath: str,
    valid: timedelta,
    wanted: dict[str, str],
) -> str:
    target = {"Bucket": bucket.name, "Key": bucket.key(filepath)}
    with errors.translated(f"signing a URL of {filepath!r}"):
        return bucket.client.generate_presigned_url(
            operation,
            Params=target | {name: value for name, value in wanted.items() if value},
            ExpiresIn=int(lifetime.check(valid).total_seconds()),
        )
