"""``Session``: one resumable session, spoken to by its URI. Knows no upload and no part.

The SDK can open a session for another process, but not go on with one. What is said here is
Google's protocol of resumable uploads: bytes come in one order, a session counts them (308 with a
``Range``), takes multiples of 256 KiB until the last request, and makes the object when that one
tells the total. Bytes it has already are ignored, so whoever repeats them does no harm.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from chunkferry.errors import IntegrityError, SessionLost, StoreUnavailable
from chunkferry.parts import PART_SIZE_UNIT
from chunkferry.storage import body
from chunkferry.storage.gcs import client, errors

if TYPE_CHECKING:
    import requests

    from chunkferry.services import Heartbeat

_RANGE: Final = re.compile(r"(?:bytes=)?0-(\d+)")
_INCOMPLETE: Final = 308
_MADE: Final = frozenset({HTTPStatus.OK, HTTPStatus.CREATED})
_CANCELLED: Final = frozenset({HTTPStatus.OK, HTTPStatus.NO_CONTENT, 499})


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a session is."""

    #: Bytes that the store has.
    committed: int = 0
    #: True once the session has made its object.
    is_finished: bool = False


class Session:
    """One session. Requests that fail for a moment are repeated by Google's own machinery."""

    def __init__(
        self, http: requests.Session, uri: str, name: str, *, committed: int | None = None
    ) -> None:
        """Speak to the session at ``uri``.

        Args:
            http: sends no credentials along.
            uri: of the session; a credential itself: whoever has it can write the object.
            name: what errors call the object.
            committed: bytes that the session has, if that is known.
        """
        self._http: Final = http
        self._uri: Final = uri
        self._name: Final = name
        self._committed = committed

    def store(self, data: memoryview, offset: int, heartbeat: Heartbeat) -> None:
        """Add what the session lacks of ``data``, a multiple of 256 KiB that begins at ``offset``.

        Raises:
            SessionLost: there is no such session, or it has made its object.
            IntegrityError: it lacks bytes before ``offset``.
        """
        if not data:
            self._committed = None  # with nothing to send, at least see that there is a session
        with errors.translated(f"sending bytes to {self._name!r}"):
            client.session_retry()(self._advance)(data, offset, heartbeat)

    def finish(self, read_tail: Callable[[], bytes], total: int, crc32c: int) -> None:
        """Add the tail, which ends at ``total``, and make the object; nothing if it is made.

        ``read_tail`` is asked for it only if the object is not made yet.

        Raises:
            IntegrityError: the bytes in the session are not those; there is no object.
            SessionLost: there is no such session.
        """
        with errors.translated(f"completing {self._name!r}"):
            client.session_retry()(self._finish)(read_tail, total, crc32c)

    @staticmethod
    def unit_floor(size: int) -> int:
        """How much of ``size`` bytes a session takes before the last request."""
        return size // PART_SIZE_UNIT * PART_SIZE_UNIT

    def ask(self) -> Standing:
        """How far it is. With a total in place of the star this request could make the object.

        Raises:
            SessionLost: there is no such session.
        """
        action = f"asking for the session of {self._name!r}"
        return self._standing(self._put("bytes */*", b"", action), action)

    def cancel(self) -> bool:
        """End the session without an object; False if there was none, or it had made one."""
        action = f"cancelling the session of {self._name!r}"
        with errors.translated(action):
            answer = self._http.delete(self._uri, timeout=client.timeouts())
        if answer.status_code in _CANCELLED:
            return True
        if answer.status_code in errors.SESSION_LOST:
            return False
        raise errors.of_session(answer.status_code, action)

    def _advance(self, data: memoryview, offset: int, heartbeat: Heartbeat) -> None:
        if self._committed is None:
            self._committed = self._open()
        while (start := self._committed) < offset + len(data):
            if start < offset:
                msg = f"the session of {self._name!r} has {start} bytes, expected {offset}"
                raise IntegrityError(msg)
            # Whatever interrupts the request, the next try asks how far it came.
            self._committed = None
            standing = self._send(data[start - offset :], start, heartbeat)
            if standing.is_finished:
                self._raise_finished()
            if standing.committed <= start:
                msg = f"the session of {self._name!r} took nothing at {start}"
                raise StoreUnavailable(msg)
            self._committed = standing.committed

    def _open(self) -> int:
        standing = self.ask()
        if standing.is_finished:
            self._raise_finished()
        return standing.committed

    def _raise_finished(self) -> None:
        msg = f"the session of {self._name!r} has made its object already"
        raise SessionLost(msg)

    def _send(self, data: memoryview, offset: int, heartbeat: Heartbeat) -> Standing:
        action = f"sending bytes from {offset} of {self._name!r}"
        span = f"bytes {offset}-{offset + len(data) - 1}/*"
        with body.sent_with(data, heartbeat) as content:
            return self._standing(self._put(span, content, action), action)

    def _finish(self, read_tail: Callable[[], bytes], total: int, crc32c: int) -> None:
        before = self.ask()
        if before.is_finished:
            return
        tail = read_tail()
        action = f"completing {self._name!r}"
        if before.committed != total - len(tail):
            msg = (
                f"the session of {self._name!r} has {before.committed} bytes, "
                f"expected {total - len(tail)} before the last {len(tail)}"
            )
            raise IntegrityError(msg)
        span = f"bytes {total - len(tail)}-{total - 1}/{total}" if tail else f"bytes */{total}"
        checksum = f"crc32c={b64encode(crc32c.to_bytes(4, 'big')).decode()}"
        answer = self._put(span, tail, action, {"X-Goog-Hash": checksum})
        if answer.status_code == HTTPStatus.BAD_REQUEST and "crc32c" in answer.text.lower():
            msg = f"the bytes in the session of {self._name!r} are not those that were received"
            raise IntegrityError(msg)
        if not self._standing(answer, action).is_finished:
            # The store took less than it was given; the next try asks where it stands.
            msg = f"{action}: the store did not take all bytes"
            raise StoreUnavailable(msg)

    def _put(
        self,
        span: str,
        content: bytes | body.PartBody,
        action: str,
        headers: dict[str, str] | None = None,
    ) -> requests.Response:
        with errors.translated(action):
            return self._http.put(
                self._uri,
                data=content,  # type: ignore[arg-type] # a file of memoryviews
                headers={"Content-Range": span, **(headers or {})},
                timeout=client.timeouts(),
                # 308 means "go on" here.
                allow_redirects=False,
            )

    def _standing(self, answer: requests.Response, action: str) -> Standing:
        if answer.status_code in _MADE:
            return Standing(is_finished=True)
        if answer.status_code != _INCOMPLETE:
            raise errors.of_session(answer.status_code, action)
        found = _RANGE.fullmatch(answer.headers.get("Range", "").strip())
        committed = int(found.group(1)) + 1 if found else 0
        # Google keeps whole units. Emulators say "0-0" of an empty session.
        return Standing(committed=self.unit_floor(committed))
