"""``LocalStore``: objects as files in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from pydantic import Field, model_validator

from chunkferry.errors import ConfigError
from chunkferry.services import HeadInfo, SignedUrlConfig, Unfinished
from chunkferry.storage import url as urls
from chunkferry.storage.local import audit, tree
from chunkferry.storage.local.objects import LocalObjects
from chunkferry.storage.local.signing import SecretFile, SignedRequest, UrlSigner
from chunkferry.storage.local.upload import LocalFileService
from chunkferry.upload import ChunkUpload


class LocalOptions(urls.Options):
    """Options of a ``file://`` URL."""

    base_url: str = Field("", description="where the folder is served; signed URLs begin with it")
    secret_file: str = Field("", description="file with the secrets that sign URLs, one per line")

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if bool(self.base_url) != bool(self.secret_file):
            msg = "signed URLs need both base_url and secret_file"
            raise ValueError(msg)
        return self


def from_url(url: str) -> LocalStore:
    """The store of a ``file://`` URL; a ``SigningLocalStore`` where it says how to sign.

    Raises:
        ConfigError: the path starts neither with ``/`` nor with ``.``, an option is unknown, or
            there are no secrets where it says.
    """
    parsed = urls.parse(url)
    options = urls.validate(parsed, LocalOptions)
    if not parsed.location.startswith(("/", "./", "../")):
        msg = "a file URL is file:///absolute/path or file://./relative/path"
        raise ConfigError(msg)
    root = Path(parsed.location)
    if not options.base_url:
        return LocalStore(root)
    secrets = SecretFile(Path(options.secret_file))
    secrets()
    return SigningLocalStore(root, UrlSigner(options.base_url, secrets))


class LocalStore(LocalObjects):
    """A folder of objects. Made on first use; thread-safe, and survives a fork."""

    def __init__(self, root: Path) -> None:
        # Absolute now: a later chdir must not move the store.
        super().__init__(tree.Tree(root.absolute()))

    def chunk_file_service(self) -> LocalFileService:
        """A fresh service for one upload."""
        return LocalFileService(self._tree)

    def reap(self, upload: ChunkUpload, may_remove: Callable[[], bool]) -> int:
        """Remove the unfinished file of ``upload``, whose name is never another upload's."""
        del may_remove  # only a session by path could be another upload's
        service = LocalFileService(self._tree)
        service.restore(upload, "")
        return int(service.remove_leftovers())

    def unfinished(self) -> Iterator[Unfinished]:
        """What lies in ``.chunkferry``; see ``audit``."""
        return audit.unfinished(self._tree)

    def weigh(self, found: Unfinished) -> int:
        """The size of the file."""
        return audit.weigh(self._tree, found)

    def remove(self, found: Unfinished) -> bool:
        """Remove the file."""
        return audit.remove(self._tree, found)

    def exists(self, filepath: str) -> bool:
        """True if there is such a file."""
        return self._facts(filepath) is not None

    def head(self, filepath: str) -> HeadInfo:
        """Size, time and tag; a folder keeps no MIME types."""
        facts = self._facts(filepath)
        if facts is None:
            return HeadInfo(exists=False)
        return HeadInfo(
            exists=True,
            last_modified=datetime.fromtimestamp(facts.st_mtime, UTC),
            content_length=facts.st_size,
            etag=tree.etag(facts),
        )

    def delete(self, filepath: str) -> None:
        """Remove the file, durably."""
        with (
            tree.translated(f"deleting {filepath!r}"),
            suppress(FileNotFoundError),
            self._tree.parent_of(filepath) as (folder, name),
        ):
            os.unlink(name, dir_fd=folder)
            os.fsync(folder)

    def _facts(self, filepath: str) -> os.stat_result | None:
        with (
            tree.translated(f"looking at {filepath!r}"),
            suppress(FileNotFoundError),
            self._tree.parent_of(filepath) as (folder, name),
        ):
            return tree.stat_file(folder, name)
        return None


class SigningLocalStore(LocalStore):
    """A folder whose files are served below a base URL to the bearers of signed URLs."""

    def __init__(self, root: Path, signer: UrlSigner) -> None:
        super().__init__(root)
        self._signer: Final = signer

    @property
    def base_path(self) -> str:
        """What the paths of its URLs begin with; ends with a slash."""
        return self._signer.base_path

    def signed_url(
        self, filepath: str, lifetime: timedelta, config: SignedUrlConfig | None = None
    ) -> str:
        """A URL that lets its bearer read the file."""
        return self._signer.sign("GET", filepath, lifetime, config)

    def put_signed_url(
        self, filepath: str, lifetime: timedelta, config: SignedUrlConfig | None = None
    ) -> str:
        """A URL that lets its bearer write the file."""
        return self._signer.sign("PUT", filepath, lifetime, config)

    def verify(self, method: str, url: str) -> SignedRequest:
        """What ``url`` allows; see ``UrlSigner.verify``.

        Raises:
            UrlRefused: it was not signed by us, not for this, or has expired.
        """
        return self._signer.verify(method, url)
