"""Uploads, parts and what is done with them, for tests of stores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Protocol

import google_crc32c
import pytest

from chunkferry import keys, parts
from chunkferry.services import (
    Attesting,
    Auditing,
    ChunkFileService,
    ChunkStore,
    HeadService,
    Part,
    Portable,
    Service,
    StoredObject,
    StoredPart,
)
from chunkferry.state import State
from chunkferry.storage import deadline
from chunkferry.testing import ManualClock
from chunkferry.upload import ChunkUpload

#: The smallest part there is: keeps the tests quick.
PART = parts.MIN_PART_SIZE


class FileService(ChunkFileService, Portable, Protocol):
    """What every built-in service can do."""


class Store(ChunkStore, Service, HeadService, Protocol):
    """What every built-in store can do."""

    def chunk_file_service(self) -> FileService:
        """A fresh service for one upload."""


class AuditedService(FileService, Attesting, Protocol):
    """One that tells whether its session is open."""


class AuditedStore(Store, Auditing, Protocol):
    """One that lists what is unfinished."""

    def chunk_file_service(self) -> AuditedService:
        """A fresh service for one upload."""


def no_heartbeat() -> None:
    """A heartbeat that finds the lease in order."""


def new_upload(
    filepath: str = "folder/file.bin",
    length: int | None = 0,
    *,
    content_type: str = "",
    metadata: dict[str, str] | None = None,
) -> ChunkUpload:
    """An upload as Redis would describe it, with an id of its own."""
    now = datetime.now(UTC)
    return ChunkUpload(
        upload_id=keys.new_upload_id(1),
        filepath=filepath,
        service="default",
        state=State.RECEIVING,
        length=length,
        grid=parts.plan(length, PART),
        content_type=content_type,
        metadata=metadata or {},
        created_at=now,
        expiry=now + timedelta(days=1),
    )


def crc32c(data: bytes) -> int:
    """The checksum of ``data``."""
    return int(google_crc32c.value(data))


def content(length: int) -> bytes:
    """Bytes like no others."""
    return os.urandom(length)


def cut(data: bytes) -> list[Part]:
    """``data`` as parts, each over a buffer as the worker's are: mutable and reused."""
    found = []
    for number, (start, end) in enumerate(parts.plan(len(data), PART).ranges(len(data)), start=1):
        piece = data[start:end]
        view = memoryview(bytearray(piece))
        found.append(Part(number=number, offset=start, data=view, crc32c=crc32c(piece)))
    return found


def send(service: ChunkFileService, cut_parts: Sequence[Part]) -> list[StoredPart]:
    """Upload ``cut_parts``; return what a worker would record of them."""
    return [
        StoredPart(
            number=part.number,
            size=len(part.data),
            crc32c=part.crc32c,
            receipt=service.upload_part(part, no_heartbeat),
        )
        for part in cut_parts
    ]


def store(target: ChunkStore, upload: ChunkUpload, data: bytes) -> StoredObject:
    """Take one upload from its beginning to its end."""
    service = target.chunk_file_service()
    service.initialize_chunk(upload)
    return service.complete_upload(send(service, cut(data)), crc32c(data), no_heartbeat)


def read(target: Service, filepath: str) -> bytes:
    """The whole object."""
    with target.get(filepath) as file:
        return file.read()


def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """What deadlines go by from now on: time that passes only when a test says so."""
    clock = ManualClock()
    stopped = SimpleNamespace(monotonic=lambda: clock() / 1000)
    monkeypatch.setattr(deadline, "time", stopped)
    return clock
