"""``up --demo``: stores one real file through everything, and proves that it arrived.

Knows only what any producer knows: a ``ChunkManager`` and the store to read the object from.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from chunkferry import ChunkManager, Notifier
from chunkferry.config import Settings
from chunkferry.errors import ChunkferryError, IntegrityError
from chunkferry.parts import MIB
from chunkferry.services import Service
from chunkferry.status import UploadStatusCode
from chunkferry.storage import Stores
from chunkferry_worker.cli import progress
from chunkferry_worker.cli.output import Output, size_text

#: Size of the file where none is given.
SIZE: Final = 64 * MIB
#: How long the thread may take to notice that it is no longer wanted, in seconds.
_STOP: Final = 2.0


class Demo(threading.Thread):
    """One file, in a thread beside the supervisor."""

    def __init__(self, settings: Settings, size: int, output: Output) -> None:
        super().__init__(name="chunkferry-demo", daemon=True)
        self._settings = settings
        self._size = size
        self._output = output
        self._service = "default" if "default" in settings.services else min(settings.services)
        self._notifier: Notifier | None = None
        #: Why there is no proof.
        self.error: ChunkferryError | None = None

    def run(self) -> None:
        """Make the file, store it, read it back, compare."""
        try:
            self._prove()
        except ChunkferryError as exc:
            self.error = exc
        except OSError as exc:
            self.error = ChunkferryError(f"the demonstration could not read or write: {exc}")

    def cancel(self) -> None:
        """Stop showing progress; the upload goes on or waits."""
        if self._notifier is not None:
            self._notifier.close()
            self.join(_STOP)

    def _prove(self) -> None:
        source = self._make()
        filepath = f"demo/{source.name}"
        self._say("source", filepath=str(source), size=self._size, text=size_text(self._size))
        started = time.monotonic()
        if not self._put(source, filepath):
            return
        seconds = time.monotonic() - started
        speed = size_text(int(self._size / seconds))
        self._say("stored", filepath=filepath, seconds=round(seconds, 3), text=f"{speed}/s")
        sent, found = self._digest(source.open("rb")), self._digest(self._object(filepath))
        verdict = "equal" if sent == found else "differs"
        self._output.result(
            {"event": "proof", "source": sent, "object": found, "verdict": verdict},
            f"sha256  source  {sent}\nsha256  object  {found}\nproof   {verdict}",
        )
        if sent != found:
            raise IntegrityError(f"the object {filepath!r} differs from its source")

    def _make(self) -> Path:
        """A file of random bytes under a name of its own; earlier ones are removed."""
        folder = self._settings.data / "demo"
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.bin"):
            old.unlink(missing_ok=True)
        source = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.bin"
        with source.open("wb") as file:
            left = self._size
            while left:
                left -= file.write(os.urandom(min(MIB, left)))
        return source

    def _put(self, source: Path, filepath: str) -> bool:
        """Store the file; False if nobody wants to see the end of it."""
        manager = ChunkManager(settings=self._settings)
        with source.open("rb") as reader, progress.board(self._output) as board:
            self._notifier = manager.put_with_status(
                filepath, self._size, reader, service=self._service, background=True
            )
            meter = board.meter(filepath)
            for status in self._notifier:
                if status.error is not None:
                    raise status.error
                meter.move(status.received, status.uploaded, status.total)
                if status.code is UploadStatusCode.OK:
                    return True
        return False

    def _object(self, filepath: str) -> IO[bytes]:
        store = Stores(self._settings.services)[self._service]
        if not isinstance(store, Service):
            raise ChunkferryError(f"the store of {self._service!r} cannot be read: no proof")
        return store.get(filepath)

    def _digest(self, stream: IO[bytes]) -> str:
        digest = hashlib.sha256()
        with contextlib.closing(stream):
            while piece := stream.read(MIB):
                digest.update(piece)
        return digest.hexdigest()

    def _say(self, event: str, *, text: str, **facts: object) -> None:
        self._output.result({"event": event, **facts}, f"{event}  {facts['filepath']}  {text}")
