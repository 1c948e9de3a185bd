"""What happens after a Redis came back with less than it had, up to nothing at all.

The servers are real: their folder is put back as it was at some moment before.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from tests.producing import PART, Site, SiteAt, close_site, small_parts
from tests.servers.redis import Backup, FreshRedis, RedisServer
from tests.servers.stores import RealStore
from tests.servers.witness import read_journal

from chunkferry import State, UploadStatusCode, connection, keys
from chunkferry.errors import OffsetMismatch, UploadNotFound
from chunkferry.ledger import RedisLedger
from chunkferry.storage import Stores
from chunkferry.testing import RecordingWaker
from chunkferry_worker.drain import Drain
from chunkferry_worker.sweep import Sweep, SweepReport

#: Compresses badly and differs everywhere, so that no byte could be mistaken for another.
CONTENT = os.urandom(3 * PART + 1)
PARTS = 4

# --- the producer -----------------------------------------------------------------------------


class Accident(RecordingWaker):
    """Lets something happen with the first wake-up: between two batches of an append."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self._happens = [happens]

    def wake(self, upload_id: str) -> bool:
        """Keep the wake-up."""
        if self._happens:
            self._happens.pop()()
        return super().wake(upload_id)


def test_an_append_goes_back_by_itself_for_what_redis_lost(
    fresh_redis: FreshRedis, site_at: SiteAt, tmp_path: Path
) -> None:
    """Where it still holds those bytes; the object is whole."""
    server = fresh_redis()
    site = site_at(server)
    upload_id = site.manager.create("a", len(CONTENT)).upload_id
    site.manager.append(upload_id, 0, CONTENT[:100])
    backup = Backup(server, tmp_path / "backup")
    site.waker = Accident(backup.restore)
    manager = site.another_manager()
    assert manager.append(upload_id, 100, CONTENT[100:]) == len(CONTENT)
    site.work()
    assert site.stored("a") == CONTENT


def test_a_producer_is_told_what_redis_lost(
    fresh_redis: FreshRedis, site_at: SiteAt, tmp_path: Path
) -> None:
    """Between two calls, it is the error that says where to go on."""
    server = fresh_redis()
    site = site_at(server)
    upload_id = site.manager.create("a", len(CONTENT)).upload_id
    offset = site.manager.append(upload_id, 0, CONTENT[: PART + 100])
    backup = Backup(server, tmp_path / "backup")
    site.manager.append(upload_id, offset, CONTENT[offset : 3 * PART])
    backup.restore()
    with pytest.raises(OffsetMismatch) as raised:
        site.manager.append(upload_id, 3 * PART, CONTENT[3 * PART :])
    assert raised.value.expected == PART + 100
    site.manager.append(upload_id, PART + 100, CONTENT[PART + 100 :])
    site.waker.wake(upload_id)
    site.work()
    assert site.stored("a") == CONTENT


def test_an_empty_redis_knows_no_upload(fresh_redis: FreshRedis, site_at: SiteAt) -> None:
    """Without persistence: producers are told, workers end quietly, and the path is free."""
    server = fresh_redis(appendonly=False)
    site = site_at(server)
    notifier = site.manager.put_with_status("a", len(CONTENT), io.BytesIO(CONTENT[:-1]))
    server.kill()
    server.start()
    with pytest.raises(UploadNotFound):
        site.manager.append(notifier.upload_id, len(CONTENT) - 1, CONTENT[-1:])
    with pytest.raises(UploadNotFound):
        site.manager.get(notifier.upload_id)
    with pytest.raises(UploadNotFound):
        site.manager.resume_put_with_status("a", io.BytesIO(CONTENT))
    assert site.waker.asked
    site.work()
    assert site.store.contents == {}
    again = site.manager.put_with_status("a", len(CONTENT), io.BytesIO(CONTENT))
    site.work()
    assert again.wait(timeout=5).code is UploadStatusCode.OK
    assert site.manager.get(again.upload_id).state is State.COMPLETE


# --- the store --------------------------------------------------------------------------------


class StoreSite(Site):
    """A site over a real store whose parts are counted, with turns of one part."""

    def __init__(self, server: RedisServer, store: RealStore, folder: Path) -> None:
        self._journal = folder / "journal"
        self._real = store
        options = urlencode({"url": store.url, "journal": str(self._journal)})
        services = {"default": f"tests.servers.witness:store?{options}"}
        settings = small_parts(redis_url=server.url).changed(services=services, slice_bytes=PART)
        super().__init__(RedisLedger(connection.connect(server.url), settings), settings)
        self._server = server
        self.stores = Stores(services)

    def turns(self, upload_id: str, count: int) -> None:
        """Let a worker take so many turns."""
        drain = Drain(self.ledger, self.stores, self.waker, self.settings, worker="w")
        for _ in range(count):
            drain.run(upload_id)
        self.waker.take()

    def finish(self, upload_id: str) -> None:
        """Let workers go on until the upload has ended."""
        self.turns(upload_id, PARTS)
        assert self.manager.get(upload_id).state is State.COMPLETE

    def look_after(self, upload_id: str) -> SweepReport:
        """Have the sweep look at the grave now."""
        shard = keys.shard_of(upload_id)
        self._server.client().zadd(keys.graves(shard), {upload_id: 1}, xx=True)
        return Sweep(self.ledger, self.stores, self.waker, self.settings).run()

    def parts_sent(self) -> list[int]:
        """The numbers of the parts that were sent to the store, in order."""
        entries = read_journal(self._journal)
        # One that was only found there was never begun.
        begun = {(entry.turn, entry.number) for entry in entries if not entry.done}
        return [e.number for e in entries if e.done and (e.turn, e.number) in begun]

    def read(self) -> bytes:
        """The object."""
        with self._real.open().get("a") as file:
            return file.read()


@pytest.fixture
def server(fresh_redis: FreshRedis) -> RedisServer:
    """The uploads' Redis."""
    return fresh_redis()


@pytest.fixture
def store_site(
    server: RedisServer, listing_store: RealStore, tmp_path: Path
) -> Iterator[StoreSite]:
    """A site over each kind of store."""
    site = StoreSite(server, listing_store, tmp_path)
    yield site
    close_site(site)


def test_a_session_that_redis_forgot_is_replaced_and_reclaimed(
    store_site: StoreSite, server: RedisServer, listing_store: RealStore, tmp_path: Path
) -> None:
    """Set back to before it was recorded: the upload begins anew and leaves nothing behind."""
    upload_id = store_site.manager.create("a", len(CONTENT)).upload_id
    store_site.manager.append(upload_id, 0, CONTENT)
    backup = Backup(server, tmp_path / "backup")
    store_site.turns(upload_id, 2)
    backup.restore()
    assert store_site.manager.get(upload_id).session == ""
    store_site.finish(upload_id)
    store_site.look_after(upload_id)
    assert store_site.read() == CONTENT
    assert listing_store.leftovers() == []
    # A folder knows the unfinished file by the upload's id, and has the second part in it.
    adopted = listing_store.url.startswith("file:")
    assert store_site.parts_sent() == ([1, 2, 1, 3, 4] if adopted else [1, 2, 1, 2, 3, 4])


def test_parts_that_redis_forgot_are_not_sent_again(
    store_site: StoreSite, server: RedisServer, listing_store: RealStore, tmp_path: Path
) -> None:
    """Set back to before some commits: the store is asked for them, and has them."""
    upload_id = store_site.manager.create("a", len(CONTENT)).upload_id
    store_site.manager.append(upload_id, 0, CONTENT)
    store_site.turns(upload_id, 1)
    backup = Backup(server, tmp_path / "backup")
    store_site.turns(upload_id, 2)
    backup.restore()
    assert store_site.manager.get(upload_id).stored == PART
    store_site.finish(upload_id)
    store_site.look_after(upload_id)
    assert store_site.read() == CONTENT
    assert listing_store.leftovers() == []
    assert store_site.parts_sent() == [1, 2, 3, 4]


def test_bytes_that_redis_forgot_may_be_at_the_store(
    store_site: StoreSite, server: RedisServer, listing_store: RealStore, tmp_path: Path
) -> None:
    """The producer sends them again, being told the offset; the workers do not."""
    upload_id = store_site.manager.create("a", len(CONTENT)).upload_id
    store_site.manager.append(upload_id, 0, CONTENT[: PART + 5])
    store_site.turns(upload_id, 1)
    backup = Backup(server, tmp_path / "backup")
    store_site.manager.append(upload_id, PART + 5, CONTENT[PART + 5 : 3 * PART])
    store_site.turns(upload_id, 2)
    backup.restore()
    with pytest.raises(OffsetMismatch) as raised:
        store_site.manager.append(upload_id, 3 * PART, CONTENT[3 * PART :])
    assert raised.value.expected == PART + 5
    store_site.manager.append(upload_id, PART + 5, CONTENT[PART + 5 :])
    store_site.finish(upload_id)
    store_site.look_after(upload_id)
    assert store_site.read() == CONTENT
    assert listing_store.leftovers() == []
    assert store_site.parts_sent() == [1, 2, 3, 4]


def test_an_end_that_redis_forgot_is_found_at_the_store(
    store_site: StoreSite, server: RedisServer, listing_store: RealStore, tmp_path: Path
) -> None:
    """The object carries the upload's id: nothing is sent again."""
    upload_id = store_site.manager.create("a", len(CONTENT)).upload_id
    store_site.manager.append(upload_id, 0, CONTENT)
    store_site.turns(upload_id, 1)
    backup = Backup(server, tmp_path / "backup")
    store_site.finish(upload_id)
    backup.restore()
    assert store_site.manager.get(upload_id).state is State.RECEIVED
    store_site.finish(upload_id)
    store_site.look_after(upload_id)
    assert store_site.read() == CONTENT
    assert listing_store.leftovers() == []
    assert store_site.parts_sent() == [1, 2, 3, 4]


def test_workers_end_quietly_over_an_empty_redis(
    store_site: StoreSite, server: RedisServer, listing_store: RealStore, tmp_path: Path
) -> None:
    """What they had begun is unknown; the path's next upload is stored beside it."""
    backup = Backup(server, tmp_path / "backup")
    upload_id = store_site.manager.create("a", len(CONTENT)).upload_id
    store_site.manager.append(upload_id, 0, CONTENT)
    store_site.turns(upload_id, 2)
    backup.restore()
    store_site.turns(upload_id, 2)
    again = store_site.manager.create("a", len(CONTENT)).upload_id
    store_site.manager.append(again, 0, CONTENT)
    store_site.finish(again)
    store_site.look_after(again)
    assert store_site.read() == CONTENT
    # A folder knows sessions by their uploads: the forgotten one is for reconcile.
    assert listing_store.leftovers() == (
        [upload_id] if listing_store.url.startswith("file:") else []
    )
