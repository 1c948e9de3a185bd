"""What each store can do: abilities by name, and which of them a store has. Knows no store."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from chunkferry import services

#: Every ability of whole objects, and the Protocol that stands for it.
ABILITIES: Final[Mapping[str, type]] = MappingProxyType(
    {
        "put, get, exists, delete": services.Service,
        "head": services.HeadService,
        "listing": services.ListService,
        "MD5": services.MD5Service,
        "parallel transfers": services.ParallelService,
        "ranges": services.RangeService,
        "streaming": services.StreamService,
        "reads of one version": services.VersionService,
        "signed URLs": services.SignedUrlService,
        "signed URLs for uploads": services.SignedUrlUploadService,
        "concurrency": services.ServiceWithConcurrency,
        "MIME type": services.ServiceWithMimeType,
        "deadline": services.ServiceWithTimeout,
        "late sessions removed": services.Reaping,
        "leftovers found by reconcile": services.Auditing,
        "features tried by doctor": services.Probing,
    }
)

#: The same of one upload.
UPLOAD_ABILITIES: Final[Mapping[str, type]] = MappingProxyType(
    {
        "uploads in parts": services.ChunkFileService,
        "uploads resumed by any worker": services.Portable,
        "stored parts recognised": services.Reconciling,
        "small files in one request": services.SinglePut,
        "new session dropped at once": services.Abandoning,
        "lost sessions noticed by reconcile": services.Attesting,
    }
)


def can_concatenate(store: services.ChunkStore) -> bool:
    """True if uploads to ``store`` can be joined: partial ones are read there, and removed."""
    return isinstance(store, services.RangeService) and isinstance(store, services.Service)


def capabilities(store: services.ChunkStore) -> dict[str, bool]:
    """Every ability by name, and whether ``store`` has it. Does not connect to anything."""
    upload = store.chunk_file_service()
    return {name: isinstance(upload, port) for name, port in UPLOAD_ABILITIES.items()} | {
        name: isinstance(store, port) for name, port in ABILITIES.items()
    }
