"""Reading and writing the bytes of whole objects, neither of which need fit into memory."""

from __future__ import annotations

import io
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import quote

import google_crc32c

from chunkferry.errors import ChunkferryError
from chunkferry.storage.gcs import client, errors

if TYPE_CHECKING:
    import requests
    from _typeshed import WriteableBuffer

    from chunkferry.storage.gcs.bucket import Bucket

#: Bytes asked for at once while an object is read.
_BUFFER: Final = 256 * 1024
#: Bytes kept while an object of unknown size is written; a multiple of 256 KiB.
_CHUNK: Final = 8 * 1024 * 1024
_GOOGLE: Final = "https://storage.googleapis.com"


def open_object(
    bucket: Bucket, key: str, start: int = 0, finish: int | None = None, *, generation: int = 0
) -> io.BufferedReader:
    """The bytes [start, finish) of an object, as they arrive.

    Raises:
        FileNotFoundError: there is no such object, or not in this generation, where one is given.
    """
    action = f"reading {key!r}"
    headers = {}
    if start or finish is not None:
        headers["Range"] = f"bytes={start}-{'' if finish is None else finish - 1}"
    with errors.translated(action):
        answer = bucket.client.authorized.get(
            f"{bucket.options.endpoint_url or _GOOGLE}/storage/v1/b/{quote(bucket.name, safe='')}"
            f"/o/{quote(key, safe='')}",
            params={"alt": "media"} | ({"generation": str(generation)} if generation else {}),
            headers=headers,
            stream=True,
            timeout=client.timeouts(),
        )
        if answer.status_code == HTTPStatus.NOT_FOUND:
            answer.close()
            if not generation:
                bucket.head(key)  # an absent bucket is an error of its own
            raise FileNotFoundError(key)
        if not answer.ok:
            answer.close()
            raise errors.of_status(answer.status_code, action)
    return io.BufferedReader(_Stream(answer, action), _BUFFER)


def write_object(bucket: Bucket, key: str, reader: BinaryIO) -> None:
    """Make an object of all that ``reader`` holds: in one request, or in a session."""
    chunk = _filled(reader)
    following = _filled(reader) if len(chunk) == _CHUNK else b""
    if not following:
        bucket.put(key, chunk)
        return
    session = bucket.session(bucket.open_session(key), key)
    try:
        offset, crc32c = 0, 0
        while following:
            session.store(memoryview(chunk), offset, _no_heartbeat)
            offset, crc32c = offset + len(chunk), google_crc32c.extend(crc32c, chunk)
            chunk, following = following, _filled(reader) if len(following) == _CHUNK else b""
        session.finish(chunk, offset + len(chunk), google_crc32c.extend(crc32c, chunk))
    except BaseException:
        # Whatever it was, nothing shall wait at the store. If that fails too, it ends by itself.
        with suppress(ChunkferryError):
            session.cancel()
        raise


def _filled(reader: BinaryIO) -> bytes:
    """The next ``_CHUNK`` bytes; fewer only at the end."""
    pieces, missing = list[bytes](), _CHUNK
    while missing and (piece := reader.read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def _no_heartbeat() -> None:
    """There is no lease to keep."""


class _Stream(io.RawIOBase):
    """An object's bytes as they arrive, with errors translated."""

    def __init__(self, answer: requests.Response, action: str) -> None:
        super().__init__()
        self._answer = answer
        self._action = action

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        with errors.translated(self._action):
            # Undecoded: an object with a content encoding is read as it is stored.
            data = self._answer.raw.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._answer.close()
        super().close()
