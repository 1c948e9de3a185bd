"""``Container``: one container with prefix and options: names, descriptions, blocks."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (
    BlobBlock,
    BlobClient,
    BlobProperties,
    ContentSettings,
    StandardBlobTier,
)

from chunkferry.errors import InvalidPath
from chunkferry.filepath import MAX_BYTES, check_filepath
from chunkferry.storage import body
from chunkferry.storage import url as urls
from chunkferry.storage.azure import errors, metadata
from chunkferry.storage.azure.client import connect
from chunkferry.storage.azure.options import AzureOptions
from chunkferry.storage.per_process import PerProcess
from chunkferry.storage.place import Place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chunkferry.services import Heartbeat


#: Blobs of one page of a listing.
_PAGE: Final = 1000
#: Metadata of what is no object: our own leftovers, and folders of hierarchical accounts.
_HIDDEN: Final = frozenset({metadata.DISCARDED, "hdi_isfolder"})


class Container(Place):
    """One container, as one URL describes it."""

    def __init__(self, url: urls.StoreUrl) -> None:
        """Take container, prefix and options from ``url``.

        Raises:
            ConfigError: there is no container, or there are credentials in its place.
        """
        super().__init__(url, "container")
        self.options: Final = urls.validate(url, AzureOptions)
        #: The client of the account.
        self.service: Final = PerProcess(partial(connect, self.options, os.environ))

    def blob(self, key: str) -> BlobClient:
        """The client of one blob. Ask for it inside ``errors.translated``."""
        return self.service().get_blob_client(self.name, key)

    def key(self, filepath: str) -> str:
        """The name of the blob at ``filepath``.

        Raises:
            InvalidPath: Azure has no such name; it counts characters, where others count bytes.
        """
        key = self.prefix + check_filepath(filepath)
        if len(key) > MAX_BYTES:
            raise InvalidPath(filepath, f"is longer than {MAX_BYTES} characters with its prefix")
        if any(component.endswith(".") for component in key.split("/")):
            raise InvalidPath(filepath, "holds a component that ends with a dot; Azure drops that")
        return key

    def head(self, key: str) -> BlobProperties | None:
        """What Azure says of the blob; None if there is none, or only uncommitted blocks.

        Raises:
            StoreError: Azure did not say; in particular, there is no such container.
        """
        with errors.translated(f"looking at {key!r}"):
            try:
                return self.blob(key).get_blob_properties()
            except HttpResponseError as exc:
                if errors.is_absent(exc):
                    return None
                raise

    def object(self, key: str) -> BlobProperties | None:
        """The same, without what is there only to be removed."""
        found = self.head(key)
        return None if found is None or _HIDDEN & set(found.metadata or {}) else found

    def uncommitted(self, key: str) -> dict[str, int]:
        """Names and sizes of the uncommitted blocks of a blob, whosever they are."""
        with errors.translated(f"listing the blocks of {key!r}"):
            try:
                _, found = self.blob(key).get_block_list("uncommitted")
            except HttpResponseError as exc:
                if errors.is_absent(exc):
                    return {}
                raise
            return {str(block.id): int(block.size) for block in found}

    def stage(self, key: str, name: str, data: memoryview, heartbeat: Heartbeat) -> None:
        """Send one block, along with the MD5 that Azure holds it against."""
        with (
            errors.translated(f"sending a block of {key!r}"),
            body.sent_with(data, heartbeat) as content,
        ):
            self.blob(key).stage_block(
                name,
                content,  # type: ignore[arg-type] # a file of memoryviews
                length=len(data),
                validate_content="md5",
                **self._scope(),
            )

    def commit(
        self,
        key: str,
        names: Sequence[str],
        before: BlobProperties | None,
        notes: Mapping[str, str],
        content_type: str = "",
    ) -> str | None:
        """Make the blob of uncommitted blocks, in place of ``before``, if nobody changed that.

        Returns:
            Its ETag; or None if the blob was changed, or a block is not there.
        """
        with errors.translated(f"completing {key!r}"):
            try:
                answer = self.blob(key).commit_block_list(
                    _listed(names),
                    **self._attributes(content_type),
                    metadata=dict(notes),
                    **unchanged(before),
                )
            except HttpResponseError as exc:
                if errors.is_changed(exc) or errors.are_blocks_gone(exc):
                    return None
                raise
            return bare(answer["etag"])

    def put(
        self, key: str, data: memoryview, notes: Mapping[str, str], content_type: str
    ) -> str | None:
        """Store a small blob in one request; None if there is one already."""
        with errors.translated(f"storing {key!r}"):
            try:
                answer = self.blob(key).upload_blob(
                    bytes(data),
                    length=len(data),
                    overwrite=False,
                    validate_content="md5",
                    **self._attributes(content_type),
                    metadata=dict(notes),
                )
            except HttpResponseError as exc:
                if errors.is_changed(exc):
                    return None
                raise
            return bare(answer["etag"])

    def replace(self, key: str, data: bytes) -> None:
        """Store a small blob in one request, in place of what is there."""
        with errors.translated(f"storing {key!r}"):
            self.blob(key).upload_blob(
                data,
                length=len(data),
                overwrite=True,
                validate_content="md5",
                **self._attributes(),
            )

    def replace_with(self, key: str, names: Sequence[str]) -> None:
        """Make the blob of uncommitted blocks, in place of what is there."""
        with errors.translated(f"storing {key!r}"):
            self.blob(key).commit_block_list(_listed(names), **self._attributes())

    def delete(self, key: str, found: BlobProperties | None = None) -> bool:
        """Remove the blob, or only ``found`` if given; False if there was none such."""
        with errors.translated(f"deleting {key!r}"):
            try:
                self.blob(key).delete_blob(**(unchanged(found) if found else {}))
            except HttpResponseError as exc:
                if errors.is_absent(exc) or errors.is_changed(exc):
                    return False
                raise
            return True

    def retype(self, key: str, found: BlobProperties, mime_type: str) -> None:
        """Change the type of exactly the blob ``found``; the other properties are sent along."""
        settings = found.content_settings
        settings.content_type = mime_type
        with errors.translated(f"changing the type of {key!r}"):
            self.blob(key).set_http_headers(settings, **unchanged(found))

    def page(self, prefix: str, token: str) -> tuple[list[tuple[str, int, str]], str]:
        """One page of a listing: name, size and type of each; and the token of the next page."""
        with errors.translated(f"listing {prefix!r}"):
            pages = (
                self.service()
                .get_container_client(self.name)
                .list_blobs(name_starts_with=prefix, include=["metadata"], results_per_page=_PAGE)
                .by_page(continuation_token=token or None)
            )
            found = [
                (str(blob.name), int(blob.size), blob.content_settings.content_type or "")
                for blob in next(pages, iter(()))
                if not _HIDDEN & set(blob.metadata or {})
            ]
            # Known once the page was taken; the SDK's base type does not tell of it.
            return found, str(getattr(pages, "continuation_token", None) or "")

    def _attributes(self, content_type: str = "") -> dict[str, Any]:
        """Arguments of every call that makes a blob."""
        tier = self.options.tier
        return {
            "content_settings": ContentSettings(
                content_type=content_type or self.options.content_type
            ),
            **({"standard_blob_tier": StandardBlobTier(tier)} if tier else {}),
            **self._scope(),
        }

    def _scope(self) -> dict[str, Any]:
        scope = self.options.encryption_scope
        return {"encryption_scope": scope} if scope else {}


def _listed(names: Sequence[str]) -> list[BlobBlock]:
    # As "latest": the SDK (12.31) sends no other state, whatever a block is given.
    return [BlobBlock(name) for name in names]


def unchanged(found: BlobProperties | None) -> dict[str, Any]:
    """The condition that the blob is still ``found``, or still absent."""
    if found is None:
        return {"match_condition": MatchConditions.IfMissing}
    return {"etag": found.etag, "match_condition": MatchConditions.IfNotModified}


def bare(etag: object) -> str:
    """An ETag without quotes."""
    return str(etag).strip('"')
