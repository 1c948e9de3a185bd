"""A round trip: one small object into a store and out again, timed.

Knows the ports of a store, and neither what is made of an error nor of the time.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Final

import google_crc32c

from chunkferry import keys, parts
from chunkferry.errors import ChunkferryError
from chunkferry.services import ChunkFileService, ChunkStore, Part, Service, StoredPart
from chunkferry.state import State
from chunkferry.upload import ChunkUpload

#: Folder of the objects.
FOLDER: Final = ".chunkferry-doctor"


def seconds(store: ChunkStore, service: str, part_size: int) -> float:
    """How long it takes; where the store can read, the object is compared and removed.

    Raises:
        ChunkferryError: of the store; or what comes out differs.
        FileNotFoundError: the object is not there.
    """
    data = secrets.token_bytes(4096)
    upload = _upload(service, len(data), part_size)
    files = store.chunk_file_service()
    started = time.monotonic()
    try:
        _store(files, upload, data)
    except BaseException:
        # What cannot be cleaned up now is no news beside the error itself.
        with contextlib.suppress(Exception):
            files.cleanup(lambda: None)
        raise
    if isinstance(store, Service):
        try:
            with contextlib.closing(store.get(upload.filepath)) as stream:
                found = stream.read()
        finally:
            store.delete(upload.filepath)
        if found != data:
            raise ChunkferryError("the object differs from what was stored")
    return time.monotonic() - started


def _store(files: ChunkFileService, upload: ChunkUpload, data: bytes) -> None:
    crc = google_crc32c.value(data)
    part = Part(number=1, offset=0, data=memoryview(data), crc32c=crc)
    files.initialize_chunk(upload)
    receipt = files.upload_part(part, _no_lease)
    stored = StoredPart(number=1, size=len(data), crc32c=crc, receipt=receipt)
    files.complete_upload([stored], crc, _no_lease)


def _no_lease() -> None:
    """There is no lease to keep."""


def _upload(service: str, length: int, part_size: int) -> ChunkUpload:
    now = datetime.now(UTC)
    upload_id = keys.new_upload_id(0)
    return ChunkUpload(
        upload_id=upload_id,
        filepath=f"{FOLDER}/{upload_id}",
        service=service,
        state=State.RECEIVED,
        length=length,
        received=length,
        grid=parts.plan(length, part_size),
        created_at=now,
        expiry=now + timedelta(hours=1),
    )
