"""Reading and writing the bytes of whole blobs, neither of which need fit into memory."""

from __future__ import annotations

import io
import secrets
from collections import deque
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import google_crc32c
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobProperties, StorageStreamDownloader

from chunkferry.services import Part
from chunkferry.storage import transfer
from chunkferry.storage.azure import blocks, errors, metadata
from chunkferry.storage.azure.container import unchanged
from chunkferry.storage.deadline import Deadline, spawn

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from chunkferry.storage.azure.container import Container

#: Bytes asked for at once while a blob is read.
_BUFFER: Final = 256 * 1024


def open_blob(
    container: Container, key: str, timeout: timedelta | None = None
) -> io.BufferedReader:
    """The bytes of one version of a blob, asked for as they are read, each within ``timeout``.

    Raises:
        FileNotFoundError: there is no such blob.
    """
    action = f"reading {key!r}"
    with errors.translated(action):
        try:
            found = container.blob(key).download_blob(max_concurrency=1)
        except HttpResponseError as exc:
            if errors.is_absent(exc):
                raise FileNotFoundError(key) from exc
            raise
    if metadata.DISCARDED in (found.properties.metadata or {}):
        raise FileNotFoundError(key)
    return io.BufferedReader(_Stream(found, action, timeout), _BUFFER)


def read_range(
    container: Container, key: str, found: BlobProperties, start: int, end: int
) -> bytes:
    """The bytes [start, end) of exactly the blob ``found``.

    Raises:
        IntegrityError: it is not there any more.
    """
    with errors.translated(f"reading {key!r}"):
        try:
            return bytes(
                container.blob(key)
                .download_blob(start, end - start, max_concurrency=1, **unchanged(found))
                .readall()
            )
        except HttpResponseError as exc:
            if errors.is_absent(exc) or errors.is_changed(exc):
                raise errors.changed(key) from exc
            raise


def write_blob(
    container: Container, key: str, reader: transfer.Reader, size: int, concurrency: int
) -> None:
    """Make a blob of all that ``reader`` holds: in one request, or of blocks of ``size`` bytes.

    Blocks of a reader that fails halfway wait for the next commit at this name, or for a week.
    """
    writing = secrets.token_hex(16)
    names, sending = list[str](), deque[Future[None]]()
    data = reader.read(size)
    if len(data) < size:
        container.replace(key, data)
        return
    while data:
        crc32c = int(google_crc32c.value(data))
        part = Part(number=len(names) + 1, offset=0, data=memoryview(data), crc32c=crc32c)
        names.append(blocks.of_part(writing, part))
        sending.append(spawn(partial(container.stage, key, names[-1], part.data, _no_heartbeat)))
        if len(sending) == concurrency:
            sending.popleft().result()
        data = reader.read(size)
    for sent in sending:
        sent.result()
    container.replace_with(key, names)


def _no_heartbeat() -> None:
    """There is no lease to keep."""


class _Stream(io.RawIOBase):
    """A blob's bytes as they arrive, with errors translated and a deadline for each read."""

    def __init__(
        self, source: StorageStreamDownloader[bytes], action: str, timeout: timedelta | None
    ) -> None:
        super().__init__()
        self._source = source
        self._action = action
        self._timeout = timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        data = Deadline(self._action, self._timeout).run(lambda: self._read(len(view)))
        view[: len(data)] = data
        return len(data)

    def _read(self, size: int) -> bytes:
        with errors.translated(self._action):
            return self._source.read(size)
