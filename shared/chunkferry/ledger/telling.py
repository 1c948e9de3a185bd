"""Whom to tell of which change: the turns of tellers. Knows nobody who is told, nor how."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from chunkferry import keys
from chunkferry.config import Settings
from chunkferry.ledger.agenda import ripe
from chunkferry.ledger.records import fields
from chunkferry.ledger.scripts import Question, Scripts, milliseconds, of
from chunkferry.moves import Told, Turn
from chunkferry.upload import from_hashes

#: Shortest and longest pause between two looks at an upload without news, in milliseconds. Only
#: changes that the last release makes are found so; each look is as far off as the last change.
_IDLE: Final = 60_000
_IDLE_MAX: Final = 3_600_000
#: How long the record of an ended upload stays at least once all is told, in milliseconds.
LEAST: Final = 65_000


class RedisTelling:
    """The tellers' side of the ledger."""

    def __init__(self, scripts: Scripts, settings: Settings) -> None:
        self._scripts = scripts
        self._shards = settings.shards
        self._ttl_ms = milliseconds(settings.result_ttl)
        shortest, longest = idle_ms(settings)
        self._idle = {"idle_ms": shortest, "idle_max_ms": longest}

    def due(self, limit: int = 100) -> list[str]:
        """Uploads that may have news, up to ``limit`` of each shard."""
        return ripe(self._scripts, keys.telling, self._shards, limit)

    def begin(self, upload_id: str, nonce: str, span: timedelta) -> Turn | None:
        """Take the turn; see ``services.Telling``."""
        question: Question = (
            of(upload_id, "intake", "work", "telling"),
            {"upload_id": upload_id, "nonce": nonce, "turn_ms": milliseconds(span)},
        )
        match self._scripts.ask("begin_telling", [question]):
            case [[b"begun", now, intake, work]]:
                known = fields(work)
                return Turn(
                    upload=from_hashes(upload_id, fields(intake), known, now),
                    nonce=nonce,
                    told=known.get("told", ""),
                    began=datetime.fromtimestamp(now / 1000, UTC),
                )
        return None

    def note(self, turn: Turn, told: str, span: timedelta) -> bool:
        """Remember who was told; see ``services.Telling``."""
        upload_id = turn.upload.upload_id
        (outcome,) = self._scripts.run(
            "note_told",
            of(upload_id, "work", "telling"),
            {
                "upload_id": upload_id,
                "nonce": turn.nonce,
                "told": told,
                "turn_ms": milliseconds(span),
            },
        )
        return outcome == "noted"

    def end(self, turn: Turn, told: str, pause: timedelta | None) -> Told:
        """Let the turn go; see ``services.Telling``."""
        upload = turn.upload
        path = keys.path(keys.shard_of(upload.upload_id), upload.service, upload.filepath)
        (outcome,) = self._scripts.run(
            "end_telling",
            {**of(upload.upload_id, "intake", "work", "events", "telling", "ended"), "path": path},
            {
                "upload_id": upload.upload_id,
                "nonce": turn.nonce,
                "told": told,
                "seen": upload.history[-1].index,
                "pause_ms": -1 if pause is None else milliseconds(pause),
                "ttl_ms": self._ttl_ms,
                "least_ms": LEAST,
                **self._idle,
            },
        )
        return Told(outcome)


def idle_ms(settings: Settings) -> tuple[int, int]:
    """Shortest and longest pause without news, in milliseconds.

    The last release keeps the record of an upload that it ended for ``result_ttl``.
    """
    longest = min(_IDLE_MAX, milliseconds(settings.result_ttl / 2))
    return min(_IDLE, longest), longest
