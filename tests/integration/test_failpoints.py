"""Each dangerous window of a worker, each fault, each store: every upload ends whole.

One fleet of real workers per store suffers all faults at once, each on an upload of its own; the
tests then look at one upload each.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.servers.redis import RedisServer
from tests.servers.s3 import S3Server
from tests.servers.stores import RealStore, local_store, s3_store
from tests.servers.workers import CeleryProcess
from tests.waiting import wait_until

from chunkferry import ChunkManager, State
from chunkferry.config import Settings, load
from chunkferry.parts import KIB, MIB
from chunkferry_worker.failpoints import VARIABLE, Action, Failpoints, Fault

PART = 5 * MIB
#: A whole part and a rest: two turns, so that a holder also lets go with work left.
SIZE = PART + 64 * KIB
LEASE = 3.0
#: Longer than the lease and the sweep's slack, so that somebody else takes over meanwhile.
STOPPED = 8.0
DELAY = 1.0
WORKERS = 2
CONCURRENCY = 8

#: Windows of an upload that is stored, of one that is cancelled, and of one in a single request.
STORING = [
    *("acquire", "initialize_chunk", "record_session", "upload_part", "commit"),
    *("release", "wake", "begin_complete", "complete_upload", "finish"),
]
REMOVING = ["cleanup", "find_object"]
WHOLE = ["put_whole"]
POINTS = [f"{call}.{when}" for call in STORING + REMOVING for when in ("before", "after")]
WHOLE_POINTS = [f"{call}.{when}" for call in WHOLE for when in ("before", "after")]

S3 = pytest.param("s3", marks=pytest.mark.s3)
SETTINGS = {
    "CHUNKFERRY_LEASE_SECONDS": str(LEASE),
    "CHUNKFERRY_REWAKE_SECONDS": "2",
    "CHUNKFERRY_SWEEP_SECONDS": "0.5",
    "CHUNKFERRY_RESULT_TTL": "60",
    "CHUNKFERRY_CHUNK_SIZE_LIMIT": str(PART),
    "CHUNKFERRY_SLICE_BYTES": str(PART),
    "CHUNKFERRY_BACKOFF_SECONDS": "0.2",
}


@dataclass(frozen=True)
class Case:
    """One fault at one point."""

    point: str
    action: Action

    @property
    def filepath(self) -> str:
        """Where its upload goes."""
        return f"{self.point}/{self.action}.bin"

    @property
    def content(self) -> bytes:
        """Its bytes; small ones go in a single request where the store offers it."""
        size = 64 * KIB if self.point in WHOLE_POINTS else SIZE
        return hashlib.shake_128(self.filepath.encode()).digest(size)

    @property
    def is_removed(self) -> bool:
        """Whether its upload is cancelled."""
        return self.point.partition(".")[0] in REMOVING

    @property
    def fault(self) -> Fault:
        """What happens to its worker."""
        seconds = STOPPED if self.action is Action.STOP else DELAY
        return Fault(point=self.point, action=self.action, seconds=seconds)


@dataclass(frozen=True)
class Fleet:
    """Workers over a store, and all cases behind them."""

    manager: ChunkManager
    store: RealStore
    failpoints: Failpoints
    upload_ids: dict[Case, str]


def begin(fleet: Fleet, case: Case) -> None:
    """Send the upload of a case, with its fault armed."""
    upload_id = fleet.manager.create(case.filepath, len(case.content)).upload_id
    fleet.upload_ids[case] = upload_id
    if not case.is_removed:
        fleet.failpoints.arm(upload_id, case.fault)
        fleet.manager.append(upload_id, 0, case.content)
    else:
        fleet.manager.append(upload_id, 0, case.content[:PART])


def remove(fleet: Fleet, case: Case) -> None:
    """Cancel the upload of a case, once something of it is at the store."""
    upload_id = fleet.upload_ids[case]
    wait_until(lambda: fleet.manager.get(upload_id).stored > 0, 60, what="a part stored")
    fleet.failpoints.arm(upload_id, case.fault)
    fleet.manager.cancel(upload_id)


@contextlib.contextmanager
def running(folder: Path, store: RealStore, settings: Settings) -> Iterator[None]:
    """Workers and beat, with failpoints in ``folder``."""
    env = {
        **SETTINGS,
        **store.env,
        VARIABLE: str(folder),
        "CHUNKFERRY_REDIS_URL": settings.redis_url,
        "CHUNKFERRY_SERVICES": json.dumps(settings.services),
    }
    worker = ["worker", "--loglevel=INFO", f"--concurrency={CONCURRENCY}"]
    worker += ["--without-mingle", "--without-gossip"]
    commands = {
        f"w{number}": [*worker, f"--hostname=w{number}@%h"] for number in range(WORKERS)
    } | {"beat": ["beat", "--loglevel=INFO"]}
    with contextlib.ExitStack() as stack:
        for name, arguments in commands.items():
            process = CeleryProcess(arguments, env, folder.parent / f"{name}.log")
            stack.callback(process.kill)
            process.start("Starting..." if name == "beat" else " ready.")
        yield


@pytest.fixture(scope="module", params=["local", S3])
def fleet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """All cases of one store, ended."""
    home = tmp_path_factory.mktemp("fleet")
    armed = home / "armed"
    armed.mkdir()
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        points = list(POINTS)
        if request.param == "local":
            store = local_store(home / "objects")
        else:
            server: S3Server = request.getfixturevalue("ceph_server")
            server.export_credentials(patch)
            store = s3_store(server, home.name, conditional_writes="true")
            points += WHOLE_POINTS
        redis = stack.enter_context(RedisServer(home / "redis"))
        stack.callback(redis.close)
        settings = load(
            redis_url=redis.url,
            services={"default": store.url},
            chunk_size_limit=PART,
            result_ttl=60,
            append_wait_seconds=60,
        )
        found = Fleet(ChunkManager(settings=settings), store, Failpoints(armed), {})
        stack.enter_context(running(armed, store, settings))
        cases = [Case(point, action) for point, action in itertools.product(points, Action)]
        for case in cases:
            begin(found, case)
        for case in cases:
            if case.is_removed:
                remove(found, case)
        wait_until(lambda: not unfinished(found), 120, what="every upload has ended")
        yield found


def unfinished(fleet: Fleet) -> list[str]:
    """Uploads that have not ended."""
    return [u.filepath for u in fleet.manager.list_uploads() if not u.has_ended]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("point", POINTS)
def test_a_fault_anywhere_ends_whole(fleet: Fleet, point: str, action: Action) -> None:
    """The fault happened; the object is whole, or removed if that was asked for."""
    require_whole(fleet, Case(point, action))


@pytest.mark.timeout(400)
@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("point", WHOLE_POINTS)
@pytest.mark.parametrize("fleet", [S3], indirect=True)
def test_a_fault_around_a_single_request_ends_whole(
    fleet: Fleet, point: str, action: Action
) -> None:
    """A small object in one conditional request: stored once, and whole."""
    require_whole(fleet, Case(point, action))


@pytest.mark.timeout(400)
def test_nothing_is_left_behind(fleet: Fleet) -> None:
    """Neither at the store nor in Redis, after all those deaths."""
    wait_until(lambda: fleet.store.leftovers() == [], 60, what="nothing unfinished at the store")
    assert {State.COMPLETE, State.CANCELLED} >= {u.state for u in fleet.manager.list_uploads()}


def require_whole(fleet: Fleet, case: Case) -> None:
    """The fault of ``case`` happened, and its upload came to the right end."""
    upload_id = fleet.upload_ids[case]
    assert not fleet.failpoints.is_armed(upload_id), "no worker came to this point"
    if case.is_removed:
        assert fleet.manager.get(upload_id).state is State.CANCELLED
        assert not fleet.store.open().exists(case.filepath)
        return
    assert fleet.manager.get(upload_id).state is State.COMPLETE
    with fleet.store.open().get(case.filepath) as found:
        assert case.content == found.read()
