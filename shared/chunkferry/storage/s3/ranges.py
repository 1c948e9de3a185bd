"""``Version``: one version of an object, read by ranges. Knows nothing of writers.

Every request is pinned to the version's ETag, so that bytes of two versions are never mixed. A
body that breaks off is asked for again from there: botocore repeats requests, but no bodies.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from chunkferry.errors import IntegrityError, StoreUnavailable
from chunkferry.storage.s3 import client, errors

if TYPE_CHECKING:
    from botocore.response import StreamingBody

    from chunkferry.storage.deadline import Deadline
    from chunkferry.storage.s3.bucket import Bucket

#: Bytes read at once.
_PIECE: Final = 256 * 1024
#: Seconds; as good as at once.
_NOW: Final = 0.001


class Version:
    """One version of the object at a path: the one with ``etag``."""

    def __init__(self, bucket: Bucket, filepath: str, etag: str, deadline: Deadline) -> None:
        self._bucket: Final = bucket
        self._filepath: Final = filepath
        self._key: Final = bucket.key(filepath)
        self._etag: Final = etag
        self._deadline: Final = deadline

    def fetch(self, start: int, finish: int) -> bytes:
        """The bytes [start, finish)."""
        return b"".join(self.pieces(start, finish))

    def pieces(self, start: int, finish: int) -> Iterator[bytes]:
        """The bytes [start, finish), as they arrive.

        Raises:
            IntegrityError: the object is another one by now.
            StoreUnavailable: the time is up, or bodies keep breaking off.
        """
        attempts = client.ATTEMPTS
        while start < finish:
            try:
                for piece in self._body(start, finish):
                    start += len(piece)
                    yield piece
            except _BrokenBody as exc:
                attempts -= 1
                if not attempts:
                    raise StoreUnavailable(str(exc)) from exc

    def _body(self, start: int, finish: int) -> Iterator[bytes]:
        body, missing = self._request(start, finish), finish - start
        with closing(body), self._deadline.cutting(lambda: cut(body)):
            while missing:
                self._deadline.check()
                try:
                    with errors.translated(f"reading {self._filepath!r}"):
                        piece = body.read(min(_PIECE, missing))
                except StoreUnavailable as exc:
                    raise _BrokenBody(str(exc)) from exc
                missing -= len(piece)
                yield piece

    def _request(self, start: int, finish: int) -> StreamingBody:
        target: dict[str, Any] = {"Bucket": self._bucket.name, "Key": self._key}
        with errors.translated(f"reading {self._filepath!r}"):
            try:
                answer = self._bucket.client.get_object(
                    **target, Range=f"bytes={start}-{finish - 1}", IfMatch=self._etag
                )
            except ClientError as exc:
                if errors.is_changed(exc) or errors.is_absent(exc) or errors.is_beyond_end(exc):
                    raise self._changed() from exc
                raise
        # Of servers that do not know If-Match or Range.
        if answer["ETag"] != self._etag or answer["ContentLength"] != finish - start:
            answer["Body"].close()
            raise self._changed()
        return answer["Body"]

    def _changed(self) -> IntegrityError:
        msg = f"{self._filepath!r} is not the object any more that it was when reading began"
        return IntegrityError(msg)


class _BrokenBody(Exception):
    """An answer that broke off."""


def cut(body: StreamingBody) -> None:
    """Have whoever reads ``body`` in another thread fail at its next byte, or at its silence.

    Closing it would wait for that thread.
    """
    with suppress(AttributeError, OSError):  # it has ended, and has no socket any more
        body.set_socket_timeout(_NOW)
