"""Uploads that are complete, for tests of what comes after: made without a worker process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from tests.sites import Site
from tests.storing import Store

from chunkferry import ChunkUpload
from chunkferry.config import Settings
from chunkferry.connection import connect
from chunkferry.ledger import RedisLedger
from chunkferry.storage import Stores
from chunkferry.testing import RecordingWaker
from chunkferry_worker.drain import Drain


@contextmanager
def _ledger(settings: Settings) -> Iterator[RedisLedger]:
    made = RedisLedger(connect(settings.redis_url), settings)
    yield made
    made.records._client.close()
    made.records._waiting.close()


def finish(site: Site) -> None:
    """Do what workers would do, until nothing is left to do."""
    settings = site.settings()
    with _ledger(settings) as ledger:
        stores = Stores(settings.services)
        drain = Drain(ledger, stores, RecordingWaker(), settings, worker="test")
        for upload in list(ledger.records.list_uploads()):
            if not upload.has_ended:
                drain.run(upload.upload_id)


def fail(site: Site, upload_id: str, code: str, error: str) -> None:
    """Have an upload fail, as a worker does it."""
    with _ledger(site.settings()) as ledger:
        ledger.leases.acquire(upload_id, "nonce", "test")
        ledger.leases.fail(upload_id, "nonce", code, error)


def store_of(site: Site) -> Store:
    """The site's store."""
    return cast("Store", Stores(site.settings().services)["default"])


def finished(
    site: Site,
    data: bytes,
    *,
    filepath: str = "a/b",
    content_type: str = "",
    metadata: dict[str, str] | None = None,
    notes: dict[str, str] | None = None,
) -> ChunkUpload:
    """A complete upload of ``data``."""
    manager = site.manager(lose_wake_ups=True)
    upload = manager.create(
        filepath, len(data), content_type=content_type, metadata=metadata, notes=notes
    )
    for at in range(0, len(data), manager.chunk_size):
        manager.append(upload.upload_id, at, data[at : at + manager.chunk_size])
        finish(site)
    finish(site)
    found = manager.get(upload.upload_id)
    assert found.is_complete, found
    return found
