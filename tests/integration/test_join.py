"""Joins by real workers: every store, producers that come late, workers killed in the middle."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import redis
from tests.chaos.checker import upload_keys
from tests.producing import Site
from tests.servers.redis import FreshRedis, RedisServer
from tests.servers.stores import RealStore, local_store
from tests.servers.workers import StartBeat, StartWorker
from tests.storing import read
from tests.waiting import wait_until

from chunkferry import ChunkManager, State
from chunkferry.config import APPEND_BATCH, load
from chunkferry.errors import UploadNotFound
from chunkferry.filepath import PARTIALS
from chunkferry.parts import MIB
from chunkferry.services import ListService
from chunkferry.wakeup import CeleryWaker, NoWaker, producer_app
from chunkferry_worker.failpoints import VARIABLE, Action, Failpoints, Fault

PART = 5 * MIB
#: Smaller than what is joined below.
WINDOW = PART + APPEND_BATCH
DICE = random.Random(5)
#: Of all kinds: empty, tiny, a part and a byte, more than one turn takes.
PIECES = [DICE.randbytes(size) for size in (PART + 1, 0, 3, 3 * PART, APPEND_BATCH)]
QUICK = {
    "CHUNKFERRY_LEASE_SECONDS": "1.5",
    "CHUNKFERRY_REWAKE_SECONDS": "1",
    "CHUNKFERRY_SWEEP_SECONDS": "0.3",
    "CHUNKFERRY_RESULT_TTL": "20",
    "CHUNKFERRY_SLICE_SECONDS": "2",
    "CHUNKFERRY_SLICE_BYTES": str(2 * PART),
    "CHUNKFERRY_CHUNK_SIZE_LIMIT": str(PART),
    "CHUNKFERRY_WINDOW": str(WINDOW),
}


class Joins:
    """A manager, and what workers and beat have to be told."""

    def __init__(self, redis_url: str, store: RealStore, **env: str) -> None:
        self.store = store
        self.env: Mapping[str, str] = {
            **QUICK,
            **store.env,
            **env,
            "CHUNKFERRY_REDIS_URL": redis_url,
            "CHUNKFERRY_SERVICES": json.dumps({"default": store.url}),
        }
        self.settings = load(
            redis_url=redis_url,
            services={"default": store.url},
            chunk_size_limit=PART,
            window=WINDOW,
            rewake_seconds=1,
            result_ttl=20,
            append_wait_seconds=60,
        )
        self.manager = ChunkManager(settings=self.settings)

    def partial(self, content: bytes) -> str:
        """A partial upload, all of it sent."""
        upload_id = self.manager.create_partial(len(content)).upload_id
        self.manager.append(upload_id, 0, content)
        return upload_id

    def partials(self, pieces: Sequence[bytes] = PIECES) -> list[str]:
        """One for each piece."""
        return [self.partial(piece) for piece in pieces]

    def state(self, upload_id: str) -> State:
        """Where it stands."""
        return self.manager.get(upload_id).state

    def require_complete(self, upload_id: str, pieces: Sequence[bytes] = PIECES) -> None:
        """Wait for the joined upload; it is whole then."""
        # Else a failed one would have to be waited for.
        stands = {State.COMPLETE, State.FAILED}
        wait_until(lambda: self.state(upload_id) in stands, 60, what="joined")
        upload = self.manager.get(upload_id)
        assert (upload.state, upload.error) == (State.COMPLETE, "")
        assert read(self.store.open(), upload.filepath) == b"".join(pieces)

    def leftovers(self) -> list[str]:
        """Objects of partial uploads."""
        store = self.store.open()
        assert isinstance(store, ListService)
        return [found.filepath for found in store.objects(PARTIALS)]

    def require_tidy(self, client: redis.Redis) -> None:
        """Everything goes but the object: at the store, and in Redis."""
        wait_until(lambda: self.leftovers() == [], 60, what="no partial object left")
        assert self.store.leftovers() == []
        wait_until(lambda: upload_keys(client) == [], 60, what="no key of an upload left")


@pytest.fixture
def server(fresh_redis: FreshRedis) -> RedisServer:
    """A Redis of the test's own."""
    return fresh_redis()


@pytest.fixture
def local(server: RedisServer, tmp_path: Path) -> Joins:
    """Joins in a folder."""
    return Joins(server.url, local_store(tmp_path / "objects"))


def test_any_ledger_joins(site: Site) -> None:
    """One Redis, a cluster, the twin: the shards of the parts are not that of the whole."""
    ids = []
    for piece in PIECES:
        ids.append(site.manager.create_partial(len(piece)).upload_id)
        site.manager.append(ids[-1], 0, piece)
    upload_id = site.manager.concatenate("a/b", ids).upload_id
    site.work()
    assert site.manager.get(upload_id).state is State.COMPLETE
    assert site.stored("a/b") == b"".join(PIECES)


def test_every_store_joins(
    server: RedisServer, real_store: RealStore, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """In the order given, which is not that of sending; and then the parts are gone."""
    joins = Joins(server.url, real_store)
    start_worker(joins.env)
    start_beat(joins.env)
    ids = joins.partials()
    order = [3, 0, 4, 1, 2, 0]
    upload_id = joins.manager.concatenate("a/b", [ids[i] for i in order]).upload_id
    joins.require_complete(upload_id, [PIECES[i] for i in order])
    joins.require_tidy(server.client())


def test_a_join_waits_for_nothing_but_its_parts(local: Joins, start_worker: StartWorker) -> None:
    """Sent to one worker, without any sweep: every step asks for the next."""
    start_worker(local.env, concurrency=1)
    ids = [local.manager.create_partial(None).upload_id for _ in PIECES]
    upload_id = local.manager.concatenate("a/b", ids).upload_id
    for part_id, piece in reversed(list(zip(ids, PIECES, strict=True))):
        local.manager.append(part_id, 0, piece)
        local.manager.set_length(part_id, len(piece))
    local.require_complete(upload_id)


def test_lost_requests_are_sent_by_the_sweep(
    local: Joins, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """No message of the producer's arrives."""
    start_worker(local.env)
    start_beat(local.env)
    local.manager = ChunkManager(settings=local.settings, waker=NoWaker())
    upload_id = local.manager.concatenate("a/b", local.partials()).upload_id
    local.require_complete(upload_id)


def test_many_requests_at_once_take_each_byte_once(local: Joins, start_worker: StartWorker) -> None:
    """Twenty messages, four processes."""
    workers = [start_worker(local.env), start_worker(local.env)]
    ids = local.partials()
    waker = CeleryWaker(producer_app(local.settings.broker))
    upload_id = local.manager.concatenate("a/b", ids).upload_id
    for _ in range(20):
        waker.join(upload_id)
    local.require_complete(upload_id)
    turns = sum(worker.log.read_text().count("Task chunkferry.join[") for worker in workers)
    assert turns >= 20


@pytest.mark.parametrize("action", [Action.KILL, Action.STOP])
def test_a_worker_that_dies_while_it_joins_is_replaced(
    local: Joins, start_worker: StartWorker, start_beat: StartBeat, tmp_path: Path, action: Action
) -> None:
    """Killed, or stopped and continued when another one has gone on: every object is whole."""
    armed = tmp_path / "armed"
    armed.mkdir()
    failpoints, env = Failpoints(armed), {**local.env, VARIABLE: str(armed)}
    start_worker(env, concurrency=4)
    start_worker(env, concurrency=4)
    start_beat(env)
    calls = ["linger", "append", "set_length", "join", "forget"]
    points = [f"{call}.{when}" for call in calls for when in ("before", "after")]
    parts = local.partials()
    finals = {}
    for point in points:
        # Nothing of it can be joined before its fault is armed.
        late = local.manager.create_partial(None).upload_id
        upload_id = local.manager.concatenate(point, [late, *parts]).upload_id
        failpoints.arm(upload_id, Fault(point=point, action=action, seconds=4))
        local.manager.append(late, 0, b"late")
        local.manager.set_length(late, 4)
        finals[point] = upload_id
    for upload_id in finals.values():
        local.require_complete(upload_id, [b"late", *PIECES])
    ids = finals.values()
    wait_until(lambda: not any(map(failpoints.is_armed, ids)), 30, what="a worker at each point")


def test_a_removed_part_fails_the_join(
    local: Joins, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """At once, and it says which one."""
    start_worker(local.env)
    start_beat(local.env)
    late = local.manager.create_partial(1).upload_id
    upload_id = local.manager.concatenate("a/b", [*local.partials(), late]).upload_id
    local.manager.cancel(late)
    wait_until(lambda: local.state(upload_id) is State.FAILED, 30, what="failed")
    assert late in local.manager.get(upload_id).error


def test_unused_parts_are_removed(
    server: RedisServer, local: Joins, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """Once nobody has joined them for as long as an upload may stay silent."""
    start_worker(local.env)
    start_beat(local.env)
    local.settings = local.settings.changed(incomplete_upload_expiry=4)
    local.manager = ChunkManager(settings=local.settings)
    ids = local.partials()
    wait_until(lambda: all(ended(local, id_) for id_ in ids), 30, what="all parts complete")
    local.require_tidy(server.client())


def ended(joins: Joins, upload_id: str) -> bool:
    """Complete, or gone again."""
    try:
        return joins.state(upload_id) is State.COMPLETE
    except UploadNotFound:
        return True


def test_a_kill_at_any_time_is_survived(
    local: Joins, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """SIGKILL for both workers in turn, for as long as the join takes."""
    workers = [start_worker(local.env), start_worker(local.env)]
    start_beat(local.env)
    pieces = PIECES * 3
    upload_id = local.manager.concatenate("a/b", local.partials(pieces)).upload_id
    for count in range(4):

        def goes_on(least: int = count * 4 * PART) -> bool:
            return local.manager.get(upload_id).received > least

        wait_until(goes_on, 60, what=f"the join going on after {count} kills")
        workers[count % 2].kill()
        workers[count % 2].start(" ready.")
    local.require_complete(upload_id, pieces)
