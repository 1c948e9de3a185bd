"""How full the Redis server is, asked often enough and not more."""

from __future__ import annotations

import time
from typing import Final

import redis

from chunkferry import connection

#: Age in seconds at which the answer is asked for anew.
_FRESH: Final = 0.25


class MemoryGauge:
    """Tells whether Redis' memory is used up to a share of its ``maxmemory``.

    Measured at the server instead of counted by us: a count could drift.
    """

    def __init__(self, client: redis.Redis, share: float) -> None:
        self._client = client
        self._share = share
        self._asked_at = -_FRESH
        self._pressed = False

    def is_pressed(self) -> bool:
        """True above the share; always False for a server without ``maxmemory``."""
        if time.monotonic() - self._asked_at >= _FRESH:
            with connection.translated():
                info = self._client.info("memory")
            limit = int(info.get("maxmemory", 0))
            self._pressed = 0 < limit * self._share < int(info["used_memory"])
            self._asked_at = time.monotonic()
        return self._pressed
