"""A broker that dies or falls silent while chunks are accepted: slower, and nothing else."""

from __future__ import annotations

import io
import itertools
import os
import signal

import pytest
from tests.servers.redis import FreshRedis, RedisServer
from tests.servers.relay import Relay
from tests.servers.workers import CeleryProcess, StartBeat, StartWorker
from tests.sites import CONTENT, PART, Site, real_site
from tests.waiting import wait_until

from chunkferry import ChunkManager, State, UploadStatusCode

site = real_site

POOLS = ["prefork", "threads"]
#: The last one costs three quarters of a minute, and differs from both others only in its end.
CASES = [*itertools.product(["killed", "frozen"], POOLS), ("frozen, then killed", "threads")]


def send(manager: ChunkManager, filepath: str) -> str:
    """Append the content piece by piece, each with whole parts; return the upload's id."""
    upload_id = manager.create(filepath, len(CONTENT)).upload_id
    for start in range(0, len(CONTENT), PART):
        manager.append(upload_id, start, CONTENT[start : start + PART])
    return upload_id


def prove_at_work(site: Site, filepath: str) -> None:
    """An upload completes by a wake-up of its producer."""
    notifier = site.manager().put_with_status(filepath, len(CONTENT), io.BytesIO(CONTENT))
    assert notifier.wait(60).code is UploadStatusCode.OK


def complaints(beat: CeleryProcess) -> int:
    """How often the beat could not reach its broker. Of a silent one, a worker says nothing."""
    text = beat.log.read_text()
    return text.count("The broker did not take a sweep") + text.count("Trying again in")


@pytest.fixture
def broker(site: Site, fresh_redis: FreshRedis) -> RedisServer:
    """A broker of the site's own, which forgets all when it ends."""
    server = fresh_redis(appendonly=False)
    site.env["CHUNKFERRY_BROKER_URL"] = server.url
    return server


@pytest.mark.timeout(400)
@pytest.mark.parametrize("case", CASES, ids=", ".join)
def test_chunks_are_accepted_without_a_broker(
    site: Site,
    broker: RedisServer,
    start_worker: StartWorker,
    start_beat: StartBeat,
    case: tuple[str, str],
) -> None:
    """And stored once it is back, empty: workers and beat that were there before reconnect."""
    fault, pool = case
    worker = start_worker(site.env, pool=pool)
    beat = start_beat(site.env)
    prove_at_work(site, "before")
    assert broker.pid is not None
    if fault == "killed":
        broker.kill()
    else:
        os.kill(broker.pid, signal.SIGSTOP)
    manager = site.manager()
    uploads = [send(manager, f"during/{number}") for number in range(3)]
    assert [manager.get(upload_id).state for upload_id in uploads] == [State.RECEIVED] * 3
    # Each try at a silent broker takes the whole time-out of 10 s; workers miss it after 20 s.
    tries = 1 if fault == "killed" else 3
    wait_until(lambda: complaints(beat) >= tries, 120, what="the beat has tried for long")
    if fault == "frozen":
        os.kill(broker.pid, signal.SIGCONT)
    else:
        broker.kill()
        broker.start()
    worker.supervise()
    for upload_id in uploads:
        assert manager.watch(upload_id).wait(90).code is UploadStatusCode.OK
    assert all(site.stored(f"during/{number}") == CONTENT for number in range(3))
    prove_at_work(site, "after")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("pool", POOLS)
def test_a_connection_that_died_in_silence_is_made_anew(
    site: Site,
    broker: RedisServer,
    start_worker: StartWorker,
    start_beat: StartBeat,
    pool: str,
) -> None:
    """No error ever arrives over it: the worker misses the answer, and takes wake-ups again.

    The first of them may be lost: Redis gives it to the old connection.
    """
    start_beat(site.env)
    with Relay(broker.port) as relay:
        url = broker.url.replace(str(broker.port), str(relay.port))
        start_worker({**site.env, "CHUNKFERRY_BROKER_URL": url}, pool=pool)
        prove_at_work(site, "before")
        assert relay.lose() > 1
        upload_id = send(site.manager(), "during")
        assert site.manager().watch(upload_id).wait(120).code is UploadStatusCode.OK
        assert site.stored("during") == CONTENT
