"""One held lease: kept while there is progress, and the only way to the moves of a holder.

There is no renewal thread on purpose: a call that hangs makes no progress, loses its lease, and
another worker goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Final, NoReturn

from chunkferry.errors import LeaseLost, RedisUnavailable
from chunkferry.moves import Deferral, Ending, Recording, Release, Standing
from chunkferry.services import Leases, StoredObject, StoredPart
from chunkferry.state import State
from chunkferry.upload import ChunkUpload

#: The lease is renewed once this share of it is used up.
_RENEW_AFTER: Final = 1 / 3
#: Without an answer from Redis the holder goes on for this share of its lease, then stops.
_TRUSTED: Final = 0.8
#: Error texts are kept up to this length.
_MAX_ERROR: Final = 500


class Aborting(LeaseLost):
    """The upload is being removed: the holder stops and cleans up. The lease is still held."""

    code = "aborting"


class Lease:
    """The lease of one upload, held by this worker under ``nonce``."""

    def __init__(self, leases: Leases, upload: ChunkUpload, nonce: str, *, seconds: float) -> None:
        self._leases = leases
        self._id = upload.upload_id
        self._nonce = nonce
        self._seconds = seconds
        self._renewed_at = time.monotonic()
        self.upload = upload
        self._session = upload.session
        self.standing = Standing(state=upload.state, received=upload.received, length=upload.length)
        #: True once the upload is known to be on its way out.
        self.is_aborting = upload.state is State.ABORTING

    def heartbeat(self) -> None:
        """There was progress: renew if it is time to.

        Raises:
            Aborting: the upload is being removed.
            LeaseLost: another worker holds it, or Redis has been silent for too long to tell.
        """
        age = time.monotonic() - self._renewed_at
        if age < self._seconds * _RENEW_AFTER:
            return
        try:
            self.renew()
        except RedisUnavailable as exc:
            if age > self._seconds * _TRUSTED:
                raise LeaseLost(f"Redis was silent for {age:.0f} s of the lease") from exc

    def renew(self) -> None:
        """Renew now; raises as ``heartbeat``, and ``RedisUnavailable``."""
        self._take(self._leases.renew(self._id, self._nonce))

    def confirm(self) -> None:
        """This worker still holds the upload, whichever way that goes. Raises ``LeaseLost``."""
        try:
            self.renew()
        except Aborting:
            self._renewed_at = time.monotonic()

    def record_session(self, session: str, *, expected: str = "") -> None:
        """Remember the service's state. Raises ``Aborting`` if the upload is being removed."""
        outcome = self._leases.record_session(self._id, self._nonce, expected, session)
        if outcome is Recording.CLOSED:
            self._abort()
        if outcome is not Recording.RECORDED:
            raise LeaseLost(f"another session of upload {self._id} was recorded")
        self._session = session

    def commit(self, start: int, part: StoredPart, *, crc32c: int, boundary: int) -> None:
        """Count ``part`` as stored; see ``services.Leases.commit``. Raises as ``heartbeat``."""
        standing = self._leases.commit(
            self._id,
            self._nonce,
            start,
            part,
            crc32c=crc32c,
            boundary=boundary,
            session=self._session,
        )
        self._take(standing)

    def begin_complete(self, *, whole: bool = False) -> None:
        """Fix the direction. Raises ``Aborting`` if the upload is being removed."""
        if not self._leases.begin_complete(self._id, self._nonce, whole=whole):
            self._abort()

    def finish(self, ending: Ending, found: StoredObject | None = None) -> State:
        """End the upload; ``found`` is its object unless it was aborted."""
        if found is None:
            return self._leases.finish(self.upload, self._nonce, ending)
        return self._leases.finish(
            self.upload, self._nonce, ending, size=found.size, etag=found.etag
        )

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """The received bytes [start, end), piece by piece; see ``services.Leases.read``."""
        return self._leases.read(self._id, start, end)

    def stored_parts(self) -> list[StoredPart]:
        """All stored parts, in order."""
        return self._leases.stored_parts(self._id)

    def release(self) -> Release:
        """Let go."""
        return self._leases.release(self._id, self._nonce)

    def defer(self, backoff: timedelta, code: str, error: str) -> Deferral:
        """Let go until ``backoff`` is over."""
        return self._leases.defer(self._id, self._nonce, backoff, code, error[:_MAX_ERROR])

    def fail(self, code: str, error: str) -> None:
        """Give the upload up until it is requeued."""
        self._leases.fail(self._id, self._nonce, code, error[:_MAX_ERROR])

    def _take(self, standing: Standing) -> None:
        if standing.state is State.ABORTING:
            self._abort()
        self.standing = standing
        self._renewed_at = time.monotonic()

    def _abort(self) -> NoReturn:
        self.is_aborting = True
        raise Aborting(f"upload {self._id} is being removed")
