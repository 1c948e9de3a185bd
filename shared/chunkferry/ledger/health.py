"""The backlog: how the uploads are doing as a whole. Changes nothing, judges nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import redis

from chunkferry import connection, keys
from chunkferry.backlog import Backlog, Reading, add_up
from chunkferry.config import Settings
from chunkferry.ledger.records import fields
from chunkferry.ledger.scripts import Question, Scripts, milliseconds, of
from chunkferry.state import TERMINAL, State

#: Uploads looked at in one round trip: the answers to more would keep Redis from other clients.
_AT_ONCE: Final = 1000


class RedisHealth:
    """How the uploads are doing as a whole."""

    def __init__(self, scripts: Scripts, settings: Settings) -> None:
        self._scripts = scripts
        self._shards = settings.shards
        self._rewake_ms = milliseconds(settings.rewake_seconds)

    def backlog(self) -> Backlog:
        """All uploads that have not ended, added up; see ``services.Health``."""
        due = [keys.due(shard) for shard in range(self._shards)]
        with connection.translated():
            agenda = connection.each(self._scripts.client, due, _agenda)
        readings = (
            reading
            for start in range(0, len(agenda), _AT_ONCE)
            for reading in self._readings(agenda[start : start + _AT_ONCE])
        )
        return add_up(readings, self._rewake_ms)

    def _readings(self, agenda: Sequence[tuple[str, int]]) -> Iterator[Reading]:
        questions: list[Question] = [
            (of(upload_id, "intake", "work"), {}) for upload_id, _ in agenda
        ]
        answers = self._scripts.ask("snapshot", questions)
        for (_, due_at), answer in zip(agenda, answers, strict=True):
            match answer:
                # It may have ended, and vanished, since the agenda was read.
                case [b"found", now, intake, work]:
                    reading = _reading(now, due_at, {**fields(work), **fields(intake)})
                    if reading.state not in TERMINAL:
                        yield reading


def _agenda(server: redis.Redis, names: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Every upload of a server that has not ended, and when somebody has to look at it."""
    with server.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.zrange(name, 0, -1, withscores=True)
        for batch in pipe.execute():
            yield from ((member.decode(), int(at)) for member, at in batch)


def _reading(now: int, due_at: int, upload: Mapping[str, str]) -> Reading:
    return Reading(
        now=now,
        state=State(upload["state"]),
        received=int(upload["received"]),
        stored=int(upload.get("stored", 0)),
        due_at=due_at,
        scheduled=upload.get("scheduled") == "1",
        owned=bool(upload.get("owner")),
        lease_until=int(upload.get("lease_until", 0)),
        wanted_since=int(upload.get("wanted_since", 0)),
        error_code=upload.get("error_code", ""),
    )
