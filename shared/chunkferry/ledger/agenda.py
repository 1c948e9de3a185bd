"""What is due: the moves of the sweep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chunkferry import connection, keys
from chunkferry.config import Settings
from chunkferry.ledger.scripts import SLACK, Scripts, milliseconds, of
from chunkferry.moves import Rousing

#: Longest pause between two wake-ups for the same work, in milliseconds.
_REWAKE_MAX: Final = 300_000
#: So many sweeps that did not take place, or this long at least in milliseconds, are a pause.
_MISSED_SWEEPS: Final = 20
_LEAST_PAUSE: Final = 60_000


class RedisAgenda:
    """The sweep's side of the ledger. Nothing is ever scanned."""

    def __init__(self, scripts: Scripts, settings: Settings) -> None:
        self._scripts = scripts
        self._shards = settings.shards
        self._rewake_ms = milliseconds(settings.rewake_seconds)
        self._pause_ms = pause_ms(settings)
        self._longest_ms = milliseconds(settings.incomplete_upload_expiry)

    def attend(self) -> int:
        """Say that a sweep looks; see ``services.Agenda``."""
        _, forgiven_ms = self._scripts.run(
            "attend",
            {"swept": keys.SWEPT},
            {"pause_ms": self._pause_ms, "longest_ms": self._longest_ms},
        )
        return int(forgiven_ms)

    def was_attended(self) -> bool:
        """True if a sweep has looked before: workers use this Redis, or did."""
        with connection.translated():
            return bool(self._scripts.client.exists(keys.SWEPT))

    def due(self, limit: int = 100) -> list[str]:
        """Uploads to look at now, up to ``limit`` of each shard."""
        return ripe(self._scripts, keys.due, self._shards, limit)

    def rouse(self, upload_id: str, forgiven_ms: int = 0) -> Rousing:
        """Look at an upload that is due; see ``services.Agenda``."""
        (outcome,) = self._scripts.run(
            "rouse",
            of(upload_id, "intake", "work", "parts", "due", "events", "filling", "telling"),
            {
                "upload_id": upload_id,
                "slack_ms": SLACK,
                "rewake_ms": self._rewake_ms,
                "rewake_max_ms": _REWAKE_MAX,
                "forgiven_ms": forgiven_ms,
            },
        )
        return Rousing(outcome)

    def graves(self, limit: int = 100) -> list[str]:
        """Ended uploads to look after once more at their store, up to ``limit`` of each shard."""
        return ripe(self._scripts, keys.graves, self._shards, limit)

    def forget_grave(self, upload_id: str) -> None:
        """Nothing of an ended upload is left at its store."""
        with connection.translated():
            self._scripts.client.zrem(keys.graves(keys.shard_of(upload_id)), upload_id)


def ripe(scripts: Scripts, key: Callable[[int], str], shards: int, limit: int) -> list[str]:
    """Members of a set of each shard whose moment has come, up to ``limit`` of each."""
    names = [key(shard) for shard in range(shards)]
    answers = scripts.ask("ripe", [({"agenda": name}, {"limit": limit}) for name in names])
    return [member.decode() for _, members in answers for member in members]


def pause_ms(settings: Settings) -> int:
    """The time without a sweep, in milliseconds, after which silence is forgiven."""
    return max(milliseconds(settings.sweep_seconds * _MISSED_SWEEPS), _LEAST_PAUSE)
