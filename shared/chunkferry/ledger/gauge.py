"""How much more may be begun in the Redis server's memory."""

from __future__ import annotations

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
        info = server.info("memory")
        limit = self._limit or int(info.get("maxmemory", 0)) * self._share
        if not limit:
            return UNLIMITED
        names = [keys.filling(shard) for shard in range(self._shards)]
        with server.pipeline(transaction=False) as pipe:
            for name in connection.beside(self._client, ours, names):
                pipe.zrange(name, 0, -1, withscores=True)
            missing = sum(score for batch in pipe.execute() for _, score in batch)
        return max(0, int(limit - int(info["used_memory"]) - missing))
