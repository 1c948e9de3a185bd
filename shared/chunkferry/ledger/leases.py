"""The workers' moves, each fenced by the nonce of the lease."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Final, cast

from chunkferry import connection, keys, stream
from chunkferry.config import Settings
from chunkferry.ledger.scripts import SLACK, Scripts, lease_lost, milliseconds, of
from chunkferry.moves import Acquisition, Deferral, Ending, Recording, Release, Standing
from chunkferry.services import StoredPart
from chunkferry.state import State
from chunkferry.upload import ChunkUpload

#: The keys of ``finish``, beside the path.
_FINISHED: Final = (
    *("intake", "work", "parts", "receipts", "events"),
    *("due", "filling", "ended", "graves", "joins", "partials", "telling"),
)


class RedisLeases:
    """The workers' side of the ledger. All moves raise ``LeaseLost`` to a former holder."""

    def __init__(self, scripts: Scripts, settings: Settings) -> None:
        self._scripts = scripts
        self._settings = settings
        self._rewake_ms = milliseconds(settings.rewake_seconds)
        self._lease = {"lease_ms": milliseconds(settings.lease_seconds), "slack_ms": SLACK}
        self._failed_ms = milliseconds(settings.failed_upload_expiry)

    def acquire(self, upload_id: str, nonce: str, worker: str) -> Acquisition:
        """Try to take the lease; see ``services.Leases``."""
        outcome, *takeover = self._scripts.run(
            "acquire",
            of(upload_id, "intake", "work", "due", "events", "filling", "telling"),
            {
                "upload_id": upload_id,
                "nonce": nonce,
                "worker": worker,
                "max_deaths": self._settings.max_deaths,
                "failed_ms": self._failed_ms,
                **self._lease,
            },
        )
        return Acquisition.TAKEN_OVER if takeover == ["1"] else Acquisition(outcome)

    def renew(self, upload_id: str, nonce: str) -> Standing:
        """Keep the lease; see ``services.Leases``."""
        answer = self._scripts.run(
            "renew",
            of(upload_id, "intake", "work", "due"),
            {"upload_id": upload_id, "nonce": nonce, **self._lease},
        )
        return _standing(upload_id, answer)

    def record_session(
        self, upload_id: str, nonce: str, expected: str, session: str
    ) -> Recording | str:
        """Remember the service's state; see ``services.Leases``."""
        answer = self._scripts.run(
            "record_session",
            of(upload_id, "intake", "work"),
            {"nonce": nonce, "expected": expected, "session": session},
        )
        match answer:
            case ["fenced"]:
                raise lease_lost(upload_id)
            case ["other", theirs]:
                return theirs
        return Recording(answer[0])

    def commit(
        self,
        upload_id: str,
        nonce: str,
        start: int,
        part: StoredPart,
        *,
        crc32c: int,
        boundary: int,
        session: str = "",
    ) -> Standing:
        """Count a part as stored; see ``services.Leases``."""
        finish = start + part.size
        answer = self._scripts.run(
            "commit",
            of(upload_id, "intake", "work", "parts", "receipts", "due", "events"),
            {
                "upload_id": upload_id,
                "nonce": nonce,
                "session": session,
                "start": start,
                "finish": finish,
                "trim_below": f"{finish + 1}-0",
                "number": part.number,
                "receipt": json.dumps([part.size, part.crc32c, part.receipt]),
                "crc32c": crc32c,
                "boundary": boundary,
                **self._lease,
            },
        )
        return _standing(upload_id, answer)

    def release(self, upload_id: str, nonce: str) -> Release:
        """Let the lease go; see ``services.Leases``."""
        (outcome,) = self._scripts.run(
            "release",
            of(upload_id, "intake", "work", "due"),
            {"upload_id": upload_id, "nonce": nonce, "rewake_ms": self._rewake_ms},
        )
        if outcome == "fenced":
            raise lease_lost(upload_id)
        return Release(outcome)

    def defer(
        self, upload_id: str, nonce: str, backoff: timedelta, error_code: str, error: str
    ) -> Deferral:
        """Put the next try off; see ``services.Leases``."""
        (outcome,) = self._scripts.run(
            "defer",
            of(upload_id, "intake", "work", "due", "events", "filling", "telling"),
            {
                "upload_id": upload_id,
                "nonce": nonce,
                "backoff_ms": milliseconds(backoff),
                "max_attempts": self._settings.max_attempts,
                "error_code": error_code,
                "error": error,
                "failed_ms": self._failed_ms,
            },
        )
        if outcome == "fenced":
            raise lease_lost(upload_id)
        return Deferral(outcome)

    def fail(self, upload_id: str, nonce: str, error_code: str, error: str) -> None:
        """Give the upload up for now; see ``services.Leases``."""
        outcome, *_ = self._scripts.run(
            "fail",
            of(upload_id, "intake", "work", "due", "events", "filling", "telling"),
            {
                "upload_id": upload_id,
                "nonce": nonce,
                "error_code": error_code,
                "error": error,
                "failed_ms": self._failed_ms,
            },
        )
        if outcome != "failed":
            raise lease_lost(upload_id)

    def begin_complete(self, upload_id: str, nonce: str, *, whole: bool = False) -> bool:
        """Fix the direction; see ``services.Leases``."""
        answer = self._scripts.run(
            "begin_complete",
            of(upload_id, "intake", "work", "telling"),
            {"upload_id": upload_id, "nonce": nonce, "whole": int(whole)},
        )
        match answer:
            case ["begun"]:
                return True
            case ["closed", State.ABORTING]:
                return False
        raise lease_lost(upload_id)

    def finish(
        self, held: ChunkUpload, nonce: str, ending: Ending, *, size: int = 0, etag: str = ""
    ) -> State:
        """End the upload; see ``services.Leases``."""
        shard = keys.shard_of(held.upload_id)
        answer = self._scripts.run(
            "finish",
            {
                **of(held.upload_id, *_FINISHED),
                "path": keys.path(shard, held.service, held.filepath),
            },
            {
                "upload_id": held.upload_id,
                "nonce": nonce,
                "outcome": ending,
                "size": size,
                "etag": etag,
                "ttl_ms": milliseconds(self._settings.result_ttl),
                "grave_ms": milliseconds(self._settings.grave_delay),
                "tells": int(self._settings.tells),
                "untold_ms": milliseconds(self._settings.untold_ttl),
            },
        )
        match answer:
            case ["finished", state]:
                return State(state)
            case ["fenced", "complete"] if ending is not Ending.ABORTED:
                return State.COMPLETE  # this very call, whose first answer was lost
        raise lease_lost(held.upload_id)

    def read(self, upload_id: str, start: int, end: int) -> Iterator[bytes]:
        """The received bytes [start, end), piece by piece; see ``stream.read``."""
        return stream.read(self._scripts.client, upload_id, start, end)

    def stored_parts(self, upload_id: str) -> list[StoredPart]:
        """All stored parts, in order."""
        with connection.translated():
            answer = self._scripts.client.hgetall(keys.receipts(upload_id))
        found = []
        for number, text in cast("dict[bytes, bytes]", answer).items():
            size, crc32c, receipt = json.loads(text)
            found.append(StoredPart(number=int(number), size=size, crc32c=crc32c, receipt=receipt))
        return sorted(found, key=lambda part: part.number)


def _standing(upload_id: str, answer: list[str]) -> Standing:
    match answer:
        case ["held" | "committed", state, received, length]:
            return Standing(
                state=State(state),
                received=int(received),
                length=None if int(length) < 0 else int(length),
            )
        case ["closed", State.ABORTING as state]:
            return Standing(state=State(state), received=0, length=None)
    raise lease_lost(upload_id)
