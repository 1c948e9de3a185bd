"""A Redis that can be killed the way a power cut does it: with its newest second lost.

Killing the process alone loses nothing, as the system still writes what Redis gave it. So the
append-only file is cut where it ended up to a second before.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.servers.redis import RedisServer

#: Between two looks at the file's length, in seconds.
_POLL = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class _Length:
    """How long a file was when."""

    #: By the monotonic clock.
    at: float
    file: Path
    #: Bytes.
    size: int


class PowerCut:
    """Remembers how long the append-only file of a server was when."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._lengths: list[_Length] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def kill(self, seconds: float) -> int:
        """Kill the server; lose what it wrote in its last ``seconds``. Returns the bytes lost."""
        then = time.monotonic() - seconds
        self._server.kill()
        if not seconds:
            return 0
        now = self._length()
        then_was = max(0, bisect.bisect(self._lengths, then, key=lambda seen: seen.at) - 1)
        before = self._lengths[then_was] if self._lengths else None
        # Redis begins a new file from time to time: what it wrote then is on the disk.
        if now is None or before is None or before.file != now.file or before.size >= now.size:
            return 0
        os.truncate(now.file, before.size)
        return now.size - before.size

    def close(self) -> None:
        """Stop looking."""
        self._ended.set()
        self._thread.join()

    def _length(self) -> _Length | None:
        """How long the file is that Redis writes to now."""
        files = sorted(self._server.data_dir.glob("appendonlydir/*.incr.aof"))
        with contextlib.suppress(FileNotFoundError):
            if files:
                at = time.monotonic()
                return _Length(at=at, file=files[-1], size=files[-1].stat().st_size)
        return None

    def _look(self) -> None:
        while not self._ended.wait(_POLL):
            length = self._length()
            if length is not None:
                self._lengths.append(length)
