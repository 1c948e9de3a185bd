"""A Redis that can be killed the way a power cut does it: with its newest second lost.

Killing the process alone loses nothing, as the system still writes what Redis gave it. So the
append-only file is cut where it ended up to a second before.
"""

from __future__ import annotations

import bisect
import os
import threading
import time
from pathlib import Path

from tests.servers.redis import RedisServer

#: Between two looks at the file's length, in seconds.
_POLL = 0.02


class PowerCut:
    """Remembers how long the append-only file of a server was when."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._lengths: list[tuple[float, int]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def kill(self, seconds: float) -> int:
        """Kill the server; lose what it wrote in its last ``seconds``. Returns the bytes lost."""
        then = time.monotonic() - seconds
        self._server.kill()
        if not seconds:
            return 0
        file = self._file()
        if file is None:
            return 0
        known = self._lengths[max(0, bisect.bisect(self._lengths, (then, 0)) - 1)][1]
        lost = file.stat().st_size - known
        if lost > 0:
            os.truncate(file, known)
        return max(0, lost)

    def close(self) -> None:
        """Stop looking."""
        self._ended.set()
        self._thread.join()

    def _file(self) -> Path | None:
        return next(iter(self._server.data_dir.glob("appendonlydir/*.incr.aof")), None)

    def _look(self) -> None:
        while not self._ended.wait(_POLL):
            file = self._file()
            if file is not None:
                self._lengths.append((time.monotonic(), file.stat().st_size))
