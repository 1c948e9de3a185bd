"""The manager and a Redis that is unfit, full, away, killed, or shared by others."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from contextlib import ExitStack, closing
from functools import partial

import pytest
from tests.producing import PART, Site, SiteAt, small_parts
from tests.servers.redis import FreshRedis, RedisServer
from tests.waiting import wait_until

from chunkferry import ChunkManager, UploadStatusCode, connection
from chunkferry.errors import (
    Backpressure,
    ConfigError,
    EvictingRedis,
    OffsetMismatch,
    RedisUnavailable,
)
from chunkferry.ledger import RedisLedger
from chunkferry.parts import MIB

#: Compresses badly and differs everywhere, so that no byte could be mistaken for another.
CONTENT = os.urandom(3 * PART + 1)

# --- unfit ------------------------------------------------------------------------------------


def test_a_redis_that_is_down_is_told_so() -> None:
    """Not at construction, but on first use; trying again may help."""
    manager = ChunkManager("redis://127.0.0.1:1/0", settings=small_parts())
    with pytest.raises(RedisUnavailable) as raised:
        manager.create("a", 1)
    assert (raised.value.code, raised.value.http_status, raised.value.retryable) == (
        "redis_unavailable",
        503,
        True,
    )


def test_a_redis_that_comes_up_later_is_used(fresh_redis: FreshRedis, site_at: SiteAt) -> None:
    """The same manager works once it is there."""
    server = fresh_redis()
    server.stop()
    site = site_at(server)
    with pytest.raises(RedisUnavailable):
        site.manager.init()
    server.start()
    assert site.manager.create("a", 1).length == 1


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_redis_that_may_evict_is_refused(
    fresh_redis: FreshRedis, site_at: SiteAt, policy: str
) -> None:
    """Accepted bytes, or the record of an end, could vanish."""
    site = site_at(fresh_redis(policy=policy, maxmemory=100 * MIB))
    with pytest.raises(EvictingRedis, match=policy) as raised:
        site.manager.create("a", 1)
    assert (raised.value.code, raised.value.retryable) == ("evicting_redis", False)


def test_another_number_of_shards_is_refused(on_redis: Site, site_at: SiteAt) -> None:
    """It would look for uploads where they are not."""
    on_redis.manager.init()
    url = on_redis.settings.redis_url
    other = ChunkManager(settings=small_parts(redis_url=url, shards=8))
    with pytest.raises(ConfigError, match=r'layout .*"shards": 64.*expected .*"shards": 8'):
        other.init()


def test_closing_a_client_closes_its_connections(fresh_redis: FreshRedis) -> None:
    """Else they stay until the garbage collector comes by, which warns of them."""
    server = fresh_redis()
    client = connection.connect(server.url)
    client.ping()
    client.close()
    onlooker = server.client()
    wait_until(lambda: len(onlooker.client_list()) == 1, what="only the onlooker is connected")


@pytest.mark.parametrize("is_adopted", [False, True])
def test_any_number_of_threads_may_ask(redis_server: RedisServer, is_adopted: bool) -> None:
    """redis-py alone refuses the 101st at one time, in words of an outage."""
    with ExitStack() as stack:
        client = connection.connect(redis_server.url)
        if is_adopted:
            client = connection.adopt(stack.enter_context(closing(client)))
        stack.callback(client.close)
        for _ in range(150):
            # Each has a connection of its own until it is let go.
            stack.enter_context(client.pipeline()).watch("a")  # type: ignore[no-untyped-call]  # redis-py


def test_a_client_of_the_callers_own_will_do(on_redis: Site, redis_server: RedisServer) -> None:
    """Whatever its settings are; the manager makes its own connections from it."""
    client = redis_server.client(decode_responses=True, socket_timeout=0.5)
    manager = ChunkManager(client, settings=on_redis.settings, waker=on_redis.waker)
    upload = manager.create("own client", 3)
    assert manager.append(upload.upload_id, 0, b"\xff\xfe\x00") == 3
    manager.cancel(upload.upload_id)
    assert isinstance(manager._ledger, RedisLedger)
    manager._ledger.records._waiting.close()
    manager._ledger.records._client.close()


# --- full -------------------------------------------------------------------------------------


def fill(site: Site) -> dict[str, int]:
    """Begin uploads and append to them until Redis takes no more; id -> received."""
    received: dict[str, int] = {}
    for number in range(100):
        try:
            upload = site.manager.create(f"file{number}", len(CONTENT))
            received[upload.upload_id] = 0
            for start in range(0, len(CONTENT), 2 * MIB):
                data = CONTENT[start : start + 2 * MIB]
                received[upload.upload_id] = site.manager.append(upload.upload_id, start, data)
        except Backpressure:
            return received
    raise AssertionError("Redis never was full")


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_full_redis_loses_nothing_and_drains(
    fresh_redis: FreshRedis, site_at: SiteAt, share: float
) -> None:
    """Producers wait, workers free memory under pressure, and every byte arrives."""
    server = fresh_redis(maxmemory=48 * MIB)
    site = site_at(server, memory_share=share)
    received = fill(site)
    for upload_id, offset in received.items():
        assert site.manager.get(upload_id).received >= offset
    wait_until(partial(push_on, site, list(received)), what="all are complete")
    assert {path: object_.data == CONTENT for path, object_ in site.store.contents.items()} == (
        dict.fromkeys((site.manager.get(upload_id).filepath for upload_id in received), True)
    )


def push_on(site: Site, upload_ids: list[str]) -> bool:
    """One turn of the workers, then one of the producers; True once all are complete."""
    site.work()
    uploads = [site.manager.get(upload_id) for upload_id in upload_ids]
    for upload in uploads:
        try:
            for start in range(upload.received, len(CONTENT), 2 * MIB):
                site.manager.append(upload.upload_id, start, CONTENT[start : start + 2 * MIB])
        except Backpressure:
            continue
    return all(upload.is_complete for upload in uploads)


def used_memory(server: RedisServer) -> int:
    """In bytes."""
    return int(server.client().info("memory")["used_memory"])


def really_full(site: Site, server: RedisServer) -> str:
    """A whole upload in a Redis that refuses every plain write; returns its id."""
    upload_id = site.manager.put_with_status("a", len(CONTENT), io.BytesIO(CONTENT)).upload_id
    client = server.client()
    client.config_set("maxmemory", MIB)
    return upload_id


def test_whoever_comes_to_a_full_redis_can_start(fresh_redis: FreshRedis, site_at: SiteAt) -> None:
    """A worker that could not would leave it full for ever."""
    server = fresh_redis(maxmemory=100 * MIB)
    really_full(site_at(server), server)
    site_at(server).manager.init()


def test_what_frees_memory_works_in_a_full_redis(fresh_redis: FreshRedis, site_at: SiteAt) -> None:
    """Every move of workers and sweep, and the producers' cancel."""
    server = fresh_redis(maxmemory=100 * MIB)
    site = site_at(server)
    upload_id = really_full(site, server)
    with pytest.raises(Backpressure, match="Redis is full"):
        site.manager.create("b", 1)
    site.work()
    assert site.stored("a") == CONTENT
    assert site.manager.get(upload_id).is_complete
    wait_until(lambda: used_memory(server) < 5 * MIB, what="its memory is free again")


def test_cancelling_works_in_a_full_redis(fresh_redis: FreshRedis, site_at: SiteAt) -> None:
    """It frees at once what was accepted."""
    server = fresh_redis(maxmemory=100 * MIB)
    site = site_at(server)
    upload_id = really_full(site, server)
    site.manager.cancel(upload_id)
    wait_until(lambda: used_memory(server) < 5 * MIB, what="its memory is free again")


# --- away -------------------------------------------------------------------------------------


def test_an_append_outlives_a_restart_of_redis(fresh_redis: FreshRedis, site_at: SiteAt) -> None:
    """A short absence is waited out; nothing accepted before is lost, nothing counted twice."""
    server = fresh_redis()
    site = site_at(server)
    upload_id = site.manager.create("a", len(CONTENT)).upload_id
    site.manager.append(upload_id, 0, CONTENT[:PART])
    server.kill()
    # Not the other way round: a server ends with the thread that started it.
    sender = site.in_background(lambda: site.manager.append(upload_id, PART, CONTENT[PART:]))
    server.start()
    sender.join()
    site.work()
    assert site.stored("a") == CONTENT


def test_after_a_longer_absence_the_same_call_goes_on(
    fresh_redis: FreshRedis, site_at: SiteAt
) -> None:
    """The error says that trying again is right."""
    server = fresh_redis()
    site = site_at(server)
    upload_id = site.manager.create("a", len(CONTENT)).upload_id
    site.manager.append(upload_id, 0, CONTENT[:PART])
    server.kill()
    with pytest.raises(RedisUnavailable) as raised:
        site.manager.append(upload_id, PART, CONTENT[PART:])
    assert raised.value.retryable
    server.start()
    assert site.manager.append(upload_id, PART, CONTENT[PART:]) == len(CONTENT)
    site.work()
    assert site.stored("a") == CONTENT


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_kills_of_redis_during_appends_lose_nothing(
    fresh_redis: FreshRedis, site_at: SiteAt, fsync: str
) -> None:
    """Whatever was acknowledged is there, at its place, once; or Redis says where to go on.

    Only ``always`` keeps all that was acknowledged: with ``everysec`` Redis answers up to two
    seconds before it writes, and comes back with a smaller offset.
    """
    server = fresh_redis(settings={"appendfsync": fsync})
    site = site_at(server)
    upload_id = site.manager.create("a", len(CONTENT)).upload_id
    finished, rewinds = threading.Event(), list[int]()

    def send() -> None:
        offset = 0
        while offset < len(CONTENT):
            try:
                data = CONTENT[offset : offset + 100_000]
                offset = site.manager.append(upload_id, offset, data)
            except RedisUnavailable:
                continue
            except OffsetMismatch as exc:
                rewinds.append(offset - exc.expected)
                offset = exc.expected
        finished.set()

    sender = site.in_background(send)
    for share in (0.2, 0.5, 0.8):
        goal = int(len(CONTENT) * share)
        wait_until(partial(has_received, site, upload_id, goal), timeout=60)
        server.kill()
        server.start()
    wait_until(finished.is_set, timeout=60, what="all is sent")
    sender.join()
    site.work()
    assert site.stored("a") == CONTENT
    assert all(rewind > 0 for rewind in rewinds)
    assert fsync == "everysec" or not rewinds


def has_received(site: Site, upload_id: str, goal: int) -> bool:
    """Whether so many bytes are in."""
    return site.manager.get(upload_id).received >= goal


# --- shared -----------------------------------------------------------------------------------


def test_processes_take_turns_on_one_upload(on_redis: Site) -> None:
    """Fault of the original: their appends never interleave."""
    block, senders, each = 1000, 3, 20
    upload_id = on_redis.manager.create("a", block * senders * each).upload_id
    script = (
        "import sys\n"
        "from chunkferry import ChunkManager\n"
        "from chunkferry.errors import ContentConflict, OffsetMismatch\n"
        "from chunkferry.wakeup import NoWaker\n"
        "upload_id, letter, block, each = *sys.argv[1:3], *map(int, sys.argv[3:])\n"
        "manager, offset = ChunkManager(waker=NoWaker()), 0\n"
        "for _ in range(each):\n"
        "    while True:\n"
        "        try:\n"
        "            offset = manager.append(upload_id, offset, letter.encode() * block)\n"
        "            break\n"
        "        except OffsetMismatch as exc:\n"
        "            offset = exc.expected\n"
        "        except ContentConflict:\n"
        "            offset = manager.get(upload_id).received\n"
    )
    environment = {**os.environ, "CHUNKFERRY_REDIS_URL": on_redis.settings.redis_url}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, upload_id, letter, str(block), str(each)],
            env=environment,
        )
        for letter in "abc"
    ]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    # The processes sent no wake-up: the sweep would.
    on_redis.waker.wake(upload_id)
    on_redis.work()
    content = on_redis.stored("a")
    blocks = [content[start : start + block] for start in range(0, len(content), block)]
    assert {len(set(found)) for found in blocks} == {1}
    assert [content.count(letter) for letter in b"abc"] == [block * each] * 3


def test_a_waker_that_loses_everything_loses_no_upload(on_redis: Site) -> None:
    """The sweep finds what is due, as if it had been asked for."""
    on_redis.waker.copies = 0
    notifier = on_redis.manager.put_with_status("a", len(CONTENT), io.BytesIO(CONTENT))
    on_redis.work()
    assert "a" not in on_redis.store.contents
    on_redis.waker.copies = 2
    assert isinstance(on_redis.ledger, RedisLedger)
    _bring_forward(on_redis, notifier.upload_id)
    for upload_id in on_redis.ledger.agenda.due():
        on_redis.ledger.agenda.rouse(upload_id)
        on_redis.waker.wake(upload_id)
    on_redis.work()
    assert notifier.wait(timeout=5).code == UploadStatusCode.OK
    assert on_redis.stored("a") == CONTENT


def _bring_forward(site: Site, upload_id: str) -> None:
    """Let the upload be due now."""
    client = connection.connect(site.settings.redis_url)
    shard = upload_id.partition("-")[0]
    client.zadd(f"{{cf:{shard}}}:due", {upload_id: 1})
    client.close()
