"""How much more may be begun in the Redis server's memory, asked often enough and not more."""

from __future__ import annotations

import time
from typing import Final

import redis

from chunkferry import connection, keys

#: Age in seconds at which the answer is asked for anew.
_FRESH: Final = 0.25
#: What ``room`` says of a server without ``maxmemory``.
UNLIMITED: Final = -1


class MemoryGauge:
    """Tells how many bytes of new parts fit a share of Redis' ``maxmemory``.

    What is used is measured at the server instead of counted by us: a count could drift. What is
    missing of parts already begun is kept free for them.
    """

    def __init__(self, client: redis.Redis, share: float, shards: int) -> None:
        self._client = client
        self._share = share
        self._shards = shards
        self._asked_at = -_FRESH
        self._room = UNLIMITED

    def room(self) -> int:
        """Bytes, 0 or more; or ``UNLIMITED``."""
        if time.monotonic() - self._asked_at >= _FRESH:
            self._room = self._ask()
            self._asked_at = time.monotonic()
        return self._room

    def _ask(self) -> int:
        with connection.translated():
            info = self._client.info("memory")
            limit = int(info.get("maxmemory", 0))
            if not limit:
                return UNLIMITED
            with self._client.pipeline(transaction=False) as pipe:
                for shard in range(self._shards):
                    pipe.zrange(keys.filling(shard), 0, -1, withscores=True)
                missing = sum(score for batch in pipe.execute() for _, score in batch)
        return max(0, int(limit * self._share - int(info["used_memory"]) - missing))
