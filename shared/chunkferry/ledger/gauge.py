"""How much more may be begun in the Redis server's memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import redis

from chunkferry import connection, keys

#: What ``room`` says of a server without ``maxmemory``.
UNLIMITED: Final = -1


class MemoryGauge:
    """Tells how many bytes of new parts fit a share of Redis' ``maxmemory``, or a given limit.

    What is used is measured at the server instead of counted by us: a count could drift. What is
    missing of parts already begun is kept free for them.
    """

    def __init__(self, client: redis.Redis, share: float, shards: int, *, limit: int = 0) -> None:
        self._client = client
        self._share = share
        self._limit = limit
        self._shards = shards

    def room(self, upload_id: str) -> int:
        """Bytes, 0 or more, on the server that has the upload; or ``UNLIMITED``.

        Asked anew each time, about a millisecond for each part: an answer of a moment ago would
        let a crowd of uploads begin at once.
        """
        ours = keys.filling(keys.shard_of(upload_id))
        with connection.translated():
            return connection.served(self._client, ours, lambda server: self._room(server, ours))

    def _room(self, server: redis.Redis, ours: str) -> int:
        names = connection.beside(
            self._client, ours, [keys.filling(shard) for shard in range(self._shards)]
        )
        with server.pipeline(transaction=False) as pipe:
            pipe.info("memory")
            if connection.may_ask_together(self._client):
                pipe.exists(*names)
            info, *found = pipe.execute()
        limit = self._limit or int(info.get("maxmemory", 0)) * self._share
        if not limit:
            return UNLIMITED
        missing = 0 if found == [0] else _missing(server, names)
        return max(0, int(limit - int(info["used_memory"]) - missing))


def _missing(server: redis.Redis, names: Sequence[str]) -> int:
    """What is missing of the parts that are begun."""
    with server.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.zrange(name, 0, -1, withscores=True)
        return sum(score for batch in pipe.execute() for _, score in batch)
