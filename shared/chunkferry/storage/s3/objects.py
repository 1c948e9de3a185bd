"""``S3Objects``: whole objects in a bucket. Knows nothing of uploads in parts."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from datetime import timedelta
from os import PathLike
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final, cast

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from chunkferry import parts
from chunkferry.filepath import check_filepath, is_filepath
from chunkferry.services import DownloadParams, HeadInfo, Object, Progress, SignedUrlConfig
from chunkferry.storage import transfer
from chunkferry.storage.deadline import Deadline, check_timeout
from chunkferry.storage.s3 import errors, signing, stream
from chunkferry.storage.s3.ranges import Version

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef, ListObjectsV2OutputTypeDef

    from chunkferry.storage.s3.bucket import Bucket

#: Size of the parts of an upload, where fewer than 10 000 of them suffice.
_PART: Final = 8 * parts.MIB
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


class S3Objects:
    """The objects of a bucket, whole."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket: Final = bucket
        self._concurrency = transfer.CONCURRENCY
        self._timeout: timedelta | None = None

    def set_concurrency(self, concurrency: int) -> None:
        """Use that many connections in each later transfer."""
        self._concurrency = transfer.check_concurrency(concurrency)

    def set_timeout(self, timeout: timedelta) -> None:
        """Give up every later call that takes longer."""
        self._timeout = check_timeout(timeout)

    def exists(self, filepath: str) -> bool:
        """True if there is such an object."""
        return self._head(filepath) is not None

    def head(self, filepath: str) -> HeadInfo:
        """What S3 knows of the object."""
        found = self._head(filepath)
        if found is None:
            return HeadInfo(exists=False)
        return HeadInfo(
            exists=True,
            last_modified=found["LastModified"],
            content_length=found["ContentLength"],
            # Some servers say none where none was given.
            content_type=found.get("ContentType", ""),
            etag=found["ETag"].strip('"'),
        )

    def md5(self, filepath: str) -> bytes | None:
        """The ETag, where that is the MD5 of the bytes."""
        found = self._head(filepath)
        if found is None:
            raise FileNotFoundError(filepath)
        etag = found["ETag"].strip('"')
        return bytes.fromhex(etag) if self._is_md5(found) and _MD5.fullmatch(etag) else None

    def objects(self, prefix: str = "") -> Iterator[Object]:
        """The objects whose paths start with ``prefix``, a page of up to 1 000 at a time."""
        token = ""
        while True:
            page = self._page(prefix, token)
            for item in page.get("Contents", []):
                filepath = self._bucket.filepath(item["Key"])
                # Others may have put keys here that no method takes, such as "folder/".
                if is_filepath(filepath):
                    yield Object(filepath=filepath, size=item["Size"])
            token = page.get("NextContinuationToken", "")
            if not token:
                return

    def get(self, filepath: str) -> IO[bytes]:
        """The object as a stream."""
        action = f"reading {filepath!r}"
        key = self._bucket.key(filepath)

        def request() -> StreamingBody:
            with errors.translated(action):
                try:
                    return self._bucket.client.get_object(Bucket=self._bucket.name, Key=key)["Body"]
                except ClientError as exc:
                    if errors.is_absent(exc):
                        raise FileNotFoundError(filepath) from exc
                    raise

        body = self._deadline(action).run(request)
        return stream.reader(body, action, self._timeout)

    def stream(self, filepath: str, writer: BinaryIO) -> None:
        """Write the object into ``writer``, from one connection."""
        self.download(filepath, writer, DownloadParams(concurrency=1))

    def download(
        self,
        filepath: str,
        writer: BinaryIO | PathLike[str],
        params: DownloadParams | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Write the object into ``writer``, from several connections."""
        concurrency = transfer.chosen(params, self._concurrency)
        deadline = self._deadline(f"reading {filepath!r}")
        version = Version(self._bucket, filepath, deadline)
        transfer.download(
            version.size,
            version.fetch,
            writer,
            deadline,
            concurrency=concurrency,
            progress=progress,
        )

    def download_range(self, filepath: str, writer: BinaryIO, start: int, finish: int) -> None:
        """Write bytes [start, finish) into ``writer``."""
        transfer.check_range(start, finish)
        deadline = self._deadline(f"reading {filepath!r}")
        version = Version(self._bucket, filepath, deadline)
        end = min(finish, version.size)
        transfer.download(
            max(end - start, 0),
            lambda at, until: version.fetch(start + at, start + until),
            writer,
            deadline,
            concurrency=1,
        )

    def read_version(
        self, filepath: str, etag: str, start: int, finish: int
    ) -> Generator[bytes, None, None]:
        """The bytes [start, finish), as they arrive.

        A connection that S3 closes because the reader pauses is replaced; by ranges, so that no
        number of pauses is too many.
        """
        version = Version(self._bucket, filepath, Deadline(f"reading {filepath!r}"))
        if version.etag != etag:
            raise transfer.changed(filepath)
        for at, to in transfer.spans(start, finish, transfer.RANGE):
            yield from version.pieces(at, to)

    def put(self, filepath: str, reader: BinaryIO) -> None:
        """Store all that ``reader`` holds; in parts if it is large, up to 80 000 MiB."""
        self._send(filepath, reader, _PART)

    def upload(
        self,
        filepath: str,
        filesize: int,
        reader: BinaryIO | PathLike[str],
        progress: Progress | None = None,
    ) -> None:
        """Store ``filesize`` bytes of ``reader``, over several connections."""
        part_size = parts.plan(filesize, _PART).part_size
        check_filepath(filepath)
        with transfer.source(reader) as file:
            self._send(filepath, file, part_size, size=filesize, progress=progress)

    def delete(self, filepath: str) -> None:
        """Remove the object."""
        key = self._bucket.key(filepath)

        def request() -> None:
            with errors.translated(f"deleting {filepath!r}"):
                self._bucket.client.delete_object(Bucket=self._bucket.name, Key=key)

        self._deadline(f"deleting {filepath!r}").run(request)

    def set_mime_type(self, filepath: str, mime_type: str) -> None:
        """Copy the object onto itself with another type; all else of it stays, but its ACL."""
        key = self._bucket.key(filepath)
        found = self._head(filepath)
        if found is None:
            raise FileNotFoundError(filepath)
        arguments: dict[str, Any] = {name: found[name] for name in _KEPT if name in found}
        arguments |= self._bucket.encryption() | {
            "ContentType": mime_type,
            "MetadataDirective": "REPLACE",
            "CopySourceIfMatch": found["ETag"],
        }
        action = f"changing the type of {filepath!r}"

        def request() -> None:
            with errors.translated(action):
                self._bucket.client.copy(
                    {"Bucket": self._bucket.name, "Key": key},
                    self._bucket.name,
                    key,
                    ExtraArgs=arguments,
                    # One request copies up to 5 GiB, and keeps the ETag an MD5.
                    Config=self._transfer(parts.MAX_PART_SIZE),
                )

        self._deadline(action).run(request)

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

    def _deadline(self, action: str) -> Deadline:
        return Deadline(action, self._timeout)

    def _head(self, filepath: str) -> HeadObjectOutputTypeDef | None:
        key = self._bucket.key(filepath)
        return self._deadline(f"looking at {filepath!r}").run(lambda: self._bucket.head(key))

    def _is_md5(self, found: HeadObjectOutputTypeDef) -> bool:
        keyed = found.get("SSECustomerAlgorithm") or found.get("SSEKMSKeyId")
        # Directory buckets have ETags of their own.
        directory = self._bucket.name.endswith("--x-s3")
        return self._bucket.options.kind.md5_etags and not keyed and not directory

    def _page(self, prefix: str, token: str) -> ListObjectsV2OutputTypeDef:
        going_on: dict[str, Any] = {"ContinuationToken": token} if token else {}

        def request() -> ListObjectsV2OutputTypeDef:
            with errors.translated(f"listing {prefix!r}"):
                return self._bucket.client.list_objects_v2(
                    Bucket=self._bucket.name, Prefix=self._bucket.prefix + prefix, **going_on
                )

        return self._deadline(f"listing {prefix!r}").run(request)

    def _send(
        self,
        filepath: str,
        reader: BinaryIO,
        part_size: int,
        *,
        size: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        key = self._bucket.key(filepath)
        deadline = self._deadline(f"writing {filepath!r}")
        content = transfer.Reader(reader, size=size, progress=progress, deadline=deadline)

        def request() -> None:
            with errors.translated(f"writing {filepath!r}"):
                self._bucket.client.upload_fileobj(
                    # Without seek(), so that s3transfer reads it in one thread, in order.
                    cast("IO[bytes]", content),
                    self._bucket.name,
                    key,
                    ExtraArgs=self._bucket.attributes(),
                    Config=self._transfer(part_size),
                )

        deadline.run(request)

    def _transfer(self, part_size: int) -> TransferConfig:
        return TransferConfig(
            multipart_threshold=part_size,
            multipart_chunksize=part_size,
            max_concurrency=self._concurrency,
            # The other one, in C, has retries and time-outs of its own.
            preferred_transfer_client="classic",
        )
