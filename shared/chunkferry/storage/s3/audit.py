"""What is unfinished in a bucket, whoever began it. Knows no uploads: S3 lists keys and times.

S3 shows neither metadata nor tags of an unfinished upload, so only its key tells whose it is:
beneath a prefix everything is chunkferry's, in a bucket without one nothing is, unless the
operator says so (``exclusive``).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from chunkferry.errors import InvalidPath, SessionLost
from chunkferry.services import Unfinished
from chunkferry.storage.s3 import errors

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import MultipartUploadTypeDef

    from chunkferry.storage.s3.bucket import Bucket

#: Sessions of one answer: the most S3 gives.
PAGE: Final = 1000


def unfinished(bucket: Bucket) -> Iterator[Unfinished]:
    """All unfinished multipart uploads beneath the bucket's prefix, fetched page by page."""
    with errors.translated("listing what is unfinished"):
        pages = bucket.client.get_paginator("list_multipart_uploads").paginate(
            Bucket=bucket.name, Prefix=bucket.prefix, PaginationConfig={"PageSize": PAGE}
        )
        for page in pages:
            now = _time_of(page["ResponseMetadata"]["HTTPHeaders"])
            for session in page.get("Uploads", []):
                # Some servers do not heed the prefix.
                if session["Key"].startswith(bucket.prefix):
                    yield _described(bucket, session, now)


def weigh(bucket: Bucket, found: Unfinished) -> int:
    """Bytes of all parts; 0 if the session is gone."""
    action = "weighing what is unfinished"
    try:
        with errors.translated(action):
            pages = bucket.client.get_paginator("list_parts").paginate(
                Bucket=bucket.name, Key=_key(bucket, found), UploadId=found.name
            )
            return sum(part["Size"] for page in pages for part in page.get("Parts", []))
    except SessionLost:
        return 0


def remove(bucket: Bucket, found: Unfinished) -> bool:
    """Abort the session; False if there was none."""
    return bucket.abort(_key(bucket, found), found.name)


def _described(bucket: Bucket, session: MultipartUploadTypeDef, now: datetime) -> Unfinished:
    filepath = session["Key"].removeprefix(bucket.prefix)
    return Unfinished(
        name=session["UploadId"],
        # Without a date it is never old enough.
        age=now - session.get("Initiated", now),
        filepath=filepath,
        is_ours=bool(bucket.prefix or bucket.options.exclusive) and _may_be_ours(bucket, filepath),
    )


def _may_be_ours(bucket: Bucket, filepath: str) -> bool:
    """True unless no upload can have this path."""
    try:
        bucket.key(filepath)
    except InvalidPath:
        return False
    return True


def _key(bucket: Bucket, found: Unfinished) -> str:
    return bucket.prefix + found.filepath


def _time_of(headers: dict[str, Any]) -> datetime:
    """The server's own clock, by which it dates sessions; ours where it does not say."""
    try:
        said = parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return datetime.now(UTC)
    return said if said.tzinfo else said.replace(tzinfo=UTC)
