"""A path that a store's prefix makes too long: nobody but a worker can find out."""

from __future__ import annotations

import pytest
from tests.producing import PART, small_parts
from tests.servers.s3 import S3Server

from chunkferry import ChunkManager, State
from chunkferry.config import Settings
from chunkferry.errors import InvalidPath
from chunkferry.storage import Stores
from chunkferry.testing import ManualClock, MemoryLedger, RecordingWaker
from chunkferry_worker.drain import Drain
from chunkferry_worker.sweep import Sweep

#: As long as a path may be, of components that are short enough.
LONGEST = "/".join(["a" * 127] * 8)


class Site:
    """A ledger in memory over a bucket whose prefix leaves less room than that."""

    def __init__(self, server: S3Server) -> None:
        services = {"default": server.url("prefix")}
        self.settings: Settings = small_parts().changed(services=services)
        self.clock = ManualClock()
        self.ledger = MemoryLedger(self.settings, clock=self.clock)
        self.waker = RecordingWaker()
        self.stores = Stores(services)
        self.manager = ChunkManager(settings=self.settings, ledger=self.ledger, waker=self.waker)

    def work(self) -> None:
        """Answer all wake-ups."""
        drain = Drain(self.ledger, self.stores, self.waker, self.settings, worker="w")
        while arrived := self.waker.take():
            for upload_id in arrived:
                drain.run(upload_id)


@pytest.mark.parametrize("size", [3, PART + 1])
def test_a_path_too_long_for_its_store_fails_clearly(moto_s3: S3Server, size: int) -> None:
    """At once, with the reason, not after half a day of tries."""
    site = Site(moto_s3)
    upload_id = site.manager.create(LONGEST, size).upload_id
    site.manager.append(upload_id, 0, bytes(size))
    site.work()
    upload = site.manager.get(upload_id)
    assert (upload.state, upload.error_code) == (State.FAILED, InvalidPath.code)
    assert "longer than 1024 bytes with its prefix" in upload.error


def test_a_path_too_long_for_its_store_can_be_cancelled(moto_s3: S3Server) -> None:
    """Nothing can be at the store: there is nothing to remove, and no try without end."""
    site = Site(moto_s3)
    upload_id = site.manager.create(LONGEST, 3).upload_id
    site.manager.append(upload_id, 0, b"abc")
    site.work()
    site.manager.cancel(upload_id)
    site.work()
    assert site.manager.get(upload_id).state is State.CANCELLED
    site.clock.advance(site.settings.grave_delay)
    report = Sweep(site.ledger, site.stores, site.waker, site.settings).run()
    assert (report.graves, site.ledger.agenda.graves()) == (1, [])
