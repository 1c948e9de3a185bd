"""A store in memory whose calls fail, or let something else happen, when a test says so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from chunkferry.services import Heartbeat, Part, StoredObject, StoredPart
from chunkferry.testing import MemoryFileService, MemoryStore
from chunkferry.upload import ChunkUpload

#: Called before or after the effect of a call; what it raises, the call raises.
Action = Callable[[], object]


class FaultyStore(MemoryStore):
    """A ``MemoryStore`` with hooks; ``calls`` counts what reached it, by method."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = defaultdict[str, int](int)
        self._before = defaultdict[str, list[Action]](list)
        self._after = defaultdict[str, list[Action]](list)

    def before(self, call: str, *actions: Action) -> None:
        """Run ``actions``, one each time, before the next calls of this name take effect."""
        self._before[call].extend(actions)

    def after(self, call: str, *actions: Action) -> None:
        """Run ``actions``, one each time, after the next calls of this name took effect."""
        self._after[call].extend(actions)

    def chunk_file_service(self) -> MemoryFileService:
        return _FaultyService(self)

    def download_range(self, filepath: str, writer: BinaryIO, start: int, finish: int) -> None:
        with self.call("download_range"):
            super().download_range(filepath, writer, start, finish)

    def delete(self, filepath: str) -> None:
        with self.call("delete"):
            super().delete(filepath)

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        """One call of a service."""
        self.calls[name] += 1
        if self._before[name]:
            self._before[name].pop(0)()
        yield
        if self._after[name]:
            self._after[name].pop(0)()


class _FaultyService(MemoryFileService):
    def __init__(self, store: FaultyStore) -> None:
        super().__init__(store)
        self._faulty = store

    def initialize_chunk(self, upload: ChunkUpload) -> None:
        with self._faulty.call("initialize_chunk"):
            super().initialize_chunk(upload)

    def upload_part(self, part: Part, heartbeat: Heartbeat) -> str:
        with self._faulty.call("upload_part"):
            return super().upload_part(part, heartbeat)

    def find_part(self, part: Part) -> str | None:
        with self._faulty.call("find_part"):
            return super().find_part(part)

    def complete_upload(
        self, parts: Sequence[StoredPart], crc32c: int, heartbeat: Heartbeat
    ) -> StoredObject:
        with self._faulty.call("complete_upload"):
            return super().complete_upload(parts, crc32c, heartbeat)

    def find_object(self) -> StoredObject | None:
        with self._faulty.call("find_object"):
            return super().find_object()

    def cleanup(self, confirm: Heartbeat) -> None:
        with self._faulty.call("cleanup"):
            super().cleanup(confirm)


def raises(error: Exception) -> Action:
    """An action that raises ``error``."""

    def act() -> None:
        raise error

    return act
