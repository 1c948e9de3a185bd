"""Every kind of Redis: over TLS, behind Sentinels, in a cluster; with real Celery workers."""

from __future__ import annotations

import io
import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.cluster import RedisCluster as TheirCluster
from redis.sentinel import Sentinel as TheirSentinel
from tests.acceptance.console import Console
from tests.producing import close_site, redis_site
from tests.servers.cluster import FreshCluster, RedisCluster
from tests.servers.redis import FreshRedis, RedisServer
from tests.servers.sentinel import SERVICE, StartWatched
from tests.servers.tls import Certificates, certificates
from tests.servers.workers import StartBeat, StartWorker
from tests.waiting import wait_until

from chunkferry import ChunkManager, State, UploadStatusCode, connection
from chunkferry.config import load
from chunkferry.connection import Kind
from chunkferry.connection.cluster import ClusterRedis
from chunkferry.errors import ConfigError, OffsetMismatch, RedisUnavailable
from chunkferry.ledger import RedisLedger
from chunkferry.parts import MIB
from chunkferry.wakeup import NoWaker

PART = 5 * MIB
CONTENT = os.urandom(6 * PART + 1)

#: Short, so that a test sees leases and wake-ups end.
QUICK = {
    "CHUNKFERRY_LEASE_SECONDS": "3",
    "CHUNKFERRY_REWAKE_SECONDS": "1",
    "CHUNKFERRY_SWEEP_SECONDS": "0.3",
    "CHUNKFERRY_BACKOFF_SECONDS": "0.2",
    "CHUNKFERRY_BACKOFF_MAX_SECONDS": "1",
    "CHUNKFERRY_CHUNK_SIZE_LIMIT": str(PART),
    "CHUNKFERRY_APPEND_WAIT_SECONDS": "60",
}


def variables(tmp_path: Path, redis_url: str, broker_url: str = "") -> dict[str, str]:
    """What a deployment sets."""
    services = {"default": f"file://{tmp_path}/objects"}
    return {
        **QUICK,
        "CHUNKFERRY_REDIS_URL": redis_url,
        "CHUNKFERRY_BROKER_URL": broker_url,
        "CHUNKFERRY_SERVICES": json.dumps(services),
    }


def producer(env: dict[str, str], **options: Any) -> ChunkManager:
    """A manager with these variables."""
    fields: dict[str, object] = {n.removeprefix("CHUNKFERRY_").lower(): v for n, v in env.items()}
    fields["services"] = json.loads(env["CHUNKFERRY_SERVICES"])
    return ChunkManager(settings=load(**fields), **options)


def stored(tmp_path: Path, filepath: str = "a/b") -> bytes:
    """The object as it lies on the disk."""
    return (tmp_path / "objects" / filepath).read_bytes()


def send_all(manager: ChunkManager, upload_id: str, start: int = 0) -> list[int]:
    """Send what is missing, as a client does that keeps its bytes; return how far it went back."""
    offset, rewinds = start, list[int]()
    while offset < len(CONTENT):
        try:
            offset = manager.append(upload_id, offset, CONTENT[offset : offset + MIB])
        except RedisUnavailable:
            continue
        except OffsetMismatch as exc:
            rewinds.append(offset - exc.expected)
            offset = exc.expected
    return rewinds


# --- TLS --------------------------------------------------------------------------------------


@pytest.fixture
def issued(tmp_path: Path) -> Certificates:
    """For a server called localhost."""
    return certificates(tmp_path, "localhost")


def tls_url(server: RedisServer, port: str, query: str, host: str = "localhost") -> str:
    """Where a server speaks TLS."""
    return f"rediss://:{server.password}@{host}:{port}/0{query}"


@pytest.mark.parametrize("mutual", [False, True], ids=["server", "mutual"])
def test_one_url_with_tls_does_for_data_and_broker(
    fresh_redis: FreshRedis,
    issued: Certificates,
    tmp_path: Path,
    start_worker: StartWorker,
    mutual: bool,
) -> None:
    """Producer, wake-up, worker and store: an upload is complete without a sweep."""
    lines = issued.of_server(clients=mutual)
    server = fresh_redis(settings=lines)
    url = tls_url(server, lines["tls-port"], issued.query(client=mutual))
    env = variables(tmp_path, url)
    start_worker(env)
    notifier = producer(env).put_with_status("a/b", len(CONTENT), io.BytesIO(CONTENT))
    assert notifier.wait(60).code is UploadStatusCode.OK
    assert stored(tmp_path) == CONTENT


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "known"])
def test_the_broker_is_verified_too(
    fresh_redis: FreshRedis, issued: Certificates, tmp_path: Path, known: bool
) -> None:
    """A broker whose certificate nobody vouches for gets no message."""
    lines = issued.of_server()
    server = fresh_redis(settings=lines)
    broker = tls_url(server, lines["tls-port"], issued.query() if known else "")
    manager = producer(variables(tmp_path, server.url, broker))
    manager.put_with_status("a/b", 1, io.BytesIO(b"x"))
    assert server.client().llen("chunkferry.drain") == int(known)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ("authority", "self-signed certificate in certificate chain"),
        ("name", "certificate is not valid for '127.0.0.1'"),
    ],
)
def test_tls_that_cannot_be_is_a_setting_to_change(
    fresh_redis: FreshRedis,
    issued: Certificates,
    wrong: str,
    problem: str,
) -> None:
    """The error says what is wrong, and that trying again is no use."""
    lines = issued.of_server()
    server = fresh_redis(settings=lines)
    host = "127.0.0.1" if wrong == "name" else "localhost"
    query = "" if wrong == "authority" else issued.query()
    url = tls_url(server, lines["tls-port"], query, host)
    with pytest.raises(ConfigError, match=problem) as raised:
        ChunkManager(url, settings=load(), waker=NoWaker()).init()
    assert not raised.value.retryable
    assert server.password not in str(raised.value)


def test_a_socket_file_does_for_data_and_broker(
    fresh_redis: FreshRedis, tmp_path: Path, start_worker: StartWorker
) -> None:
    """No port at all between them."""
    socket = tmp_path / "redis.sock"
    server = fresh_redis(settings={"unixsocket": str(socket)})
    env = variables(tmp_path, f"unix://:{server.password}@{socket}?db=1")
    start_worker(env)
    notifier = producer(env).put_with_status("a/b", len(CONTENT), io.BytesIO(CONTENT))
    assert notifier.wait(60).code is UploadStatusCode.OK
    with redis.Redis(unix_socket_path=str(socket), password=server.password) as client:
        manager = ChunkManager(client, settings=load(), waker=NoWaker())
        assert manager.append(manager.create("a", 3).upload_id, 0, b"abc") == 3


def test_a_server_that_wants_a_certificate_gets_none(
    fresh_redis: FreshRedis, issued: Certificates
) -> None:
    """It may hang up before its reason arrives: told as one that does not answer, then."""
    lines = issued.of_server(clients=True)
    server = fresh_redis(settings=lines)
    url = tls_url(server, lines["tls-port"], issued.query())
    problem = "CERTIFICATE_REQUIRED|does not answer"
    with pytest.raises((ConfigError, RedisUnavailable), match=problem):
        ChunkManager(url, settings=load(), waker=NoWaker()).init()


# --- Sentinels --------------------------------------------------------------------------------


def test_an_upload_outlives_its_primary(
    watched_redis: StartWatched, tmp_path: Path, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """Killed in the middle; data and broker go on with the replica, by one URL of Sentinels."""
    watched = watched_redis(3)
    env = variables(tmp_path, watched.url)
    start_worker(env)
    start_beat(env)
    manager = producer(env)
    upload_id = manager.create("a/b", len(CONTENT)).upload_id
    manager.append(upload_id, 0, CONTENT[: 2 * PART])
    wait_until(lambda: manager.get(upload_id).stored >= PART, 60, what="a part is stored")
    watched.await_in_step()
    watched.primary.kill()
    rewinds = send_all(manager, upload_id, 2 * PART)
    assert manager.watch(upload_id).wait(90).code is UploadStatusCode.OK
    assert stored(tmp_path) == CONTENT
    assert all(rewind > 0 for rewind in rewinds)


def test_bytes_that_the_replica_lacks_are_asked_for_again(
    watched_redis: StartWatched, tmp_path: Path, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """Acknowledged by the old primary alone: the new one says where to go on; nothing is lost."""
    watched = watched_redis()
    env = variables(tmp_path, watched.url)
    manager = producer(env)
    upload_id = manager.create("a/b", len(CONTENT)).upload_id
    manager.append(upload_id, 0, CONTENT[:PART])
    watched.await_in_step()
    watched.part()
    assert manager.append(upload_id, PART, CONTENT[PART : 2 * PART]) == 2 * PART
    watched.fail_over()
    rewinds = send_all(manager, upload_id, 2 * PART)
    assert rewinds == [PART]
    start_worker(env)
    start_beat(env)
    assert manager.watch(upload_id).wait(60).code is UploadStatusCode.OK
    assert stored(tmp_path) == CONTENT


def test_sentinels_and_servers_speak_tls(
    watched_redis: StartWatched, tmp_path: Path, start_worker: StartWorker
) -> None:
    """One URL for Sentinels, data and broker; all certificates are verified."""
    env = variables(tmp_path, watched_redis(1, certificates(tmp_path, "127.0.0.1")).url)
    start_worker(env)
    notifier = producer(env).put_with_status("a/b", len(CONTENT), io.BytesIO(CONTENT))
    assert notifier.wait(60).code is UploadStatusCode.OK
    assert stored(tmp_path) == CONTENT


def test_a_client_through_sentinels_will_do(watched_redis: StartWatched) -> None:
    """The manager makes its own from it, and knows the URL for the broker."""
    watched = watched_redis()
    sentinels = [("127.0.0.1", sentinel.port) for sentinel in watched.sentinels]
    with TheirSentinel(sentinels, password=watched.primary.password) as theirs:  # type: ignore[no-untyped-call]  # redis-py
        client = theirs.master_for(SERVICE)
        url = connection.parse(connection.url_of(client))
        assert (url.kind, url.service, url.addresses) == (
            Kind.SENTINEL,
            SERVICE,
            tuple(sentinels),
        )
        manager = ChunkManager(client, settings=load(), waker=NoWaker())
        assert manager.append(manager.create("a", 3).upload_id, 0, b"abc") == 3
        client.close()


def test_sentinels_that_know_no_such_service(watched_redis: StartWatched) -> None:
    """Told as a Redis that does not answer: it may come."""
    url = watched_redis().url.replace(SERVICE, "others")
    with pytest.raises(RedisUnavailable, match="MasterNotFoundError"):
        ChunkManager(url, settings=load(), waker=NoWaker()).init()


# --- cluster ----------------------------------------------------------------------------------


@pytest.fixture
def redis_cluster(redis_cluster: RedisCluster) -> RedisCluster:
    """The cluster that tests share, without what others left there."""
    redis_cluster.empty()
    return redis_cluster


def test_workers_store_an_upload_from_a_cluster(
    redis_cluster: RedisCluster,
    fresh_redis: FreshRedis,
    tmp_path: Path,
    start_worker: StartWorker,
) -> None:
    """The broker is a Redis of its own."""
    env = variables(tmp_path, redis_cluster.url, fresh_redis().url)
    start_worker(env)
    manager = producer(env)
    notifiers = [
        manager.put_with_status(path, len(CONTENT), io.BytesIO(CONTENT)) for path in "abcdef"
    ]
    assert [notifier.wait(60).code for notifier in notifiers] == [UploadStatusCode.OK] * 6
    assert [stored(tmp_path, path) == CONTENT for path in "abcdef"] == [True] * 6


def test_a_cluster_needs_a_broker_beside_it(redis_cluster: RedisCluster, tmp_path: Path) -> None:
    """Celery cannot use one; said before any byte is taken."""
    manager = ChunkManager(redis_cluster.url, settings=load())
    with pytest.raises(ConfigError, match="CHUNKFERRY_BROKER_URL"):
        manager.init()
    with pytest.raises(ConfigError, match="CHUNKFERRY_BROKER_URL"):
        producer(variables(tmp_path, redis_cluster.url, redis_cluster.url)).init()


def test_an_upload_outlives_a_node_of_its_cluster(
    fresh_cluster: FreshCluster,
    fresh_redis: FreshRedis,
    tmp_path: Path,
    start_worker: StartWorker,
    start_beat: StartBeat,
) -> None:
    """The server that has it is killed in the middle, and started again."""
    cluster = fresh_cluster({"appendfsync": "always"})
    env = variables(tmp_path, cluster.url, fresh_redis().url)
    start_worker(env)
    start_beat(env)
    manager = producer(env)
    upload_id = manager.create("a/b", len(CONTENT)).upload_id
    manager.append(upload_id, 0, CONTENT[: 2 * PART])
    wait_until(lambda: manager.get(upload_id).stored >= PART, 60, what="a part is stored")
    node = cluster.owner(f"{{cf:{upload_id.partition('-')[0]}}}")
    node.kill()
    with pytest.raises(RedisUnavailable):
        manager.append(upload_id, 2 * PART, CONTENT[2 * PART : 2 * PART + MIB])
    node.start()
    assert send_all(manager, upload_id, 2 * PART) == []
    assert manager.watch(upload_id).wait(60).code is UploadStatusCode.OK
    assert stored(tmp_path) == CONTENT


def test_a_slot_that_moves_during_an_upload_is_followed(
    fresh_cluster: FreshCluster,
) -> None:
    """The next command finds it at its new server, with all that was received."""
    cluster = fresh_cluster()
    site = redis_site(cluster.url)
    try:
        upload_id = site.manager.create("a", len(CONTENT)).upload_id
        site.manager.append(upload_id, 0, CONTENT[:PART])
        move_slot(cluster, f"{{cf:{upload_id.partition('-')[0]}}}")
        assert site.manager.append(upload_id, PART, CONTENT[PART:]) == len(CONTENT)
        site.work()
        assert site.stored("a") == CONTENT
    finally:
        close_site(site)


def move_slot(cluster: RedisCluster, key: str) -> None:
    """Give the slot of ``key`` to another server, as a reshard does."""

    def order(server: RedisServer, *args: object) -> Any:
        return server.client().execute_command(*args)  # type: ignore[no-untyped-call]  # redis-py

    source = cluster.owner(key)
    target = next(node for node in cluster.nodes if node is not source)
    slot = order(source, "CLUSTER KEYSLOT", key)
    names = {node: order(node, "CLUSTER MYID") for node in (source, target)}
    names = {n: i.decode() if isinstance(i, bytes) else i for n, i in names.items()}
    order(target, "CLUSTER SETSLOT", slot, "IMPORTING", names[source])
    order(source, "CLUSTER SETSLOT", slot, "MIGRATING", names[target])
    while keys := order(source, "CLUSTER GETKEYSINSLOT", slot, 100):
        login = ("AUTH", target.password)
        order(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, *login, "KEYS", *keys)
    for node in (target, source):
        order(node, "CLUSTER SETSLOT", slot, "NODE", names[target])


def test_a_server_that_left_its_cluster_is_forgotten(fresh_cluster: FreshCluster) -> None:
    """Asking it who has which slot would take a time-out, whenever something moves."""
    cluster = fresh_cluster()
    left, taker = cluster.nodes[1], cluster.nodes[0]
    url = f"redis+cluster://:{taker.password}@127.0.0.1:{taker.port}"
    with closing(connection.connect(url)) as client:
        assert len(connection.servers(client)) == len(cluster.nodes)
        cluster.hand_over(left, taker)
        left.kill()
        assert len(connection.servers(client)) == len(cluster.nodes) - 1
        assert isinstance(client, ClusterRedis)
        assert {port for _, port in client._clients} == {taker.port, cluster.nodes[2].port}


def test_a_cluster_client_of_the_callers_own_will_do(redis_cluster: RedisCluster) -> None:
    """The manager makes its own from it."""
    node = redis_cluster.nodes[0]
    with TheirCluster(host="127.0.0.1", port=node.port, password=node.password) as client:
        manager = ChunkManager(client, settings=load(), waker=NoWaker())
        upload_id = manager.create("own cluster client", 3).upload_id
        assert manager.append(upload_id, 0, b"abc") == 3
        manager.cancel(upload_id)


def test_a_url_of_another_kind_is_told(
    redis_cluster: RedisCluster, fresh_redis: FreshRedis
) -> None:
    """A node named as if it were alone, and one alone named as a cluster."""
    node = redis_cluster.nodes[0].url
    alone = fresh_redis().url.removesuffix("/0").replace("redis://", "redis+cluster://")
    with pytest.raises(ConfigError, match="its URL is redis\\+cluster://"):
        ChunkManager(node, settings=load(), waker=NoWaker()).init()
    with pytest.raises(ConfigError, match="its URL is redis://"):
        ChunkManager(alone, settings=load(), waker=NoWaker()).init()


def test_room_is_that_of_the_uploads_own_server(fresh_cluster: FreshCluster) -> None:
    """A full server holds up the uploads that it has, and no others."""
    cluster = fresh_cluster({"maxmemory": str(100 * MIB)})
    site = redis_site(cluster.url)
    assert isinstance(site.ledger, RedisLedger)
    try:
        uploads = [site.manager.create(f"file{n}", len(CONTENT)).upload_id for n in range(12)]
        full = cluster.nodes[0]
        full.client().config_set("maxmemory", MIB)
        gauge = site.ledger.intake._memory
        rooms = {upload_id: gauge.room(upload_id) > 0 for upload_id in uploads}
        elsewhere = {
            upload_id: cluster.owner(f"{{cf:{upload_id.partition('-')[0]}}}") is not full
            for upload_id in uploads
        }
        assert rooms == elsewhere
        assert set(rooms.values()) == {True, False}
    finally:
        close_site(site)


def test_the_doctor_looks_at_every_server(
    redis_cluster: RedisCluster, fresh_redis: FreshRedis, tmp_path: Path
) -> None:
    """Each finding about one of several says which."""
    env = variables(tmp_path, redis_cluster.url, fresh_redis().url)
    lines = Console(tmp_path, env).run("doctor", "--json", code=1).lines
    found = {line["check"]: line["verdict"] for line in lines}
    assert (found["redis"], found["due"], found["broker"]) == ("good", "good", "good")
    memory = [line["message"] for line in lines if line["check"] == "memory"]
    ports = {f"127.0.0.1:{node.port}" for node in redis_cluster.nodes}
    assert {message.partition(": ")[0] for message in memory} == ports


def test_a_cluster_is_read_from_the_command_line(
    redis_cluster: RedisCluster, fresh_redis: FreshRedis, tmp_path: Path
) -> None:
    """Its URL goes wherever one goes."""
    env = variables(tmp_path, redis_cluster.url, fresh_redis().url)
    upload = producer(env).create("seen", 1)
    shown = Console(tmp_path, env).run("show", upload.upload_id, "--json").lines[-1]
    assert (shown["filepath"], shown["state"]) == ("seen", State.RECEIVING)
