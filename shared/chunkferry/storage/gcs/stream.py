"""Reading and writing the bytes of whole objects, neither of which need fit into memory."""

from __future__ import annotations

import io
from contextlib import suppress
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import google_crc32c

from chunkferry.errors import ChunkferryError, IntegrityError, StoreUnavailable
from chunkferry.storage.deadline import Deadline
from chunkferry.storage.gcs import client, errors

if TYPE_CHECKING:
    import requests
    from _typeshed import WriteableBuffer

    from chunkferry.storage.gcs.bucket import Bucket, Found
    from chunkferry.storage.transfer import Reader

#: Bytes asked for at once while an object is read.
_BUFFER: Final = 256 * 1024
#: Bytes kept while an object of unknown size is written; a multiple of 256 KiB.
_CHUNK: Final = 8 * 1024 * 1024
_GOOGLE: Final = "https://storage.googleapis.com"


def open_object(bucket: Bucket, key: str, timeout: timedelta | None = None) -> io.BufferedReader:
    """The bytes of an object, as they arrive; each read may take ``timeout``.

    Raises:
        FileNotFoundError: there is no such object.
    """
    action = f"reading {key!r}"
    with errors.translated(action):
        answer = _request(bucket, key, {}, {})
        if answer.status_code == HTTPStatus.NOT_FOUND:
            answer.close()
            bucket.head(key)  # an absent bucket is an error of its own
            raise FileNotFoundError(key)
        _require_ok(answer, action)
    return io.BufferedReader(_Stream(answer, action, timeout), _BUFFER)


def read_range(bucket: Bucket, key: str, found: Found, start: int, finish: int) -> bytes:
    """The bytes [start, finish) of exactly the object ``found``; tried again if they break off.

    Raises:
        IntegrityError: it is not there any more.
    """

    def read() -> bytes:
        with errors.translated(f"reading {key!r}"):
            return _read(bucket, key, found, start, finish)

    with errors.translated(f"reading {key!r}"):
        return client.session_retry()(read)()


def write_object(bucket: Bucket, key: str, reader: Reader) -> None:
    """Make an object of all that ``reader`` holds: in one request, or in a session."""
    chunk = reader.read(_CHUNK)
    following = reader.read(_CHUNK) if len(chunk) == _CHUNK else b""
    if not following:
        bucket.put(key, chunk)
        return
    session = bucket.session(bucket.open_session(key), key)
    try:
        offset, crc32c = 0, 0
        while following:
            session.store(memoryview(chunk), offset, _no_heartbeat)
            offset, crc32c = offset + len(chunk), google_crc32c.extend(crc32c, chunk)
            chunk, following = following, reader.read(_CHUNK)
        crc32c = google_crc32c.extend(crc32c, chunk)
        total = offset + len(chunk)
        whole = session.unit_floor(len(chunk))
        session.store(memoryview(chunk)[:whole], offset, _no_heartbeat)
        session.finish(lambda: chunk[whole:], total, crc32c)
    except BaseException:
        # Whatever it was, nothing shall wait at the store. If that fails too, it ends by itself.
        with suppress(ChunkferryError):
            session.cancel()
        raise


def _read(bucket: Bucket, key: str, found: Found, start: int, finish: int) -> bytes:
    span = {"Range": f"bytes={start}-{finish - 1}"}
    answer = _request(bucket, key, {"generation": str(found.generation)}, span)
    with answer:
        if answer.status_code == HTTPStatus.NOT_FOUND:
            msg = f"{key!r} is not the object any more that it was when reading began"
            raise IntegrityError(msg)
        _require_ok(answer, f"reading {key!r}")
        data = bytes(answer.raw.read())
    if len(data) != finish - start:
        msg = f"reading {key!r}: {len(data)} bytes came, expected {finish - start}"
        raise StoreUnavailable(msg)
    return data


def _request(
    bucket: Bucket, key: str, params: dict[str, str], headers: dict[str, str]
) -> requests.Response:
    """Ask for content as it is stored, also where it has a content encoding."""
    return bucket.client.authorized.get(
        f"{bucket.options.endpoint_url or _GOOGLE}/storage/v1/b/{quote(bucket.name, safe='')}"
        f"/o/{quote(key, safe='')}",
        params={"alt": "media", **params},
        headers={"Accept-Encoding": "gzip", **headers},
        stream=True,
        timeout=client.timeouts(),
    )


def _require_ok(answer: requests.Response, action: str) -> None:
    if not answer.ok:
        answer.close()
        raise errors.of_status(answer.status_code, action)


def _no_heartbeat() -> None:
    """There is no lease to keep."""


class _Stream(io.RawIOBase):
    """An object's bytes as they arrive, with errors translated and a deadline for each read."""

    def __init__(self, answer: requests.Response, action: str, timeout: timedelta | None) -> None:
        super().__init__()
        self._answer = answer
        self._action = action
        self._timeout = timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        data = Deadline(self._action, self._timeout).run(lambda: self._read(len(view)))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._answer.close()
        super().close()

    def _read(self, size: int) -> bytes:
        with errors.translated(self._action):
            return bytes(self._answer.raw.read(size))
