"""``Bucket``: one bucket with prefix and options: names, descriptions, small objects.

The SDK has no types: what it says of an object becomes a ``Found`` here.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from google.api_core.exceptions import GoogleAPICallError, NotFound

from chunkferry.filepath import RESERVED
from chunkferry.storage import url as urls
from chunkferry.storage.gcs import client, errors, metadata
from chunkferry.storage.gcs.options import GcsOptions
from chunkferry.storage.gcs.session import Session
from chunkferry.storage.per_process import PerProcess
from chunkferry.storage.place import Place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chunkferry.upload import ChunkUpload


#: Objects of one page of a listing.
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An object, as Google describes it."""

    #: Bytes.
    size: int
    etag: str
    #: Changes with the content, and never comes back.
    generation: int
    crc32c: int
    #: None for objects that were composed.
    md5: bytes | None
    content_type: str
    updated: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)


class Bucket(Place):
    """One bucket, as one URL describes it."""

    def __init__(self, url: urls.StoreUrl) -> None:
        """Take bucket, prefix and options from ``url``.

        Raises:
            ConfigError: there is no bucket, or there are credentials in its place.
        """
        super().__init__(url)
        self.options: Final = urls.validate(url, GcsOptions)
        self._clients: Final = PerProcess(partial(client.connect, self.options))

    @property
    def client(self) -> client.Client:
        """The client. Ask for it inside ``errors.translated``: making it may fail."""
        return self._clients()

    def tail_key(self, upload_id: str) -> str:
        """The name of the object that keeps the end of an unfinished upload: no filepath."""
        return f"{self.prefix}{RESERVED}/{upload_id}.tail"

    def blob(self, key: str, upload: ChunkUpload | None = None) -> Any:
        """The SDK's object for ``key``, with what an object made by ``upload`` shall carry.

        Ask for it inside ``errors.translated``.

        Raises:
            StoreRefused: GCS cannot hold the upload's metadata.
        """
        options = self.options
        blob = self.client.storage.bucket(self.name).blob(
            key, kms_key_name=options.kms_key_name or None
        )
        blob.content_type = (upload.content_type if upload else "") or options.content_type
        if options.storage_class:
            blob.storage_class = options.storage_class
        if upload is not None:
            blob.metadata = metadata.encode(upload.upload_id, upload.metadata)
        return blob

    def head(self, key: str) -> Found | None:
        """What Google says of the object; None if there is none.

        Raises:
            StoreError: Google did not say; in particular, there is no such bucket.
        """
        with errors.translated(f"looking at {key!r}"):
            bucket = self.client.storage.bucket(self.name)
            blob = bucket.blob(key)
            try:
                blob.reload(timeout=client.timeouts(), retry=client.sdk_retry())
            except NotFound as exc:
                if "No such object" not in str(exc):
                    self._require_bucket()
                return None
            return _found(blob)

    def put(
        self,
        key: str,
        data: bytes,
        upload: ChunkUpload | None = None,
        *,
        generation: int | None = None,
    ) -> Found:
        """Store a small object in one request, and have Google check its CRC32C.

        ``generation``, if given, is the one to be replaced; 0 if there must be no object.

        Raises:
            StoreUnavailable: also if there is another generation.
        """
        with errors.translated(f"storing {key!r}"):
            blob = self.blob(key, upload)
            blob.upload_from_string(
                data,
                content_type=blob.content_type,
                checksum="crc32c",
                if_generation_match=generation,
                predefined_acl=self.options.predefined_acl or None,
                timeout=client.timeouts(),
                retry=client.sdk_retry(),
            )
            return _found(blob)

    def open_session(self, key: str, upload: ChunkUpload | None = None) -> str:
        """Open a resumable session for the object of ``upload``, or for a plain put.

        Returns:
            Its URI, a credential.
        """
        with errors.translated(f"starting {key!r}"):
            blob = self.blob(key, upload)
            uri = blob.create_resumable_upload_session(
                content_type=blob.content_type,
                predefined_acl=self.options.predefined_acl or None,
                timeout=client.timeouts(),
                retry=client.sdk_retry(),
            )
            return str(uri)

    def session(self, uri: str, key: str) -> Session:
        """The session at ``uri``."""
        with errors.translated(f"connecting for {key!r}"):
            return Session(self.client.plain, uri, key)

    def read(self, key: str) -> bytes | None:
        """A small object; None if there is none."""
        with errors.translated(f"reading {key!r}"):
            blob = self.client.storage.bucket(self.name).blob(key)
            try:
                found = blob.download_as_bytes(
                    timeout=client.timeouts(), retry=client.sdk_retry(), checksum="crc32c"
                )
            except NotFound:
                return None
            return bytes(found)

    def delete(self, key: str) -> bool:
        """Remove the object; False if there was none."""
        with errors.translated(f"deleting {key!r}"):
            blob = self.client.storage.bucket(self.name).blob(key)
            try:
                blob.delete(timeout=client.timeouts(), retry=client.sdk_retry())
            except GoogleAPICallError as exc:
                if not errors.is_absent(exc):
                    raise
                if "No such object" not in str(exc):
                    self._require_bucket()
                return False
            return True

    def retype(self, key: str, mime_type: str) -> bool:
        """Change the object's type; False if there is none."""
        with errors.translated(f"changing the type of {key!r}"):
            blob = self.client.storage.bucket(self.name).blob(key)
            blob.content_type = mime_type
            try:
                blob.patch(timeout=client.timeouts(), retry=client.sdk_retry())
            except NotFound as exc:
                if "No such object" not in str(exc):
                    self._require_bucket()
                return False
            return True

    def page(self, prefix: str, token: str) -> tuple[list[tuple[str, int, str]], str]:
        """One page of a listing: key, size and type of each; and the token of the next page."""
        with errors.translated(f"listing {prefix!r}"):
            listing = self.client.storage.list_blobs(
                self.name,
                prefix=prefix,
                page_token=token or None,
                page_size=_PAGE,
                fields="items(name,size,contentType),nextPageToken",
                timeout=client.timeouts(),
                retry=client.sdk_retry(),
            )
            page = next(listing.pages, ())
            found = [(blob.name, int(blob.size), blob.content_type or "") for blob in page]
            return found, str(listing.next_page_token or "")

    def _require_bucket(self) -> None:
        """Raise unless the bucket exists: an absent object is told from an absent bucket."""
        listing = self.client.storage.list_blobs(
            self.name,
            max_results=1,
            fields="items(name)",
            timeout=client.timeouts(),
            retry=client.sdk_retry(),
        )
        next(iter(listing), None)


def _found(blob: Any) -> Found:
    return Found(
        size=int(blob.size),
        etag=str(blob.etag),
        generation=int(blob.generation),
        crc32c=int.from_bytes(b64decode(blob.crc32c), "big"),
        md5=b64decode(blob.md5_hash) if blob.md5_hash else None,
        content_type=blob.content_type or "",
        updated=blob.updated,
        metadata=dict(blob.metadata or {}),
    )
