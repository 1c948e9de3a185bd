"""``S3Objects``: whole objects in a bucket. Knows nothing of uploads in parts."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Final, cast

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from chunkferry import parts
from chunkferry.services import HeadInfo, Object, SignedUrlConfig
from chunkferry.storage.deadline import Deadline
from chunkferry.storage.remote import RemoteObjects
from chunkferry.storage.s3 import errors, ranges, signing
from chunkferry.storage.stream import arriving
from chunkferry.storage.transfer import Fetch, Reader

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

    from chunkferry.storage.s3.bucket import Bucket

_MD5: Final = re.compile(r"[0-9a-f]{32}")
#: What a copy onto itself would lose, as HEAD names it.
_KEPT: Final = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "Expires",
    "Metadata",
    "StorageClass",
    "WebsiteRedirectLocation",
)


class S3Objects(RemoteObjects["HeadObjectOutputTypeDef"]):
    """The objects of a bucket, whole."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__()
        self._bucket: Final = bucket

    def signed_url(
        self, filepath: str, lifetime: timedelta, config: SignedUrlConfig | None = None
    ) -> str:
        """A URL that lets its bearer read the object; it ends with the credentials, too."""
        return signing.reading(self._bucket, filepath, lifetime, config or SignedUrlConfig())

    def put_signed_url(
        self, filepath: str, lifetime: timedelta, config: SignedUrlConfig | None = None
    ) -> str:
        """A URL that lets its bearer store the object with one PUT, of up to 5 GiB."""
        return signing.writing(self._bucket, filepath, lifetime, config or SignedUrlConfig())

    def _look(self, filepath: str) -> HeadObjectOutputTypeDef | None:
        return self._bucket.head(self._bucket.key(filepath))

    def _describe(self, found: HeadObjectOutputTypeDef) -> HeadInfo:
        return HeadInfo(
            exists=True,
            last_modified=found["LastModified"],
            content_length=found["ContentLength"],
            # Some servers say none where none was given.
            content_type=found.get("ContentType", ""),
            etag=found["ETag"].strip('"'),
        )

    def _md5(self, found: HeadObjectOutputTypeDef) -> bytes | None:
        etag = found["ETag"].strip('"')
        return bytes.fromhex(etag) if self._is_md5(found) and _MD5.fullmatch(etag) else None

    def _page(self, prefix: str, token: str) -> tuple[list[Object], str]:
        going_on: dict[str, Any] = {"ContinuationToken": token} if token else {}
        with errors.translated(f"listing {prefix!r}"):
            page = self._bucket.client.list_objects_v2(
                Bucket=self._bucket.name, Prefix=self._bucket.prefix + prefix, **going_on
            )
        listed = [
            Object(filepath=self._bucket.filepath(item["Key"]), size=item["Size"])
            for item in page.get("Contents", [])
        ]
        return listed, page.get("NextContinuationToken", "")

    def _open(self, filepath: str) -> IO[bytes]:
        action = f"reading {filepath!r}"
        body = self._body(filepath, action)
        return arriving(
            errors.translated(action)(body.read),
            action,
            self._timeout,
            cut=partial(ranges.cut, body),
            close=body.close,
        )

    def _version(
        self, filepath: str, found: HeadObjectOutputTypeDef, deadline: Deadline
    ) -> tuple[int, Fetch]:
        version = ranges.Version(self._bucket, filepath, found["ETag"], deadline)
        return found["ContentLength"], version.fetch

    def _write(self, filepath: str, content: Reader, block: int) -> None:
        with errors.translated(f"writing {filepath!r}"):
            self._bucket.client.upload_fileobj(
                # Without seek(), so that s3transfer reads it in one thread, in order.
                cast("IO[bytes]", content),
                self._bucket.name,
                self._bucket.key(filepath),
                ExtraArgs=self._bucket.attributes(),
                Config=self._transfer(block),
            )

    def _remove(self, filepath: str) -> None:
        with errors.translated(f"deleting {filepath!r}"):
            self._bucket.client.delete_object(
                Bucket=self._bucket.name, Key=self._bucket.key(filepath)
            )

    def _retype(self, filepath: str, mime_type: str, deadline: Deadline) -> None:
        found = self._require(filepath, deadline)
        deadline.run(lambda: self._copy(filepath, found, mime_type))

    def _copy(self, filepath: str, found: HeadObjectOutputTypeDef, mime_type: str) -> None:
        """Copy the object onto itself with another type; all else of it stays, but its ACL."""
        key = self._bucket.key(filepath)
        arguments: dict[str, Any] = {name: found[name] for name in _KEPT if name in found}
        arguments |= self._bucket.encryption() | {
            "ContentType": mime_type,
            "MetadataDirective": "REPLACE",
            "CopySourceIfMatch": found["ETag"],
        }
        with errors.translated(f"changing the type of {filepath!r}"):
            self._bucket.client.copy(
                {"Bucket": self._bucket.name, "Key": key},
                self._bucket.name,
                key,
                ExtraArgs=arguments,
                # One request copies up to 5 GiB, and keeps the ETag an MD5.
                Config=self._transfer(parts.MAX_PART_SIZE),
            )

    def _body(self, filepath: str, action: str) -> StreamingBody:
        key = self._bucket.key(filepath)
        with errors.translated(action):
            try:
                return self._bucket.client.get_object(Bucket=self._bucket.name, Key=key)["Body"]
            except ClientError as exc:
                if errors.is_absent(exc):
                    raise FileNotFoundError(filepath) from exc
                raise

    def _is_md5(self, found: HeadObjectOutputTypeDef) -> bool:
        keyed = found.get("SSECustomerAlgorithm") or found.get("SSEKMSKeyId")
        # Directory buckets have ETags of their own.
        directory = self._bucket.name.endswith("--x-s3")
        return self._bucket.options.kind.md5_etags and not keyed and not directory

    def _transfer(self, part_size: int) -> TransferConfig:
        return TransferConfig(
            multipart_threshold=part_size,
            multipart_chunksize=part_size,
            max_concurrency=self._concurrency,
            # The other one, in C, has retries and time-outs of its own.
            preferred_transfer_client="classic",
        )
