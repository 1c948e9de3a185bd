"""A store that writes down who stores which part when, around any other store; and its journal.

Named in ``CHUNKFERRY_SERVICES`` as ``tests.servers.witness:store?url=…&journal=…``: the way a
third party adds a store. It can also make each part slow (``seconds=…``, with progress all the
time), or hang once, without progress, in the first call after the file ``hang=…`` was made. While
the file ``poison=…`` exists, storing the path that stands in it kills this process; with
``kills=worker``, the main process of the worker as well. It has its process killed once, right
after the first session begun while the file ``die=…`` is there.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from chunkferry.services import (
    Attesting,
    Auditing,
    ChunkFileService,
    ChunkStore,
    Heartbeat,
    Part,
    Portable,
    Reaping,
    Reconciling,
    StoredObject,
    StoredPart,
    Unfinished,
)
from chunkferry.storage import from_url
from chunkferry.upload import ChunkUpload

#: How long a call hangs, in seconds: longer than any lease of a test.
HANGS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the journal: a part is about to be stored, was stored, or was found stored."""

    upload_id: str
    number: int
    pid: int
    #: Tells the turns of a process apart.
    turn: str
    #: Bytes.
    size: int
    crc32c: int
    #: CLOCK_MONOTONIC, which all processes of a machine share.
    at: float
    #: True at the end of a call.
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
        poison=Poison(
            file=Path(options["poison"]) if "poison" in options else None,
            kills_worker=options.get("kills") == "worker",
        ),
        die=Path(options["die"]) if "die" in options else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Poison:
    """What makes storing one path deadly."""

    #: Holds the path; None, or missing: nothing is deadly.
    file: Path | None
    #: Whether the parent of the process dies too.
    kills_worker: bool

    def take(self, filepath: str) -> None:
        """Die if ``filepath`` is the deadly one."""
        if self.file is None or not self.file.exists() or self.file.read_text() != filepath:
            return
        if self.kills_worker:
            os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


class WitnessedStore:
    """A store whose services keep a journal."""

    def __init__(
        self,
        inner: ChunkStore,
        journal: Path,
        *,
        seconds: float,
        hang: Path | None,
        poison: Poison,
        die: Path | None,
    ) -> None:
        self._inner = inner
        self.journal = journal
        self._seconds = seconds
        self._hang = hang
        self.poison = poison
        self._die = die

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

    def die_if_told(self) -> None:
        """Be killed, if this store was told to."""
        if self._die is not None and self._die.exists():
            self._die.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    def reap(self, upload: ChunkUpload, may_remove: Callable[[], bool]) -> int:
        return self._inner.reap(upload, may_remove) if isinstance(self._inner, Reaping) else 0

    def unfinished(self) -> Iterator[Unfinished]:
        return cast("Auditing", self._inner).unfinished()

    def weigh(self, found: Unfinished) -> int:
        return cast("Auditing", self._inner).weigh(found)

    def remove(self, found: Unfinished) -> bool:
        return cast("Auditing", self._inner).remove(found)


class _WitnessedService:
    """Passes everything on; parts are written down before and after."""

    def __init__(self, inner: ChunkFileService, store: WitnessedStore) -> None:
        self._turn = os.urandom(8).hex()
        self._inner = inner
        self._store = store
        self._upload_id = self._filepath = ""

    def is_initialized(self) -> bool:
        return self._inner.is_initialized()

    def initialize_chunk(self, upload: ChunkUpload) -> None:
        self._inner.initialize_chunk(upload)
        self._store.die_if_told()

    def upload_part(self, part: Part, heartbeat: Heartbeat) -> str:
        self._write(part, done=False)
        self._store.poison.take(self._filepath)
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
        inner = self._inner
        receipt = inner.find_part(part) if isinstance(inner, Reconciling) else None
        if receipt is not None:
            self._write(part, done=True)
        return receipt

    def has_session(self) -> bool:
        return cast("Attesting", self._inner).has_session()

    def cleanup(self, confirm: Heartbeat) -> None:
        self._inner.cleanup(confirm)

    def save(self) -> str:
        return cast("Portable", self._inner).save()

    def restore(self, upload: ChunkUpload, state: str) -> None:
        self._upload_id, self._filepath = upload.upload_id, upload.filepath
        cast("Portable", self._inner).restore(upload, state)

    def _write(self, part: Part, *, done: bool) -> None:
        entry = {
            "upload_id": self._upload_id,
            "number": part.number,
            "pid": os.getpid(),
            "turn": self._turn,
            "size": len(part.data),
            "crc32c": part.crc32c,
            "at": time.monotonic(),
            "done": done,
        }
        # One write below PIPE_BUF to a file opened for appending is never torn.
        with self._store.journal.open("ab", buffering=0) as journal:
            journal.write(json.dumps(entry).encode() + b"\n")
