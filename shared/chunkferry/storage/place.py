"""``Place``: the bucket and the prefix that a store's URL names, and the keys of objects in it.

Knows no store: the methods of a bucket are its subclass's.
"""

from __future__ import annotations

from typing import Final

from chunkferry.errors import ConfigError, InvalidPath
from chunkferry.filepath import MAX_BYTES, check_filepath
from chunkferry.storage.url import StoreUrl


class Place:
    """A part of a bucket, or a whole one."""

    def __init__(self, url: StoreUrl, kind: str = "bucket") -> None:
        """Take the name of the bucket, and the prefix, from ``url``.

        Args:
            url: ``scheme://name/prefix``.
            kind: what a bucket is called there.

        Raises:
            ConfigError: there is no name, or there are credentials in its place.
        """
        name, _, prefix = url.location.partition("/")
        if not name or "@" in name:
            msg = f"expected {url.scheme}://{kind}/prefix, without credentials"
            raise ConfigError(msg)
        self.name: Final = name
        #: Begins every key; empty, or ends with a slash.
        self.prefix: Final = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def key(self, filepath: str) -> str:
        """The key of the object at ``filepath``.

        Raises:
            InvalidPath: it is no filepath, or too long together with the prefix.
        """
        key = self.prefix + check_filepath(filepath)
        if len(key.encode()) > MAX_BYTES:
            raise InvalidPath(filepath, f"is longer than {MAX_BYTES} bytes with its prefix")
        return key

    def filepath(self, key: str) -> str:
        """The path of the object with ``key``; not all of them are filepaths."""
        return key.removeprefix(self.prefix)
