"""The backlog: how the uploads are doing as a whole. Changes nothing, judges nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from chunkferry import connection, keys
from chunkferry.backlog import Backlog, Reading, add_up
from chunkferry.config import Settings
from chunkferry.ledger.scripts import Scripts, milliseconds
from chunkferry.state import TERMINAL, State

#: Uploads looked at in one round trip: the answers to more would keep Redis from other clients.
_AT_ONCE: Final = 1000

_WORK: Final = ("stored", "owner", "lease_until", "scheduled", "wanted_since", "error_code")
_INTAKE: Final = ("state", "received")


class RedisHealth:
    """How the uploads are doing as a whole."""

    def __init__(self, scripts: Scripts, settings: Settings) -> None:
        self._scripts = scripts
        self._shards = settings.shards
        self._rewake_ms = milliseconds(settings.rewake_seconds)

    def backlog(self) -> Backlog:
        """All uploads that have not ended, added up; see ``services.Health``."""
        now = self._scripts.now()
        agenda = self._agenda()
        readings = (
            reading
            for start in range(0, len(agenda), _AT_ONCE)
            for reading in self._readings(agenda[start : start + _AT_ONCE])
        )
        return add_up(readings, now, self._rewake_ms)

    def _agenda(self) -> list[tuple[str, int]]:
        """Every upload that has not ended, and when somebody has to look at it."""
        with connection.translated(), self._scripts.client.pipeline(transaction=False) as pipe:
            for shard in range(self._shards):
                pipe.zrange(keys.due(shard), 0, -1, withscores=True)
            return [(member.decode(), int(at)) for batch in pipe.execute() for member, at in batch]

    def _readings(self, agenda: Sequence[tuple[str, int]]) -> Iterator[Reading]:
        with connection.translated(), self._scripts.client.pipeline(transaction=False) as pipe:
            for upload_id, _ in agenda:
                # In this order, or an upload might seem to have stored more than it received.
                pipe.hmget(keys.work(upload_id), *_WORK)
                pipe.hmget(keys.intake(upload_id), *_INTAKE)
            answers = [[(value or b"").decode() for value in answer] for answer in pipe.execute()]
        for (_, due_at), work, intake in zip(agenda, answers[::2], answers[1::2], strict=True):
            # It may have ended, and vanished, since the agenda was read.
            if intake[0] and State(intake[0]) not in TERMINAL:
                yield _reading(due_at, work, intake)


def _reading(due_at: int, work: Sequence[str], intake: Sequence[str]) -> Reading:
    stored, owner, lease_until, scheduled, wanted_since, error_code = work
    state, received = intake
    return Reading(
        state=State(state),
        received=int(received or 0),
        stored=int(stored or 0),
        due_at=due_at,
        scheduled=scheduled == "1",
        owned=bool(owner),
        lease_until=int(lease_until or 0),
        wanted_since=int(wanted_since or 0),
        error_code=error_code,
    )
