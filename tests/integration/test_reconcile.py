"""Real workers and a real beat over real stores: what nobody knows any more is removed."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast
from urllib.parse import urlencode

import pytest
import redis
from tests.servers.redis import FreshRedis
from tests.servers.stores import RealStore
from tests.servers.workers import CeleryProcess, StartBeat, StartWorker
from tests.storing import Store, cut, new_upload, send
from tests.waiting import wait_until

from chunkferry import ChunkManager, UploadStatusCode
from chunkferry.config import Settings, load
from chunkferry.parts import MIB

PART = 5 * MIB
CONTENT = os.urandom(2 * PART)

#: Short enough for a test to see sessions get old: four seconds and a bit.
QUICK = {
    "CHUNKFERRY_INCOMPLETE_UPLOAD_EXPIRY": "2",
    "CHUNKFERRY_FAILED_UPLOAD_EXPIRY": "2",
    "CHUNKFERRY_RESULT_TTL": "1",
    "CHUNKFERRY_LEASE_SECONDS": "1",
    "CHUNKFERRY_REWAKE_SECONDS": "1",
    "CHUNKFERRY_SWEEP_SECONDS": "0.3",
    "CHUNKFERRY_RECONCILE_SECONDS": "0.5",
    "CHUNKFERRY_CHUNK_SIZE_LIMIT": str(PART),
}


@dataclass
class Site:
    """A Redis of its own and one real store, with a witness that can kill workers."""

    store: RealStore
    env: dict[str, str]
    #: While this file is there, the next worker to begin a session is killed.
    deadly: Path

    def settings(self) -> Settings:
        """What the site's producers have set."""
        names = [*QUICK, "CHUNKFERRY_REDIS_URL"]
        fields = {name.removeprefix("CHUNKFERRY_").lower(): self.env[name] for name in names}
        return load(**fields, services=json.loads(self.env["CHUNKFERRY_SERVICES"]))

    def manager(self) -> ChunkManager:
        """A producer."""
        return ChunkManager(settings=self.settings())

    def lose_redis(self) -> None:
        """Everything that Redis knew is gone."""
        with redis.Redis.from_url(self.env["CHUNKFERRY_REDIS_URL"]) as client:
            client.flushall()


@pytest.fixture
def site(fresh_redis: FreshRedis, listing_store: RealStore, tmp_path: Path) -> Site:
    """A site of the test's own."""
    options = {"url": listing_store.url, "journal": str(tmp_path / "journal")}
    deadly = tmp_path / "deadly"
    url = "tests.servers.witness:store?" + urlencode({**options, "die": str(deadly)})
    env = {
        **QUICK,
        **listing_store.env,
        "CHUNKFERRY_REDIS_URL": fresh_redis().url,
        "CHUNKFERRY_SERVICES": json.dumps({"default": url}),
        "PYTHONPATH": str(Path.cwd()),
    }
    return Site(store=listing_store, env=env, deadly=deadly)


def has_stored(manager: ChunkManager, upload_id: str, size: int) -> bool:
    """Whether so many bytes of the upload are in the store."""
    return manager.get(upload_id).stored == size


def told(worker: CeleryProcess, name: str) -> int:
    """A number of all results of the task together, as Flower shows them."""
    lines = worker.log.read_text().splitlines()
    results = [line for line in lines if "Task chunkferry.reconcile" in line and "succeed" in line]
    return sum(int(found) for found in re.findall(rf"'{name}': (\d+)", "".join(results)))


def test_a_redis_that_lost_everything_frees_the_store(
    site: Site, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """The stored parts of uploads that nobody knows are removed, and Flower is told how many."""
    worker = start_worker(site.env)
    manager = site.manager()
    for number in range(3):
        upload_id = manager.create(f"lost/{number}", 3 * PART).upload_id
        manager.append(upload_id, 0, CONTENT)
        wait_until(partial(has_stored, manager, upload_id, 2 * PART), 30)
    site.lose_redis()
    assert len(site.store.leftovers()) == 3
    start_beat(site.env)
    wait_until(lambda: not site.store.leftovers(), 60, what="nothing is left")

    wait_until(lambda: told(worker, "removed") == 3, 30, what="the results of the task")
    assert told(worker, "size") == 3 * 2 * PART


def test_the_session_of_a_worker_killed_before_it_said_so_is_removed(
    site: Site, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """Begun at the store, never recorded, and its upload forgotten: no grave leads there."""
    site.deadly.touch()
    worker = start_worker(site.env, concurrency=1)
    upload_id = site.manager().create("a/b", len(CONTENT)).upload_id
    site.manager().append(upload_id, 0, CONTENT)
    wait_until(lambda: not site.deadly.exists() and site.store.leftovers(), 30)
    worker.kill()
    assert site.manager().get(upload_id).session == ""
    site.lose_redis()
    assert len(site.store.leftovers()) == 1
    start_worker(site.env)
    start_beat(site.env)
    wait_until(lambda: not site.store.leftovers(), 60, what="nothing is left")


def test_an_upload_that_lives_keeps_its_session(
    site: Site, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """However old: its producer comes back now and then, while an orphan beside it goes."""
    worker = start_worker(site.env)
    start_beat(site.env)
    manager = site.manager()
    upload_id = manager.create("alive", len(CONTENT)).upload_id
    manager.append(upload_id, 0, CONTENT[:PART])
    wait_until(lambda: manager.get(upload_id).session, 30)
    begun, offset = time.monotonic(), PART
    orphan = cast("Store", site.store.open()).chunk_file_service()
    orphan.initialize_chunk(new_upload("orphan", 4))
    send(orphan, cut(b"data"))
    searches = 0

    def is_old_and_was_seen() -> bool:
        nonlocal offset, searches
        offset = manager.append(upload_id, offset, CONTENT[offset : offset + 1])
        done = worker.log.read_text().count("Task chunkferry.reconcile")
        if time.monotonic() < begun + 2 * site.settings().orphan_age.total_seconds():
            searches = done
        return done > searches + 4

    wait_until(is_old_and_was_seen, 60, what="searches after the session got old")
    assert len(site.store.leftovers()) == 1
    manager.append(upload_id, offset, CONTENT[offset:])
    assert manager.watch(upload_id).wait(60).code is UploadStatusCode.OK
    with site.store.open().get("alive") as file:
        assert file.read() == CONTENT
