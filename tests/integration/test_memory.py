"""A small Redis and many uploads: every one of them gets through."""

from __future__ import annotations

import os

from tests.servers.redis import FreshRedis

from chunkferry import ChunkManager, State
from chunkferry.config import load
from chunkferry.connection import connect
from chunkferry.errors import Backpressure
from chunkferry.ledger import RedisLedger
from chunkferry.parts import KIB, MIB
from chunkferry.storage import Stores
from chunkferry.testing import RecordingWaker
from chunkferry_worker.drain import Drain
from chunkferry_worker.sweep import Sweep

UPLOADS = 20
SIZE = 16 * MIB
PIECE = 256 * KIB


def test_many_half_filled_parts_do_not_wait_for_one_another(fresh_redis: FreshRedis) -> None:
    """320 MiB in 20 uploads, a little of each at a time, through a Redis of 64 MiB."""
    server = fresh_redis(maxmemory=64 * MIB)
    settings = load(redis_url=server.url, services={"default": "memory://half-filled"})
    ledger, waker = RedisLedger(connect(server.url), settings), RecordingWaker()
    stores = Stores(settings.services)
    manager = ChunkManager(settings=settings, ledger=ledger, waker=waker)
    drain = Drain(ledger, stores, waker, settings, worker="w1")
    sweep = Sweep(ledger, stores, waker, settings)

    data = os.urandom(PIECE)
    offsets = {manager.create(f"{i}", SIZE).upload_id: 0 for i in range(UPLOADS)}
    refused = 0
    while unfinished := [id_ for id_, offset in offsets.items() if offset < SIZE]:
        before = sum(offsets.values())
        for upload_id in unfinished:
            try:
                offsets[upload_id] = manager.append(upload_id, offsets[upload_id], data, wait=0)
            except Backpressure:
                refused += 1
        sweep.run()
        for woken in waker.take():
            drain.run(woken)
        assert sum(offsets.values()) > before, "nobody may send and nothing can be stored"
    for woken in waker.take():
        drain.run(woken)
    assert refused > 0, "memory was never short: nothing was proved"
    assert {manager.get(upload_id).state for upload_id in offsets} == {State.COMPLETE}
