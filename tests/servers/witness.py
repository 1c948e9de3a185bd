"""A store that writes down who stores which part when, around any other store.

Named in ``CHUNKFERRY_SERVICES`` as ``tests.servers.witness:store?url=…&journal=…``: the way a
third party adds a store. It can also make each part slow (``seconds=…``, with progress all the
time), or hang once, without progress, in the first call after the file ``hang=…`` was made.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from chunkferry.services import (
    ChunkFileService,
    ChunkStore,
    Heartbeat,
    Part,
    Portable,
    Reaping,
    Reconciling,
    StoredObject,
    StoredPart,
)
from chunkferry.storage import from_url
from chunkferry.upload import ChunkUpload

#: How long a call hangs, in seconds: longer than any lease of a test.
HANGS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the journal: a part is about to be stored, or was."""

    upload_id: str
    number: int
    pid: int
    #: CLOCK_MONOTONIC, which all processes of a machine share.
    at: float
    done: bool


def read_journal(journal: Path) -> list[Entry]:
    """All entries, in the order of their times; none before the first part."""
    if not journal.exists():
        return []
    entries = [Entry(**json.loads(line)) for line in journal.read_text().splitlines()]
    return sorted(entries, key=lambda entry: entry.at)


def store(options: dict[str, str]) -> ChunkStore:
    """The store at ``options["url"]``, witnessed in the file ``options["journal"]``."""
    return WitnessedStore(
        from_url(options["url"]),
        Path(options["journal"]),
        seconds=float(options.get("seconds", "0")),
        hang=Path(options["hang"]) if "hang" in options else None,
    )


class WitnessedStore:
    """A store whose services keep a journal."""

    def __init__(
        self, inner: ChunkStore, journal: Path, *, seconds: float, hang: Path | None
    ) -> None:
        self._inner = inner
        self.journal = journal
        self._seconds = seconds
        self._hang = hang

    def chunk_file_service(self) -> ChunkFileService:
        return _WitnessedService(self._inner.chunk_file_service(), self)

    def dawdle(self, heartbeat: Heartbeat) -> None:
        """Take the time that this store was told to take."""
        if self._hang is not None and self._hang.exists():
            self._hang.unlink()
            time.sleep(HANGS)
        until = time.monotonic() + self._seconds
        while time.monotonic() < until:
            time.sleep(0.05)
            heartbeat()

    def reap(self, upload: ChunkUpload, may_remove: Callable[[], bool]) -> int:
        return self._inner.reap(upload, may_remove) if isinstance(self._inner, Reaping) else 0


class _WitnessedService:
    """Passes everything on; parts are written down before and after."""

    def __init__(self, inner: ChunkFileService, store: WitnessedStore) -> None:
        self._inner = inner
        self._store = store
        self._upload_id = ""

    def is_initialized(self) -> bool:
        return self._inner.is_initialized()

    def initialize_chunk(self, upload: ChunkUpload) -> None:
        self._inner.initialize_chunk(upload)

    def upload_part(self, part: Part, heartbeat: Heartbeat) -> str:
        self._write(part, done=False)
        self._store.dawdle(heartbeat)
        receipt = self._inner.upload_part(part, heartbeat)
        self._write(part, done=True)
        return receipt

    def complete_upload(
        self, parts: Sequence[StoredPart], crc32c: int, heartbeat: Heartbeat
    ) -> StoredObject:
        return self._inner.complete_upload(parts, crc32c, heartbeat)

    def find_object(self) -> StoredObject | None:
        return self._inner.find_object()

    def find_part(self, part: Part) -> str | None:
        return self._inner.find_part(part) if isinstance(self._inner, Reconciling) else None

    def cleanup(self, confirm: Heartbeat) -> None:
        self._inner.cleanup(confirm)

    def save(self) -> str:
        return cast("Portable", self._inner).save()

    def restore(self, upload: ChunkUpload, state: str) -> None:
        self._upload_id = upload.upload_id
        cast("Portable", self._inner).restore(upload, state)

    def _write(self, part: Part, *, done: bool) -> None:
        entry = {
            "upload_id": self._upload_id,
            "number": part.number,
            "pid": os.getpid(),
            "at": time.monotonic(),
            "done": done,
        }
        # One write below PIPE_BUF to a file opened for appending is never torn.
        with self._store.journal.open("ab", buffering=0) as journal:
            journal.write(json.dumps(entry).encode() + b"\n")
