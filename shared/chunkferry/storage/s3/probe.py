"""What an S3 server can do, found out by trying it with a key of our own."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import google_crc32c
from botocore.exceptions import ClientError

from chunkferry.services import Observation
from chunkferry.storage.s3 import errors

if TYPE_CHECKING:
    from chunkferry.storage.s3.bucket import Bucket

_DATA: Final = b"chunkferry"


def observe(bucket: Bucket) -> list[Observation]:
    """Try each feature that ``profiles`` says something about; leaves nothing behind.

    Raises:
        StoreError: the server does not let us try.
    """
    return [
        Observation(
            feature="conditional writes (If-None-Match on PUT)",
            present=_tried(bucket, _knows_conditions),
            used=bucket.options.conditional_writes,
            turn_on="conditional_writes=true",
            turn_off="conditional_writes=false",
        ),
        Observation(
            feature="CRC32C of objects made of parts",
            present=_tried(bucket, _knows_checksums),
            used=bucket.options.sends_crc32c,
            turn_on="checksums=when_supported",
            turn_off="checksums=when_required",
        ),
    ]


def _tried(bucket: Bucket, feature: Callable[[Bucket, dict[str, Any]], bool]) -> bool:
    target: dict[str, Any] = {
        "Bucket": bucket.name,
        "Key": bucket.key(f".chunkferry-doctor/{secrets.token_hex(16)}"),
    }
    with errors.translated("trying what the server can do"):
        try:
            return feature(bucket, target)
        except ClientError as exc:
            if errors.is_refused(exc):
                return False
            raise
        finally:
            bucket.client.delete_object(**target)


def _knows_conditions(bucket: Bucket, target: dict[str, Any]) -> bool:
    bucket.client.put_object(**target, Body=_DATA, IfNoneMatch="*")
    try:
        bucket.client.put_object(**target, Body=_DATA, IfNoneMatch="*")
    except ClientError as exc:
        if errors.is_changed(exc):
            return True
        raise
    return False


def _knows_checksums(bucket: Bucket, target: dict[str, Any]) -> bool:
    checksum = b64encode(google_crc32c.value(_DATA).to_bytes(4, "big")).decode()
    whole: dict[str, Any] = {"ChecksumType": "FULL_OBJECT"}
    session = bucket.client.create_multipart_upload(**target, ChecksumAlgorithm="CRC32C", **whole)
    upload: dict[str, Any] = {**target, "UploadId": session["UploadId"]}
    try:
        part = bucket.client.upload_part(
            **upload, PartNumber=1, Body=_DATA, ChecksumCRC32C=checksum
        )
        bucket.client.complete_multipart_upload(
            **upload,
            **whole,
            ChecksumCRC32C=checksum,
            MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
        )
    except ClientError:
        with suppress(ClientError):
            bucket.client.abort_multipart_upload(**upload)
        raise
    found = bucket.client.head_object(**target, ChecksumMode="ENABLED")
    return found.get("ChecksumCRC32C") == checksum
