"""``Bucket``: one bucket with prefix and options: keys, heads, sessions, objects' attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from chunkferry.errors import InvalidPath, StoreUnavailable
from chunkferry.storage import url as urls
from chunkferry.storage.per_process import PerProcess
from chunkferry.storage.place import Place
from chunkferry.storage.s3 import errors, metadata
from chunkferry.storage.s3.client import connect
from chunkferry.storage.s3.options import S3Options

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

    from chunkferry.services import Heartbeat
    from chunkferry.upload import ChunkUpload

#: Listings asked for until one is empty: late requests may add sessions in between.
_ROUNDS: Final = 5


class Bucket(Place):
    """One bucket, as one URL describes it."""

    def __init__(self, url: urls.StoreUrl) -> None:
        """Take bucket, prefix and options from ``url``.

        Raises:
            ConfigError: there is no bucket, or there are credentials in its place.
        """
        super().__init__(url)
        self.options: Final = urls.validate(url, S3Options)
        self._clients: Final = PerProcess(partial(connect, self.options, self.name))

    @property
    def client(self) -> S3Client:
        """The client. Ask for it inside ``errors.translated``: making it may fail."""
        return self._clients()

    def can_hold(self, filepath: str) -> bool:
        """False if no object can be at ``filepath``, nor any session: S3 has no such key."""
        try:
            self.key(filepath)
        except InvalidPath:
            return False
        return True

    def encryption(self) -> dict[str, Any]:
        """Arguments of a call that makes an object: how it is encrypted, and who may see it."""
        chosen = {
            "ServerSideEncryption": self.options.sse,
            "SSEKMSKeyId": self.options.sse_kms_key_id,
            "ACL": self.options.acl,
        }
        return {name: value for name, value in chosen.items() if value}

    def attributes(self, upload: ChunkUpload | None = None) -> dict[str, Any]:
        """Arguments of every call that makes an object: for ``upload``, or for a plain put.

        Raises:
            StoreRefused: S3 cannot hold the upload's metadata.
        """
        chosen: Mapping[str, str] = {
            "ContentType": (upload.content_type if upload else "") or self.options.content_type,
            "StorageClass": self.options.storage_class,
            "Tagging": self.options.tags,
        }
        found = self.encryption() | {name: value for name, value in chosen.items() if value}
        if upload is not None:
            found["Metadata"] = metadata.encode(upload.upload_id, upload.metadata)
        return found

    def head(self, key: str) -> HeadObjectOutputTypeDef | None:
        """What S3 says of the object; None if there is none.

        Raises:
            StoreError: S3 did not say; in particular, there is no such bucket.
        """
        with errors.translated(f"looking at {key!r}"):
            try:
                return self.client.head_object(Bucket=self.name, Key=key, ChecksumMode="ENABLED")
            except ClientError as exc:
                if not errors.is_absent(exc):
                    raise
                # The answer to HEAD has no body that tells a missing bucket from a missing object.
                self.client.head_bucket(Bucket=self.name)
                return None

    def sessions(self, key: str) -> list[str]:
        """Ids of all open sessions for exactly ``key``."""
        with errors.translated(f"listing the sessions of {key!r}"):
            return list(self._listed(key))

    def abort(self, key: str, session: str) -> bool:
        """Remove a session and its parts; False if there was none."""
        with errors.translated(f"aborting a session of {key!r}"):
            try:
                self.client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=session)
            except ClientError as exc:
                if errors.is_session_lost(exc):
                    return False
                raise
            return True

    def abort_all(self, key: str, confirm: Heartbeat) -> None:
        """Remove sessions of ``key`` until a listing shows none.

        ``confirm`` is called between listing a session and removing it.

        Raises:
            StoreUnavailable: there are always new ones.
        """
        for _ in range(_ROUNDS):
            sessions = self.sessions(key)
            if not sessions:
                return
            for session in sessions:
                confirm()
                self.abort(key, session)
        msg = f"sessions of {key!r} are still listed after {_ROUNDS} rounds of aborts"
        raise StoreUnavailable(msg)

    def _listed(self, key: str) -> Iterator[str]:
        pages = self.client.get_paginator("list_multipart_uploads")
        for page in pages.paginate(Bucket=self.name, Prefix=key):
            for session in page.get("Uploads", []):
                # Longer keys with the same beginning are other objects.
                if session["Key"] == key:
                    yield session["UploadId"]
