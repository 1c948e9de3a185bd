"""A store that keeps nothing but the moment at which the first part of each upload reached it.

Named in ``CHUNKFERRY_SERVICES`` as ``bench.noting:store?journal=FILE``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chunkferry.services import ChunkFileService, Heartbeat, Part, StoredObject, StoredPart
from chunkferry.storage import manifest
from chunkferry.upload import ChunkUpload


def store(options: dict[str, str]) -> NotingStore:
    """The store that writes to the file ``options["journal"]``."""
    return NotingStore(Path(options["journal"]))


def moments(journal: Path) -> dict[str, float]:
    """When the first part of each upload came, on the clock that all processes share."""
    found: dict[str, float] = {}
    for line in journal.read_text().splitlines():
        upload_id, moment = line.split()
        found.setdefault(upload_id, float(moment))
    return found


class NotingStore:
    """Forgets all bytes."""

    def __init__(self, journal: Path) -> None:
        self._journal: Final = journal

    def chunk_file_service(self) -> ChunkFileService:
        """A service for one upload."""
        return _NotingService(self._journal)


class _NotingService:
    """One upload. Portable: its only state is that it has begun."""

    def __init__(self, journal: Path) -> None:
        self._journal: Final = journal
        self._upload_id = ""
        self._begun = False

    def is_initialized(self) -> bool:
        return self._begun

    def initialize_chunk(self, upload: ChunkUpload) -> None:
        self._upload_id, self._begun = upload.upload_id, True

    def upload_part(self, part: Part, heartbeat: Heartbeat) -> str:
        now = time.monotonic()
        heartbeat()
        # One short write to a file opened for appending is never torn.
        with self._journal.open("ab", buffering=0) as journal:
            journal.write(f"{self._upload_id} {now!r}\n".encode())
        return str(part.number)

    def complete_upload(
        self, parts: Sequence[StoredPart], crc32c: int, heartbeat: Heartbeat
    ) -> StoredObject:
        del crc32c
        heartbeat()
        return StoredObject(size=manifest.total_size(parts), etag="noted")

    def find_object(self) -> StoredObject | None:
        return None

    def cleanup(self, confirm: Heartbeat) -> None:
        confirm()
        self._begun = False

    def save(self) -> str:
        return "begun" if self._begun else ""

    def restore(self, upload: ChunkUpload, state: str) -> None:
        self._upload_id, self._begun = upload.upload_id, bool(state)
