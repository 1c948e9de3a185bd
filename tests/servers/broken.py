"""A store whose every call fails, with a text that holds all it knows: bytes and secrets.

Named in ``CHUNKFERRY_SERVICES`` as ``tests.servers.broken:store?password=…``.
"""

from __future__ import annotations

from chunkferry.services import ChunkStore, Heartbeat, Part
from chunkferry.testing import MemoryFileService, MemoryStore


class _BrokenService(MemoryFileService):
    secret = ""

    def upload_part(self, part: Part, heartbeat: Heartbeat) -> str:
        del heartbeat
        try:
            raise ValueError(f"cannot store {bytes(part.data[:100])!r}")
        except ValueError as exc:
            msg = f"password {self.secret}, session {self.save()}"
            raise KeyError(msg) from exc


class _BrokenStore(MemoryStore):
    def __init__(self, secret: str) -> None:
        super().__init__()
        self._secret = secret

    def chunk_file_service(self) -> MemoryFileService:
        service = _BrokenService(self)
        service.secret = self._secret
        return service


def store(options: dict[str, str]) -> ChunkStore:
    """The store."""
    return _BrokenStore(options["password"])
