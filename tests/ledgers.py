"""The ledger in Redis and its twin in memory, each in a world whose time a test tells.

Parts are eight bytes and windows three parts here, so that tests stay readable and quick. A
fixture of this plugin per kind, and ``world`` for what has to hold in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final, cast

import google_crc32c
import pytest
import redis
from tests.servers.cluster import RedisCluster
from tests.servers.redis import RedisServer

from chunkferry import config, connection, keys, lua, parts
from chunkferry.config import Settings
from chunkferry.ledger import RedisLedger
from chunkferry.ledger.scripts import Scripts
from chunkferry.moves import Accepted, Acquisition, Draft, Ending
from chunkferry.parts import Grid
from chunkferry.services import Ledger, StoredPart
from chunkferry.state import State
from chunkferry.testing import ManualClock, MemoryLedger
from chunkferry.upload import ChunkUpload

GRID: Final = Grid(8)
#: What uploads consist of: no byte equals its neighbours.
DATA: Final = bytes(range(256))
#: Bytes of one transaction, in place of ``config.APPEND_BATCH``.
BATCH: Final = 8

#: The Lua that reads the test's clock as TIME would be read: a key of each shard, because a
#: script sees no other slot of a cluster.
_TAG: Final = f"(string.match(KEYS[1], '{{.-}}') or '{{{keys.SWEPT}}}')"
_TOLD: Final = f"redis.call('GET', {_TAG} .. ':clock')"
CLOCK: Final = f"{{math.floor({_TOLD} / 1000), {_TOLD} % 1000 * 1000}}"
#: A database of our own on the shared server, emptied before each test.
DATABASE: Final = 9

#: (script, answer) that any test got from Redis.
answers: Final[set[tuple[str, str]]] = set()


def small_settings(**changes: object) -> Settings:
    """Settings with limits that a test reaches."""
    limits: dict[str, object] = {
        "window": 24,
        "incomplete_upload_expiry": timedelta(seconds=100),
        "failed_upload_expiry": timedelta(seconds=600),
        "result_ttl": timedelta(seconds=1005),
        "lease_seconds": 30.0,
        "rewake_seconds": 15.0,
        "max_attempts": 3,
        "max_deaths": 3,
        "shards": 4,
    }
    # Past validation, which wants windows of megabytes.
    return config.load().model_copy(update={**limits, **changes})


class World:
    """A ledger, its clock, and the usual steps of a producer and a worker."""

    def __init__(self, ledger: Ledger, clock: ManualClock, settings: Settings) -> None:
        self.ledger = ledger
        self.clock = clock
        self.settings = settings

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(timedelta(seconds=seconds))

    def press(self) -> None:
        """Let memory be short."""
        raise NotImplementedError

    def change(self, **settings: object) -> None:
        """Go on with other settings."""
        raise NotImplementedError

    def get(self, upload_id: str) -> ChunkUpload:
        """The upload as it is now."""
        return self.ledger.records.get(upload_id)

    def begin(self, length: int | None = 24, filepath: str = "a", **changes: Any) -> str:
        """A new upload."""
        return self.ledger.intake.create(draft(length, filepath, **changes)).upload_id

    def append(self, upload_id: str, start: int, data: bytes) -> Accepted:
        """Append ``data``, cut as producers cut it."""
        view = memoryview(data)
        cuts = parts.entries(GRID, start, len(data))
        pieces = [view[begin - start : end - start] for begin, end in cuts]
        return self.ledger.intake.append(upload_id, start, pieces, GRID)

    def begun(self, received: int = 24, length: int | None = 24, filepath: str = "a") -> str:
        """A new upload of which ``received`` bytes are in."""
        upload_id = self.begin(length, filepath)
        if received:
            self.append(upload_id, 0, DATA[:received])
        return upload_id

    def hold(self, upload_id: str, nonce: str = "n1", worker: str = "w1") -> str:
        """Take the lease; return the nonce."""
        acquisition = self.ledger.leases.acquire(upload_id, nonce, worker)
        assert acquisition in {Acquisition.ACQUIRED, Acquisition.TAKEN_OVER}
        return nonce

    def next_part(self, upload_id: str) -> tuple[int, StoredPart]:
        """Start of the part to be stored next, and that part."""
        upload = self.get(upload_id)
        start = upload.stored
        data = DATA[start : min(GRID.boundary(start), upload.received)]
        crc32c = google_crc32c.value(data)
        number = GRID.number(start)
        return start, StoredPart(
            number=number, size=len(data), crc32c=crc32c, receipt=f"etag-{number}"
        )

    def store(self, upload_id: str, nonce: str = "n1", count: int = 1) -> None:
        """Commit the next parts."""
        for _ in range(count):
            start, part = self.next_part(upload_id)
            finish = start + part.size
            self.ledger.leases.commit(
                upload_id,
                nonce,
                start,
                part,
                crc32c=google_crc32c.value(DATA[:finish]),
                boundary=GRID.boundary(finish),
            )

    def completing(self, filepath: str = "a") -> str:
        """An upload held by n1, all of it stored, about to be completed."""
        upload_id = self.begun(filepath=filepath)
        self.hold(upload_id)
        self.store(upload_id, count=3)
        assert self.ledger.leases.begin_complete(upload_id, "n1")
        return upload_id

    def complete(self, filepath: str = "a") -> str:
        """An upload that has ended well."""
        upload_id = self.completing(filepath)
        self.finish(upload_id, Ending.COMPLETE, size=24)
        return upload_id

    def failed(self, received: int = 24, length: int | None = 24) -> str:
        """An upload that was given up for now."""
        upload_id = self.begun(received, length)
        self.hold(upload_id)
        self.ledger.leases.fail(upload_id, "n1", "store_refused", "no such bucket")
        return upload_id

    def aborting(self) -> str:
        """A cancelled upload that n1 is cleaning up."""
        upload_id = self.begun()
        self.ledger.intake.cancel(upload_id)
        self.hold(upload_id)
        return upload_id

    def finish(self, upload_id: str, ending: Ending, *, nonce: str = "n1", size: int = 0) -> State:
        """End the upload."""
        return self.ledger.leases.finish(self.get(upload_id), nonce, ending, size=size, etag="e")

    def end_all(self) -> None:
        """End every upload, as workers and sweep would, and clear its grave."""
        self.advance(10_000)
        for upload in self.ledger.records.list_uploads():
            if upload.has_ended:
                continue
            if upload.state in {State.RECEIVING, State.RECEIVED, State.FAILED}:
                self.ledger.intake.cancel(upload.upload_id)
            self.hold(upload.upload_id, "undertaker")
            aborting = self.get(upload.upload_id).state is State.ABORTING
            self.finish(
                upload.upload_id,
                Ending.ABORTED if aborting else Ending.ADOPTED,
                nonce="undertaker",
            )
        self.advance(100)
        for upload_id in self.ledger.agenda.graves():
            self.ledger.agenda.forget_grave(upload_id)
        for upload_id in self.ledger.telling.due():
            if turn := self.ledger.telling.begin(upload_id, "crier", timedelta(seconds=1)):
                self.ledger.telling.end(turn, "", None)
        self.advance(10_000)
        for upload_id in self.ledger.joins.spent():
            self.ledger.joins.forget_partial(upload_id)
        for upload_id in self.ledger.joins.due():
            self.ledger.joins.forget(upload_id)


class MemoryWorld(World):
    """With the twin in memory."""

    ledger: MemoryLedger

    def __init__(self, settings: Settings) -> None:
        clock = ManualClock()
        super().__init__(MemoryLedger(settings, clock=clock), clock, settings)

    def press(self) -> None:
        """Let memory be short."""
        self.ledger.is_pressed = True

    def change(self, **settings: object) -> None:
        """Go on with other settings."""
        self.settings = self.settings.model_copy(update=settings)
        self.ledger.intake._book.settings = self.settings


class RedisWorld(World):
    """With real Redis, of any kind."""

    ledger: RedisLedger

    def __init__(self, url: str, settings: Settings) -> None:
        self.client = connection.connect(url)
        super().__init__(RedisLedger(self.client, settings, clock=CLOCK), ManualClock(), settings)
        self.reset()

    def reset(self) -> None:
        """Begin anew, with an empty database and the clock at its start."""
        self.clock = ManualClock()
        for server in self.servers():
            server.flushdb()
        self.tell_time()

    def servers(self) -> list[redis.Redis]:
        """A client for each server."""
        return connection.servers(self.client)

    def tell_time(self) -> None:
        """Set the clock that the scripts read."""
        for key in self.clocks():
            self.client.set(key, self.clock())

    def clocks(self) -> list[str]:
        """The keys that are no ledger's."""
        shards = [f"cf:{shard}" for shard in range(self.settings.shards)]
        return [f"{{{tag}}}:clock" for tag in (*shards, keys.SWEPT)]

    def advance(self, seconds: float) -> None:
        """Let time pass, for Redis' own time-outs too."""
        super().advance(seconds)
        self.tell_time()
        for key, left in self.expiring().items():
            self.client.pexpire(key, max(1, left) - int(seconds * 1000))

    def press(self) -> None:
        """Let memory be short."""
        self.ledger.intake._memory.room = lambda _: 0  # type: ignore[method-assign,assignment]  # a gauge is read, not set

    def change(self, **settings: object) -> None:
        """Go on with other settings."""
        self.settings = self.settings.model_copy(update=settings)
        self.ledger.records._waiting.close()
        self.ledger = RedisLedger(self.client, self.settings, clock=CLOCK)

    def close(self) -> None:
        """Let the connections go."""
        self.ledger.records._waiting.close()
        self.client.close()

    def key_names(self) -> list[str]:
        """All keys but the clock's, and the totals, which producers of other tests may add to."""
        found = [key for server in self.servers() for key in cast("list[bytes]", server.keys())]
        return sorted({key.decode() for key in found} - {*self.clocks(), keys.TALLY})

    def expiring(self) -> dict[str, int]:
        """Keys with a TTL -> what is left of it in milliseconds."""
        times = {key: self.client.pttl(key) for key in self.key_names()}
        return {key: left for key, left in times.items() if left >= 0}

    def hash(self, name: str) -> dict[str, str]:
        """A hash, as text."""
        found = cast("dict[bytes, bytes]", self.client.hgetall(name))
        return {field.decode(): value.decode() for field, value in found.items()}

    def leaks(self) -> list[str]:
        """Keys that will never vanish although every upload has ended."""
        return [
            key
            for key in self.key_names()
            if key not in {keys.LAYOUT, keys.SWEPT, *self.expiring()}
        ]


def draft(length: int | None = 24, filepath: str = "a", **changes: Any) -> Draft:
    """What a producer begins with."""
    fields: dict[str, Any] = {
        "service": "default",
        "grid": GRID,
        "expiry": timedelta(seconds=100),
        **changes,
    }
    return Draft(filepath=filepath, length=length, **fields)


def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make one transaction of an append ``BATCH`` bytes at most."""
    monkeypatch.setattr(config, "APPEND_BATCH", BATCH)
    monkeypatch.setattr("chunkferry.ledger.batch.APPEND_BATCH", BATCH)


def record_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every answer of every script in ``answers``."""
    run, texts = lua.Script.run, lua.texts

    def recording_run(script: lua.Script, *args: Any) -> list[str]:
        answer = run(script, *args)
        answers.add((script.name, answer[0]))
        return answer

    def recording_texts(answer: object) -> list[str]:
        found = texts(answer)
        # The scripts that answer inside a transaction or pipeline, not to ``run``.
        script = {"accepted": "accept", "marked": "mark", "missing": "mark", "behind": "mark"}
        if found[0] in script:
            answers.add((script[found[0]], found[0]))
        return found

    def recording_ask(scripts: Scripts, name: str, questions: Any) -> Any:
        found = ask(scripts, name, questions)
        answers.update((name, answer[0].decode()) for answer in found)
        return found

    ask = Scripts.ask
    monkeypatch.setattr(Scripts, "ask", recording_ask)
    monkeypatch.setattr(lua.Script, "run", recording_run)
    monkeypatch.setattr(lua, "texts", recording_texts)


def checked_world(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisWorld]:
    """A world in Redis. At the end of the test nothing may be left that never expires."""
    small_batches(monkeypatch)
    record_answers(monkeypatch)
    world = RedisWorld(url, small_settings())
    yield world
    world.end_all()
    leaks = world.leaks()
    world.close()
    assert leaks == []


@pytest.fixture
def single_url(redis_server: RedisServer) -> str:
    """Of one Redis: a database that every test empties first."""
    return f"{redis_server.url.rpartition('/')[0]}/{DATABASE}"


@pytest.fixture
def cluster_url(redis_cluster: RedisCluster) -> str:
    """Of a cluster that every test empties first."""
    return redis_cluster.url


@pytest.fixture
def single_world(single_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisWorld]:
    """The ledger in one Redis."""
    yield from checked_world(single_url, monkeypatch)


@pytest.fixture
def cluster_world(cluster_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisWorld]:
    """The ledger in a cluster."""
    yield from checked_world(cluster_url, monkeypatch)


@pytest.fixture(params=["single", "cluster"])
def redis_world(request: pytest.FixtureRequest) -> RedisWorld:
    """The ledger in Redis, of either kind."""
    found: RedisWorld = request.getfixturevalue(f"{request.param}_world")
    return found


@pytest.fixture
def memory_world(monkeypatch: pytest.MonkeyPatch) -> MemoryWorld:
    """The ledger in memory."""
    small_batches(monkeypatch)
    return MemoryWorld(small_settings())


@pytest.fixture(params=["single", "cluster", "memory"])
def world(request: pytest.FixtureRequest) -> World:
    """Any ledger."""
    found: World = request.getfixturevalue(f"{request.param}_world")
    return found


def outcome_of(call: Callable[[], object]) -> object:
    """What a call returned, or the error it raised."""
    try:
        return call()
    except Exception as exc:
        return exc
