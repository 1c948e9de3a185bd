"""Looks at all uploads again and again during a run: ``stored`` must never go back.

Except where Redis itself came back with less. Asks Redis past the proxies.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from chunkferry import ChunkManager
from chunkferry.errors import ChunkferryError

#: Between two looks, in seconds.
_PAUSE = 0.25


class Watch:
    """A thread that looks."""

    def __init__(self, manager: ChunkManager, rewinds: Callable[[], int]) -> None:
        self._manager, self._rewinds = manager, rewinds
        self._stored: dict[str, tuple[int, int]] = {}
        self._ended = threading.Event()
        self.complaints: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._ended.set()
        self._thread.join()

    def look(self) -> None:
        """Look once."""
        # Asked before: a rewind meanwhile excuses what is seen, never the other way round.
        rewinds = self._rewinds()
        for upload in self._manager.list_uploads():
            before, then = self._stored.get(upload.upload_id, (0, rewinds))
            if upload.stored < before and then == self._rewinds():
                self.complaints.append(
                    f"{upload.upload_id} ({upload.state}):"
                    f" stored went back from {before} to {upload.stored}"
                )
            self._stored[upload.upload_id] = (upload.stored, rewinds)

    def _run(self) -> None:
        while not self._ended.wait(_PAUSE):
            try:
                self.look()
            except ChunkferryError:
                continue  # it is down just now, which is what this is about
