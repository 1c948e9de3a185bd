"""Reading and writing the bytes of whole objects, neither of which need fit into memory."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Final
from urllib.parse import quote

import google_crc32c

from chunkferry.errors import ChunkferryError, IntegrityError, StoreUnavailable
from chunkferry.storage.body import no_heartbeat
from chunkferry.storage.deadline import Deadline
from chunkferry.storage.gcs import client, errors
from chunkferry.storage.stream import arriving

if TYPE_CHECKING:
    import requests

    from chunkferry.storage.gcs.bucket import Bucket, Found
    from chunkferry.storage.transfer import Reader

#: Bytes kept while an object of unknown size is written; a multiple of 256 KiB.
_CHUNK: Final = 8 * 1024 * 1024
_GOOGLE: Final = "https://storage.googleapis.com"


def open_object(bucket: Bucket, key: str, timeout: timedelta | None = None) -> IO[bytes]:
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
    return arriving(
        errors.translated(action)(answer.raw.read),
        action,
        timeout,
        cut=partial(_cut, answer),
        close=answer.close,
    )


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
            session.store(memoryview(chunk), offset, no_heartbeat)
            offset, crc32c = offset + len(chunk), google_crc32c.extend(crc32c, chunk)
            chunk, following = following, reader.read(_CHUNK)
        crc32c = google_crc32c.extend(crc32c, chunk)
        total = offset + len(chunk)
        whole = session.unit_floor(len(chunk))
        session.store(memoryview(chunk)[:whole], offset, no_heartbeat)
        session.finish(lambda: chunk[whole:], total, crc32c)
    except BaseException:
        # Whatever it was, nothing shall wait at the store. If that fails too, it ends by itself.
        with suppress(ChunkferryError):
            session.cancel()
        raise


class Version:
    """One version of an object, read by ranges."""

    def __init__(self, bucket: Bucket, key: str, found: Found, deadline: Deadline) -> None:
        self._bucket: Final = bucket
        self._key: Final = key
        self._found: Final = found
        self._deadline: Final = deadline

    def fetch(self, start: int, finish: int) -> bytes:
        """The bytes [start, finish); asked for again if they break off.

        Raises:
            IntegrityError: the object is another one by now.
        """
        with errors.translated(f"reading {self._key!r}"):
            return client.session_retry()(self._read)(start, finish)

    def _read(self, start: int, finish: int) -> bytes:
        self._deadline.check()
        action = f"reading {self._key!r}"
        with errors.translated(action), self._request(start, finish) as answer:
            if answer.status_code == HTTPStatus.NOT_FOUND:
                msg = f"{self._key!r} is not the object any more that it was when reading began"
                raise IntegrityError(msg)
            _require_ok(answer, action)
            with self._deadline.cutting(lambda: _cut(answer)):
                data = bytes(answer.raw.read())
        if len(data) != finish - start:
            msg = f"{action}: {len(data)} bytes came, expected {finish - start}"
            raise StoreUnavailable(msg)
        return data

    def _request(self, start: int, finish: int) -> requests.Response:
        generation = {"generation": str(self._found.generation)}
        span = {"Range": f"bytes={start}-{finish - 1}"}
        return _request(self._bucket, self._key, generation, span)


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


def _cut(answer: requests.Response) -> None:
    """Have whoever reads ``answer`` in another thread fail. Closing it would wait for them."""
    with suppress(OSError, RuntimeError, ValueError):  # it has ended, and has no socket any more
        answer.raw.shutdown()
