"""The last release beside this checkout: producers, workers and beats of both, on the same uploads.

Guards what the two share: the hashes, streams and sets in Redis, the sessions of the stores, and
the names of tasks and queues. ``CONTRIBUTING.md`` has the rules that keep these tests green.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import redis
from tests.layout import written_fields
from tests.servers.receiver import SECRET, Receiver
from tests.servers.redis import FreshRedis, RedisServer
from tests.servers.release import Versions
from tests.servers.stores import RealStore
from tests.servers.workers import CeleryProcess
from tests.waiting import wait_until

from chunkferry import ChunkManager, State
from chunkferry.config import load
from chunkferry.parts import MIB
from chunkferry.wakeup import DRAIN, CeleryWaker, producer_app
from chunkferry_worker.application import create_app
from chunkferry_worker.settings import MAINTENANCE

PART = 5 * MIB
SIZE = 4 * PART + 1
RESULT_TTL = 15

QUICK = {
    "CHUNKFERRY_CHUNK_SIZE_LIMIT": str(PART),
    "CHUNKFERRY_LEASE_SECONDS": "3",
    "CHUNKFERRY_REWAKE_SECONDS": "1",
    "CHUNKFERRY_SWEEP_SECONDS": "0.3",
    "CHUNKFERRY_SLICE_SECONDS": "2",
    "CHUNKFERRY_RESULT_TTL": str(RESULT_TTL),
    # A fleet shares its variables: the old version must not stumble over those of the new one.
    "CHUNKFERRY_OF_A_LATER_VERSION": "1",
}

pytestmark = pytest.mark.timeout(600)

either_way = pytest.mark.parametrize(("first", "second"), [("old", "new"), ("new", "old")])


@dataclass
class Fleet:
    """One deployment in the middle of an upgrade."""

    versions: Versions
    server: RedisServer
    store: RealStore
    folder: Path
    #: How long each part takes at least, in seconds.
    part_seconds: float = 0.0
    #: Further variables.
    more: dict[str, str] = field(default_factory=dict)
    #: False for the store itself, with all that it can do, and nobody who takes note.
    is_watched: bool = True
    #: How long records stay, in seconds.
    result_ttl: int = RESULT_TTL
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def env(self) -> Mapping[str, str]:
        """What all its processes have set."""
        options = {
            "url": self.store.url,
            "journal": str(self.folder / "journal"),
            "seconds": str(self.part_seconds),
        }
        witness = "tests.servers.witness:store?" + urlencode(options)
        services = {"default": witness if self.is_watched else self.store.url}
        return {
            **QUICK,
            **self.store.env,
            "CHUNKFERRY_RESULT_TTL": str(self.result_ttl),
            **self.more,
            "CHUNKFERRY_REDIS_URL": self.server.url,
            "CHUNKFERRY_SERVICES": json.dumps(services),
        }

    def worker(self, version: str) -> CeleryProcess:
        """A worker of one version."""
        number = next(self._numbers)
        node = ["--hostname", f"{version}{number}@%h", "--without-mingle", "--without-gossip"]
        return self._start(version, ["worker", "--concurrency=2", *node], number, " ready.")

    def beat(self, version: str) -> CeleryProcess:
        """A beat of one version."""
        return self._start(version, ["beat"], next(self._numbers), "beat: Starting...")

    def _start(self, version: str, command: list[str], number: int, ready: str) -> CeleryProcess:
        log = self.folder / f"{version}{number}.log"
        process = self.versions[version].celery([*command, "--loglevel=INFO"], self.env, log)
        self.stack.callback(process.kill)
        process.start(ready)
        folder = self.versions[version].folder
        told = f"code of {folder}/shared/chunkferry/__init__.py {folder}/worker/"
        assert told in log.read_text(), "it does not run the code it was meant to"
        return process

    def produce(
        self, version: str, filepath: str, start: int, end: int, *, cancel: bool = False
    ) -> str:
        """Append [start, end) of the file by a producer of one version; the upload's id."""
        plan = {"filepath": filepath, "size": SIZE, "start": start, "end": end, "cancel": cancel}
        told: dict[str, Any] = json.loads(
            self.versions[version].produce(json.dumps(plan), self.env)
        )
        assert told["code"].startswith(f"{self.versions[version].folder}/shared/")
        return str(told["upload_id"])

    def manager(self) -> ChunkManager:
        """One in this process, to look at the uploads."""
        return ChunkManager(
            settings=load(redis_url=self.server.url, result_ttl=RESULT_TTL, chunk_size_limit=PART)
        )

    def await_all(self, expected: Mapping[str, State]) -> None:
        """Wait until each path's upload has ended as expected, and nothing else is left."""
        manager = self.manager()
        seen: dict[str, State] = {}

        def ended() -> bool:
            # Records vanish: what was seen once counts.
            seen.update({u.filepath: u.state for u in manager.list_uploads() if u.has_ended})
            failed = [u for u in manager.list_uploads() if u.state is State.FAILED]
            assert failed == []
            return seen.keys() == expected.keys()

        wait_until(ended, 240, what="every upload has ended")
        assert seen == expected
        store = self.store.open()
        for filepath, state in expected.items():
            assert store.exists(filepath) is (state is State.COMPLETE)
            if state is State.COMPLETE:
                with store.get(filepath) as found:
                    assert digest(content(filepath)) == digest(found.read()), filepath
        assert self.store.leftovers() == []
        client = self.server.client()
        wait_until(lambda: left_keys(client) == [], 120, what="no key of an upload left")


def content(filepath: str) -> bytes:
    """What producers send; as in ``release.PRODUCER``."""
    return hashlib.shake_128(filepath.encode()).digest(SIZE)


def digest(data: bytes) -> str:
    """Short enough to compare in a failure's text."""
    return hashlib.sha256(data).hexdigest()


def left_keys(client: redis.Redis) -> list[bytes]:
    """Keys of uploads that are still there."""
    return sorted(client.scan_iter(match="{cf:*", count=1000))


@pytest.fixture
def fleet(
    versions: Versions, listing_store: RealStore, fresh_redis: FreshRedis, tmp_path: Path
) -> Iterator[Fleet]:
    """A deployment of the test's own, on each kind of store."""
    made = Fleet(versions, fresh_redis(), listing_store, tmp_path)
    with made.stack:
        yield made


@either_way
def test_one_version_goes_on_with_what_the_other_began(
    fleet: Fleet, first: str, second: str
) -> None:
    """Session, receipts and bytes of one version are taken up by the other, by the first's beat."""
    fleet.part_seconds = 0.5
    victim = fleet.worker(first)
    fleet.beat(first)
    # Two parts and a piece: the worker cannot end before it is killed.
    for filepath in ("kept", "unwanted"):
        upload_id = fleet.produce(first, filepath, 0, 2 * PART + 7)
    manager = fleet.manager()
    wait_until(
        lambda: all(upload.stored >= PART for upload in manager.list_uploads()),
        120,
        what="both uploads have a part stored",
    )
    fleet.produce(first, "held", 0, SIZE)
    wait_until(lambda: any(upload.holder for upload in manager.list_uploads()), 120)
    victim.kill()
    fleet.worker(second)
    assert upload_id == fleet.produce(second, "unwanted", 0, 0, cancel=True)
    fleet.produce(second, "kept", 2 * PART + 7, SIZE)
    fleet.await_all({"kept": State.COMPLETE, "held": State.COMPLETE, "unwanted": State.CANCELLED})


@pytest.mark.parametrize("listing_store", ["local"], indirect=True)
@pytest.mark.parametrize("beat", ["old", "new"])
def test_both_versions_at_once_each_killed_in_turn(fleet: Fleet, beat: str) -> None:
    """Ten uploads, most by producers of both versions in turn; every worker dies once."""
    fleet.part_seconds = 0.2
    paths = [f"films/{number}" for number in range(8)]
    workers = {version: fleet.worker(version) for version in ("old", "new")}
    fleet.beat(beat)
    producers = itertools.cycle(["old", "new"])
    for filepath in paths:
        fleet.produce(next(producers), filepath, 0, SIZE // 2)
    next(producers)
    manager = fleet.manager()
    for number, filepath in enumerate(tuple(paths)):
        fleet.produce(next(producers), filepath, SIZE // 2, SIZE)
        if number in {1, 4}:
            victim = workers["old" if number == 1 else "new"]
            # From here, without a process that has to start first: it is held a second or more.
            paths.append(f"held/{number}")
            upload_id = manager.create(paths[-1], SIZE).upload_id
            manager.append(upload_id, 0, content(paths[-1]))
            wait_until(lambda: any(upload.holder for upload in manager.list_uploads()), 120)
            victim.kill()
            victim.start(" ready.")
    fleet.await_all(dict.fromkeys(paths, State.COMPLETE))
    for worker in workers.values():
        assert "Task chunkferry.drain[" in worker.log.read_text(), "one version did it all"


@pytest.mark.parametrize("listing_store", ["local"], indirect=True)
@pytest.mark.parametrize("version", ["old", "new"])
def test_a_task_of_a_later_version_is_only_refused(fleet: Fleet, version: str) -> None:
    """A beat that was upgraded first sends what older workers do not know: they live on."""
    worker = fleet.worker(version)
    app, _ = create_app(load(redis_url=fleet.server.url))
    with app:
        for queue in (DRAIN, MAINTENANCE):
            app.send_task("chunkferry.of_a_later_version", args=["x"], queue=queue)
    told = "Received unregistered task of type 'chunkferry.of_a_later_version'"
    wait_until(lambda: worker.log.read_text().count(told) == 2, 30, what="the tasks were refused")
    pid = worker.pid
    fleet.produce(version, "a", 0, SIZE)
    fleet.beat("new")
    fleet.await_all({"a": State.COMPLETE})
    assert worker.pid == pid
    client = fleet.server.client()
    assert [client.llen(queue) for queue in (DRAIN, MAINTENANCE)] == [0, 0]


@pytest.mark.parametrize("listing_store", ["local"], indirect=True)
@either_way
def test_what_either_version_does_is_told(
    fleet: Fleet, receiver: Receiver, first: str, second: str
) -> None:
    """A producer of one version, a worker of the other; another worker of the new one tells."""
    fleet.more = {
        "CHUNKFERRY_WEBHOOK_URLS": json.dumps([receiver.url]),
        "CHUNKFERRY_WEBHOOK_SECRETS": json.dumps([SECRET]),
        "CHUNKFERRY_WEBHOOK_ALLOW_PRIVATE": "true",
        "CHUNKFERRY_RESULT_TTL": "60",
    }
    fleet.produce(first, "a", 0, SIZE)
    stores = fleet.worker(second)
    fleet.beat("new")
    manager = fleet.manager()
    wait_until(lambda: [u.state for u in manager.list_uploads()] == ["complete"], 120)
    stores.stop()
    fleet.worker("new")
    wait_until(lambda: "upload.complete" in receiver.kinds("a"), 60, what="it is told")
    assert receiver.kinds("a").count("upload.complete") == 1


@pytest.mark.parametrize("listing_store", ["local"], indirect=True)
def test_joins_outlive_workers_that_do_not_know_them(fleet: Fleet) -> None:
    """Older workers drop every other request; the sweep of the new beat's worker sends more."""
    fleet.is_watched = False
    # Older workers keep records of parts no longer than others: half of the looks must do in it.
    fleet.result_ttl = 600
    old, new = fleet.worker("old"), fleet.worker("new")
    manager = fleet.manager()
    ids = [manager.create_partial(SIZE).upload_id for _ in range(3)]
    for number, upload_id in enumerate(ids):
        manager.append(upload_id, 0, content(f"part {number}"))
    # One at least comes to each.
    waker = CeleryWaker(producer_app(fleet.server.url))
    upload_id = manager.concatenate("joined", ids).upload_id
    for _ in range(20):
        waker.join(upload_id)
    fleet.beat("new")

    def is_complete() -> bool:
        # Its record vanishes, too.
        return fleet.store.open().exists("joined")

    wait_until(is_complete, 120, what="the joined object")
    with fleet.store.open().get("joined") as found:
        expected = b"".join(content(f"part {number}") for number in range(3))
        assert digest(expected) == digest(found.read())
    dropped = "Received unregistered task of type 'chunkferry.join'"
    assert dropped in old.log.read_text(), "no request came to the old worker"
    assert "Task chunkferry.join[" in new.log.read_text()


def test_no_field_of_the_last_release_is_gone(versions: Versions) -> None:
    """Fields are only ever added: the other version still reads and writes the old ones."""
    then, now = (
        written_fields(version.folder / "shared" / "chunkferry" / "lua")
        for version in (versions.old, versions.new)
    )
    assert then
    assert {record: fields - now[record] for record, fields in then.items()} == {
        record: set() for record in then
    }
