"""What an acknowledgement means, on real servers that are killed, stopped, and set back."""

from __future__ import annotations

import io
import os
import signal
import threading
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from tests.ledgers import outcome_of
from tests.producing import PART, SiteAt, small_parts
from tests.servers.cluster import FreshCluster
from tests.servers.redis import AT_ONCE, FreshRedis, RedisServer, replica_of, server_program
from tests.waiting import wait_until

from chunkferry import ChunkManager, connection
from chunkferry.errors import (
    ConfigError,
    NotDurable,
    OffsetMismatch,
    RedisUnavailable,
    TooManyUploads,
)
from chunkferry.ledger import RedisLedger
from chunkferry.testing import RecordingWaker
from chunkferry_worker import embedded_redis

#: Compresses badly and differs everywhere, so that no byte could be mistaken for another.
CONTENT = os.urandom(3 * PART + 1)
#: Short enough for a test, and still long beside a loopback.
BRIEF = 0.3


@pytest.fixture
def old_server() -> Path:
    """A Redis without WAITAOF, such as that of Debian 12."""
    program = server_program()
    if program == embedded_redis.find_server():
        reason = "needs a redis-server 7.0 on PATH"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return program


def has_come_to(acknowledged: dict[str, int], goal: int) -> bool:
    """Whether some upload has come so far."""
    return max(acknowledged.values()) >= goal


def calls(server: RedisServer, command: str) -> int:
    """How often the server was asked so."""
    stats = server.client().info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])


# --- fsynced ----------------------------------------------------------------------------------


def test_what_is_acknowledged_as_fsynced_survives_kills(
    fresh_redis: FreshRedis, site_at: SiteAt
) -> None:
    """None is lost, over many appends; a kill leaves the page cache, so others show the flush."""
    server = fresh_redis(server=embedded_redis.find_server())
    site = site_at(server, durability="fsynced")
    uploads = [site.manager.create(f"file{n}", len(CONTENT)).upload_id for n in range(8)]
    acknowledged = dict.fromkeys(uploads, 0)
    over, lost = threading.Event(), list[OffsetMismatch]()

    def send(upload_id: str) -> None:
        while not over.is_set():
            offset = acknowledged[upload_id]
            try:
                piece = CONTENT[offset : offset + 10_000]
                acknowledged[upload_id] = site.manager.append(upload_id, offset, piece)
            except RedisUnavailable:
                continue
            except OffsetMismatch as exc:
                lost.append(exc)
                return

    senders = [site.in_background(partial(send, upload_id)) for upload_id in uploads]
    for kill in range(1, 5):
        wait_until(partial(has_come_to, acknowledged, kill * 20_000), 60)
        server.kill()
        server.start()
    over.set()
    for sender in senders:
        sender.join(60)
    assert lost == []
    received = {upload_id: site.manager.get(upload_id).received for upload_id in uploads}
    assert received == acknowledged
    assert min(acknowledged.values()) > 0


def test_an_append_asks_once_whether_it_is_on_disk(
    fresh_redis: FreshRedis, site_at: SiteAt
) -> None:
    """Not for each of its batches; nor does a file that is read piece by piece."""
    server = fresh_redis(server=embedded_redis.find_server())
    site = site_at(server, durability="fsynced")
    upload_id = site.manager.create("a", len(CONTENT)).upload_id
    before = calls(server, "waitaof")
    site.manager.append(upload_id, 0, CONTENT)
    assert calls(server, "waitaof") - before == 1
    site.manager.put_with_status("b", len(CONTENT), io.BytesIO(CONTENT))
    # Creating asks as well.
    assert calls(server, "waitaof") - before == 3


def test_memory_asks_nobody(fresh_redis: FreshRedis, site_at: SiteAt) -> None:
    """The default costs nothing."""
    server = fresh_redis()
    site = site_at(server)
    site.manager.put_with_status("a", len(CONTENT), io.BytesIO(CONTENT))
    assert (calls(server, "waitaof"), calls(server, "wait")) == (0, 0)


def test_what_is_never_flushed_is_not_acknowledged(
    fresh_redis: FreshRedis, site_at: SiteAt
) -> None:
    """Somebody has set appendfsync no since: told each time, until it is mended."""
    server = fresh_redis(server=embedded_redis.find_server())
    site = site_at(server, durability="fsynced", durability_wait_seconds=BRIEF)
    settings = {"durability_wait_seconds": 30.0}
    upload_id = site_at(server, durability="fsynced", **settings).manager.create("a").upload_id
    site.manager.init()
    server.client().config_set("appendfsync", "no")
    for _ in range(2):
        with pytest.raises(NotDurable, match="not even the primary flushed it to disk") as raised:
            site.manager.append(upload_id, 0, CONTENT[:100])
        assert (raised.value.received, raised.value.http_status, raised.value.retryable) == (
            100,
            503,
            True,
        )
    server.client().config_set("appendfsync", "always")
    assert site.manager.append(upload_id, 0, CONTENT[:100]) == 100


def test_a_file_that_is_no_longer_kept_is_told(fresh_redis: FreshRedis, site_at: SiteAt) -> None:
    """Switched off since, or by a failover to a server without one: said as at the start."""
    server = fresh_redis(server=embedded_redis.find_server())
    site = site_at(server, durability="fsynced")
    upload_id = site.manager.create("a", 3).upload_id
    server.client().config_set("appendonly", "no")
    with pytest.raises(ConfigError, match="keeps no append-only file"):
        site.manager.append(upload_id, 0, b"abc")


def test_a_length_is_acknowledged_as_fsynced_too(fresh_redis: FreshRedis, site_at: SiteAt) -> None:
    """It makes the upload whole, and a client forgets that it has to be told."""
    server = fresh_redis(server=embedded_redis.find_server(), settings={"appendfsync": "always"})
    site = site_at(server, durability="fsynced")
    upload_id = site.manager.create("a").upload_id
    before = calls(server, "waitaof")
    for _ in range(2):
        site.manager.set_length(upload_id, 5)
    assert calls(server, "waitaof") - before == 2


# --- servers that cannot be as durable as that ------------------------------------------------


def test_no_file_is_no_durability(fresh_redis: FreshRedis, site_at: SiteAt) -> None:
    """Told before anything is begun."""
    site = site_at(fresh_redis(appendonly=False), durability="fsynced")
    with pytest.raises(ConfigError, match="set appendonly yes"):
        site.manager.create("a", 1)


def test_a_file_that_is_never_flushed_is_refused(fresh_redis: FreshRedis, site_at: SiteAt) -> None:
    """Every append would wait in vain."""
    server = fresh_redis(server=embedded_redis.find_server(), settings={"appendfsync": "no"})
    with pytest.raises(ConfigError, match="set appendfsync everysec or always"):
        site_at(server, durability="fsynced").manager.create("a", 1)


def test_without_waitaof_redis_has_to_flush_always(
    fresh_redis: FreshRedis, site_at: SiteAt, old_server: Path
) -> None:
    """Then each of its answers says that it has, and there is nothing to ask."""
    server = fresh_redis(server=old_server)
    with pytest.raises(ConfigError, match=r"no WAITAOF.*set appendfsync always.*are everysec"):
        site_at(server, durability="fsynced").manager.create("a", 1)
    server.client().config_set("appendfsync", "always")
    site = site_at(server, durability="fsynced")
    upload_id = site.manager.create("a", 3).upload_id
    assert site.manager.append(upload_id, 0, b"abc") == 3
    server.kill()
    server.start()
    assert site.manager.get(upload_id).received == 3


def test_without_waitaof_a_flush_that_is_skipped_is_refused(
    fresh_redis: FreshRedis, site_at: SiteAt, old_server: Path
) -> None:
    """While the file is rewritten, ``always`` would not be always."""
    settings = {"appendfsync": "always", "no-appendfsync-on-rewrite": "yes"}
    server = fresh_redis(server=old_server, settings=settings)
    with pytest.raises(ConfigError, match="no-appendfsync-on-rewrite no"):
        site_at(server, durability="fsynced").manager.create("a", 1)


def test_without_waitaof_replicas_disks_cannot_be_asked(
    fresh_redis: FreshRedis, site_at: SiteAt, old_server: Path
) -> None:
    """To promise it would be a lie."""
    server = fresh_redis(server=old_server, settings={"appendfsync": "always"})
    with pytest.raises(ConfigError, match="whether replicas have flushed cannot be asked"):
        site_at(server, durability="fsynced", replicas=1).manager.create("a", 1)


def test_what_cannot_be_checked_is_said(
    fresh_redis: FreshRedis, site_at: SiteAt, old_server: Path
) -> None:
    """A managed server that forbids CONFIG."""
    server = fresh_redis(server=old_server, settings={"appendfsync": "always"})
    server.client().acl_setuser(
        "tenant", enabled=True, passwords=["+secret"], keys=["*"], categories=["+@all"],
        commands=["-config"],
    )  # fmt: skip
    site = site_at(server, durability="fsynced")
    url = server.url.replace(f":{server.password}@", "tenant:secret@")
    manager = ChunkManager(url, settings=site.settings, waker=RecordingWaker())
    with pytest.raises(ConfigError, match="forbids CONFIG GET, so that this cannot be checked"):
        manager.create("a", 1)


# --- a cluster --------------------------------------------------------------------------------


def test_each_server_of_a_cluster_is_asked_for_its_own_uploads(
    fresh_cluster: FreshCluster, site_at: SiteAt
) -> None:
    """The one that has the upload is the one that has to have flushed it."""
    cluster = fresh_cluster({"appendfsync": "always"})
    site = site_at(cluster, durability="fsynced")
    for path in "abcdefgh":
        upload_id = site.manager.create(path, 3).upload_id
        assert site.manager.append(upload_id, 0, b"abc") == 3
    hasty = site_at(cluster, replicas=1, durability_wait_seconds=BRIEF)
    for path in "ijklmnop":
        with pytest.raises(NotDurable, match="0 of 1 replicas have it"):
            hasty.manager.create(path, 3)
    assert len(list(site.manager.list_uploads())) == 16


def test_open_uploads_are_counted_over_a_whole_cluster(
    fresh_cluster: FreshCluster, site_at: SiteAt
) -> None:
    """Not only those on one of its servers."""
    site = site_at(fresh_cluster(), max_open_uploads=8)
    for path in "abcdefgh":
        site.manager.create(path, 3)
    with pytest.raises(TooManyUploads):
        site.manager.create("i", 3)


# --- replicas ---------------------------------------------------------------------------------


def test_a_server_that_is_demoted_says_so_to_who_waits(
    fresh_redis: FreshRedis, site_at: SiteAt
) -> None:
    """It lets go of an append that waits for replicas; whoever comes later learns it as well."""
    other, server = fresh_redis(), fresh_redis()
    upload_id = site_at(server).manager.create("a", 300).upload_id
    waiting = site_at(server, replicas=1, durability_wait_seconds=30.0)
    outcomes: list[object] = []
    append = partial(waiting.manager.append, upload_id, 0, b"abc")
    thread = waiting.in_background(lambda: outcomes.append(outcome_of(append)))
    wait_until(lambda: server.client().info("clients")["blocked_clients"] == 1)
    server.client().replicaof("127.0.0.1", other.port)
    thread.join(timeout=10)
    outcomes.append(outcome_of(append))
    assert [type(outcome) for outcome in outcomes] == [RedisUnavailable, RedisUnavailable]
    assert [str(outcome).rpartition(" ")[2] for outcome in outcomes] == ["UNBLOCKED", "READONLY"]


def test_an_upload_that_has_begun_is_told_though_redis_is_lost(
    fresh_redis: FreshRedis, site_at: SiteAt
) -> None:
    """While its durability is waited for: nothing but the error's id leads to it."""
    other, server = fresh_redis(), fresh_redis()
    waiting = site_at(server, replicas=1, durability_wait_seconds=30.0)
    outcomes: list[object] = []
    create = partial(waiting.manager.create, "a", 300)
    thread = waiting.in_background(lambda: outcomes.append(outcome_of(create)))
    wait_until(lambda: server.client().info("clients")["blocked_clients"] == 1)
    server.client().replicaof("127.0.0.1", other.port)
    thread.join(timeout=10)
    server.client().replicaof("NO", "ONE")
    (begun,), (outcome,) = site_at(server).manager.list_uploads(), outcomes
    assert isinstance(outcome, NotDurable)
    assert (outcome.upload_id, outcome.retryable) == (begun.upload_id, False)


def test_a_wait_may_be_longer_than_the_clients_time_out(
    fresh_redis: FreshRedis, site_at: SiteAt
) -> None:
    """``socket_timeout`` of the URL: Redis is asked again, as the patience of the settings goes."""
    server = fresh_redis()
    upload_id = site_at(server).manager.create("a", 300).upload_id
    settings = small_parts(replicas=1, durability_wait_seconds=1.0)
    with closing(connection.connect(f"{server.url}?socket_timeout=0.5")) as client:
        intake = RedisLedger(client, settings).intake
        with pytest.raises(NotDurable, match="0 of 1 replicas"):
            intake.ensure_durable(upload_id, 0)


@pytest.mark.parametrize("durability", ["memory", "fsynced"])
def test_a_replica_that_stands_still_holds_acknowledgements_up(
    fresh_redis: FreshRedis, site_at: SiteAt, durability: str
) -> None:
    """The error says what is missing; the same call goes on once the replica does."""
    program = None if durability == "memory" else embedded_redis.find_server()
    primary = fresh_redis(server=program, settings=AT_ONCE)
    replica = replica_of(primary, fresh_redis, program)
    patient = site_at(primary, durability=durability, replicas=1, durability_wait_seconds=30.0)
    hasty = {"durability": durability, "replicas": 1, "durability_wait_seconds": BRIEF}
    upload_id = patient.manager.create("a", 200).upload_id
    assert patient.manager.append(upload_id, 0, CONTENT[:100]) == 100
    assert replica.pid is not None
    os.kill(replica.pid, signal.SIGSTOP)
    try:
        # The second time by a connection that has written nothing itself.
        for manager in (site_at(primary, **hasty).manager for _ in range(2)):
            with pytest.raises(NotDurable, match="0 of 1 replicas") as raised:
                manager.append(upload_id, 100, CONTENT[100:200])
            assert raised.value.received == 200
    finally:
        os.kill(replica.pid, signal.SIGCONT)
    assert patient.manager.append(upload_id, 100, CONTENT[100:200]) == 200


def test_a_replica_that_took_over_is_asked_what_it_has(
    fresh_redis: FreshRedis, site_at: SiteAt
) -> None:
    """What a primary accepted alone is gone with it: the next append says from where to go on."""
    primary = fresh_redis(settings=AT_ONCE)
    replica = replica_of(primary, fresh_redis)
    patient = site_at(primary, replicas=1, durability_wait_seconds=30.0)
    hasty = site_at(primary, replicas=1, durability_wait_seconds=BRIEF)
    upload_id = patient.manager.create("a", 300).upload_id
    assert patient.manager.append(upload_id, 0, CONTENT[:100]) == 100
    assert replica.pid is not None
    os.kill(replica.pid, signal.SIGSTOP)
    # Else the bytes would wait for it in the system's buffers.
    primary.client().client_kill_filter(_type="replica")
    with pytest.raises(NotDurable):
        hasty.manager.append(upload_id, 100, CONTENT[100:200])
    primary.kill()
    os.kill(replica.pid, signal.SIGCONT)
    replica.client().replicaof("NO", "ONE")
    after = site_at(replica)
    with pytest.raises(OffsetMismatch) as raised:
        after.manager.append(upload_id, 200, b"x")
    assert raised.value.expected == 100
