"""Reading and writing the bytes of whole blobs, neither of which need fit into memory."""

from __future__ import annotations

import secrets
from collections import deque
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from typing import IO, TYPE_CHECKING

import google_crc32c
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobProperties

from chunkferry.services import Part
from chunkferry.storage import transfer
from chunkferry.storage.azure import blocks, errors, metadata
from chunkferry.storage.azure.container import unchanged
from chunkferry.storage.body import no_heartbeat
from chunkferry.storage.deadline import spawn
from chunkferry.storage.stream import arriving

if TYPE_CHECKING:
    from chunkferry.storage.azure.container import Container


def open_blob(container: Container, key: str, timeout: timedelta | None = None) -> IO[bytes]:
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
    return arriving(errors.translated(action)(found.read), action, timeout)


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
        sending.append(spawn(partial(container.stage, key, names[-1], part.data, no_heartbeat)))
        if len(sending) == concurrency:
            sending.popleft().result()
        data = reader.read(size)
    for sent in sending:
        sent.result()
    container.replace_with(key, names)
