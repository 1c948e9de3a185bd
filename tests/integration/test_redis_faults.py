"""A Redis that forgets scripts, refuses users, or takes no writes: a clear outcome for each."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.client import Pipeline
from tests.acceptance.console import Console
from tests.integration.test_redis_kinds import producer, stored, variables
from tests.ledgers import outcome_of
from tests.producing import PART, OneStore, Site, SiteAt, Trickle, small_parts
from tests.servers.cluster import FreshCluster
from tests.servers.redis import FreshRedis, RedisServer
from tests.servers.workers import StartBeat, StartWorker

from chunkferry import ChunkManager, State, UploadStatusCode
from chunkferry.errors import ChunkferryError, ConfigError, RedisUnavailable
from chunkferry.ledger import RedisLedger
from chunkferry.moves import Letter, Told
from chunkferry.parts import MIB
from chunkferry.tally import Tally
from chunkferry.upload import ChunkUpload
from chunkferry.wakeup import NoWaker
from chunkferry_worker import counting
from chunkferry_worker.sweep import Sweep, SweepReport

CONTENT = os.urandom(2 * PART + 1)
PAGE = (Path(__file__).parents[2] / "docs" / "redis.md").read_text()


# --- scripts ----------------------------------------------------------------------------------


def test_scripts_may_be_forgotten_before_any_command(
    on_redis: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``SCRIPT FLUSH`` before each command and each transaction: an upload is complete."""
    flusher = redis.Redis.from_url(on_redis.settings.redis_url)
    flushed = list[str]()

    def forgetful(original: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            if args[0] is not flusher:
                flushed.append(original.__name__)
                # Not by the client itself, whose method this is.
                plain_execute(flusher, "SCRIPT FLUSH")
            return original(*args, **options)

        return call

    plain_execute: Any = redis.Redis.execute_command
    monkeypatch.setattr(redis.Redis, "execute_command", forgetful(plain_execute))
    for name in ("immediate_execute_command", "execute"):
        monkeypatch.setattr(Pipeline, name, forgetful(getattr(Pipeline, name)))
    with flusher:
        manager = on_redis.manager
        notifier = manager.put_with_status("a", len(CONTENT), Trickle(CONTENT, most=MIB))
        assert [upload.filepath for upload in manager.list_uploads()] == ["a"]
        on_redis.work()
        assert notifier.wait(timeout=5).code is UploadStatusCode.OK
        assert on_redis.ledger.agenda.due() == []
    assert on_redis.stored("a") == CONTENT
    assert set(flushed) == {"execute_command", "immediate_execute_command", "execute"}


# --- passwords --------------------------------------------------------------------------------


def fails(url: str, error: type[ChunkferryError]) -> ChunkferryError:
    """The error of a manager that cannot begin."""
    with pytest.raises(error) as raised:
        ChunkManager(url, settings=small_parts(), waker=NoWaker()).init()
    return raised.value


def test_a_wrong_password_is_told_and_not_shown(redis_server: RedisServer) -> None:
    """Neither the right one nor the wrong one stands in the text."""
    problem = fails(redis_server.url.replace(redis_server.password, "wr0ng"), ConfigError)
    assert str(problem) == "Redis refuses the user name or password of its URL"
    assert not problem.retryable


def test_a_missing_password_is_told(redis_server: RedisServer) -> None:
    """Where one is wanted."""
    problem = fails(f"redis://127.0.0.1:{redis_server.port}/0", ConfigError)
    assert str(problem) == "Redis wants a password, and its URL has none"


def test_a_password_that_nobody_wants_is_told(fresh_redis: FreshRedis) -> None:
    """Redis refuses it, too."""
    server = fresh_redis()
    server.client().config_set("requirepass", "")
    problem = fails(server.url, ConfigError)
    assert str(problem) == "Redis wants no password, but its URL has one"


# --- rights -----------------------------------------------------------------------------------


def documented(user: str) -> list[str]:
    """The words of the line for ``user`` in the documentation."""
    found = re.search(rf"<!-- acl: {user} -->\n```\nACL SETUSER (.+)\n```", PAGE)
    assert found is not None
    return found[1].split()


def rights(user: str) -> list[str]:
    """The commands that it is given."""
    return [word[1:] for word in documented(user) if word.startswith("+")]


def grant(server: RedisServer, user: str, *, without: str = "") -> str:
    """Make the user as the documentation says; return its URL."""
    words = [word for word in documented(user) if word != f"+{without}" or not without]
    words = [word.replace("PASSWORD", "secret") for word in words]
    server.client().execute_command("ACL SETUSER", *words)  # type: ignore[no-untyped-call]  # redis-py
    return f"redis://{user}:secret@127.0.0.1:{server.port}/0"


def test_documented_rights_do_for_whole_uploads(
    fresh_redis: FreshRedis, tmp_path: Path, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """Producer, real worker, beat and doctor, each as a user of its own."""
    server, broker = fresh_redis(maxmemory=200 * MIB), fresh_redis().url
    work = variables(tmp_path, grant(server, "worker"), broker)
    start_worker(work)
    start_beat(work)
    produce = variables(tmp_path, grant(server, "producer"), broker)
    notifier = producer(produce).put_with_status("a/b", len(CONTENT), io.BytesIO(CONTENT))
    assert notifier.wait(60).code is UploadStatusCode.OK
    assert stored(tmp_path) == CONTENT
    lines = Console(tmp_path, produce).run("doctor", "--json").lines
    assert {line["verdict"] for line in lines} <= {"good", "warning"}


def test_documented_rights_do_in_a_cluster(fresh_cluster: FreshCluster, site_at: SiteAt) -> None:
    """With one more, to ask who has which slot; which is told where it is missing."""
    cluster = fresh_cluster()
    sites = {}
    for user in USES:
        for node in cluster.nodes:
            grant(node, user)
        _, _, hosts = cluster.url.rpartition("@")
        sites[user] = site_at(f"redis+cluster://{user}:secret@{hosts}")
    with pytest.raises(ConfigError, match=r"run the 'cluster\|slots' command"):
        sites["producer"].manager.init()
    for user in USES:
        for node in cluster.nodes:
            node.client().execute_command("ACL SETUSER", user, "+cluster|slots")  # type: ignore[no-untyped-call]  # redis-py
    site = sites["producer"]
    site.manager.put_with_status("a", len(CONTENT), io.BytesIO(CONTENT))
    for upload_id in site.waker.take():
        sites["worker"].waker.wake(upload_id)
    sites["worker"].work()
    assert sites["worker"].stored("a") == CONTENT


def use_everything(make: Callable[[], Site], helper: Site) -> None:
    """All that producers do; ``helper`` does what workers do in between."""
    site = make()
    manager = site.manager
    upload_id = manager.create("a", None).upload_id
    for start in range(0, 30, 10):
        manager.append(upload_id, start, CONTENT[start : start + 10])
    manager.append(upload_id, 0, CONTENT[:10])  # compared with what is in the stream
    manager.set_length(upload_id, 30)
    assert manager.find_upload("a") is not None
    with manager.watch(upload_id) as notifier:
        next(notifier)
    assert next(iter(manager.watch(upload_id, "0"))).received == 0
    assert len(list(manager.list_uploads())) == 1
    helper.ledger.leases.acquire(upload_id, "n", "w")
    helper.ledger.leases.fail(upload_id, "n", "code", "error")
    manager.requeue(upload_id)
    manager.cancel(manager.create("b", PART + 1).upload_id)
    manager.append(manager.create("c", PART + 1).upload_id, 0, CONTENT[: PART + 1])
    manager.concatenate("d", [manager.create_partial(1).upload_id])
    manager.tally.flush()
    manager.note_principal("ann", upload_id)
    assert manager.uploads_of("ann") == [manager.get(upload_id)]
    # Not by producers in a backend, but by `chunkferry webhooks`.
    helper.ledger.letters.add(letter(manager.get(upload_id)))
    for dead in site.ledger.letters.dead():
        site.ledger.letters.send_again(dead)


def letter(upload: ChunkUpload) -> Letter:
    """What somebody could not be told."""
    about = {"event_id": "e", "kind": "k", "sink": "s", "sink_name": "s", "error": "no"}
    return Letter(**about, index=1, attempts=1, time=upload.created_at, upload=upload)


def tell_everything(site: Site, upload_id: str) -> None:
    """All that tellers do."""
    telling, letters = site.ledger.telling, site.ledger.letters
    telling.due()
    turn = telling.begin(upload_id, "n", timedelta(seconds=1))
    assert turn is not None
    assert telling.note(turn, "told", timedelta(seconds=1))
    assert telling.end(turn, "told", None) is Told.OVER
    letters.add(letter(turn.upload))
    for dead in letters.dead():
        letters.send_again(dead)
    for waiting in letters.waiting():
        letters.settle(waiting)


def work_on_everything(make: Callable[[], Site], helper: Site) -> None:
    """All that workers and the sweep do; ``helper`` does what producers do in between."""
    site = make()
    assert isinstance(site.ledger, RedisLedger)
    site.ledger.records.require_usable()
    for path in ("complete", "failing"):
        notifier = helper.manager.put_with_status(path, len(CONTENT), io.BytesIO(CONTENT))
        site.waker.wake(notifier.upload_id)
    gone = helper.manager.create("gone", 10).upload_id
    helper.manager.cancel(gone)
    site.waker.wake(gone)
    part = helper.manager.create_partial(1).upload_id
    helper.manager.append(part, 0, b"x")
    site.waker.wake(part)
    site.waker.join(helper.manager.concatenate("joined", [part]).upload_id)
    late = helper.manager.create_partial(1).upload_id
    waiting = helper.manager.concatenate("waiting", [late]).upload_id
    leases = site.ledger.leases
    leases.acquire(notifier.upload_id, "n", "w")
    leases.renew(notifier.upload_id, "n")
    leases.defer(notifier.upload_id, "n", timedelta(milliseconds=1), "code", "error")
    site.work()
    Sweep(site.ledger, OneStore(site.store, site.settings), site.waker, site.settings).run()
    assert site.stored("joined") == b"x"
    grid = site.manager.get(part).grid
    site.ledger.intake.append(waiting, 0, [], grid)
    site.ledger.joins.discard(site.ledger.records.get(part))
    site.ledger.joins.give_up(waiting, "code", "error")
    site.ledger.agenda.rouse(helper.manager.create("idle", 10).upload_id)
    counting.count(Tally(site.ledger.totals), SweepReport())
    client = site.ledger.records._client
    for shard in range(site.settings.shards):
        site.ledger.agenda.forget_grave(f"{shard}-{'0' * 32}")
    complete = site.manager.find_upload("complete")
    assert complete is not None
    tell_everything(site, complete.upload_id)
    assert isinstance(client, redis.Redis)
    assert site.stored("complete") == CONTENT


USES = {"producer": use_everything, "worker": work_on_everything}


@pytest.mark.parametrize("user", USES)
def test_documented_rights_do(fresh_redis: FreshRedis, site_at: SiteAt, user: str) -> None:
    """For everything that there is to do."""
    server = fresh_redis(maxmemory=500 * MIB)
    url = grant(server, user)
    USES[user](lambda: site_at(url), site_at(server.url))


@pytest.mark.parametrize(
    ("user", "right"),
    # A PING is sent only over a connection that was idle for half a minute.
    [(user, right) for user in USES for right in rights(user) if right != "ping"],
)
def test_each_documented_right_is_needed(
    fresh_redis: FreshRedis,
    site_at: SiteAt,
    caplog: pytest.LogCaptureFixture,
    user: str,
    right: str,
) -> None:
    """Without it something fails, and the error, or a worker's log, names what Redis names."""
    server = fresh_redis(maxmemory=500 * MIB)
    url = grant(server, user, without=right)
    outcome = outcome_of(lambda: USES[user](lambda: site_at(url), site_at(server.url)))
    # Redis 7.0 does not say which command of a script it was.
    told = re.search(
        f"run the '{right}' command|script needs: it can't run", caplog.text + str(outcome)
    )
    assert told, outcome


def test_a_right_that_is_missing_is_told_without_payload(
    fresh_redis: FreshRedis, site_at: SiteAt
) -> None:
    """redis-py quotes the command, and the bytes in it, in the text of its error."""
    server = fresh_redis()
    site = site_at(grant(server, "producer", without="xadd"))
    upload_id = site_at(server.url).manager.create("a", 10).upload_id
    with pytest.raises(ConfigError) as raised:
        site.manager.append(upload_id, 0, b"0payload00")
    assert "payload" not in f"{raised.value}{raised.value.__cause__!r}"
    assert not raised.value.retryable


def test_keys_out_of_reach_are_told(fresh_redis: FreshRedis) -> None:
    """In the words of Redis."""
    server = fresh_redis()
    url = grant(server, "producer")
    server.client().execute_command("ACL SETUSER", "producer", "resetkeys", "~other:*")  # type: ignore[no-untyped-call]  # redis-py
    assert "no permissions to access" in str(fails(url, ConfigError)).lower()


# --- no writes --------------------------------------------------------------------------------


def test_a_replica_is_refused_at_the_start(fresh_redis: FreshRedis) -> None:
    """By its role, before anything is written."""
    primary = fresh_redis()
    replica = fresh_redis(settings={"replicaof": f"127.0.0.1 {primary.port}"})
    assert "connect to the primary" in str(fails(replica.url, ConfigError))


def test_appends_go_on_after_a_server_was_a_replica(
    fresh_redis: FreshRedis, site_at: SiteAt
) -> None:
    """A primary that is demoted takes no bytes, and does again once it is promoted."""
    other, server = fresh_redis(), fresh_redis()
    site = site_at(server.url)
    upload_id = site.manager.create("a", len(CONTENT)).upload_id
    site.manager.append(upload_id, 0, CONTENT[:PART])
    # It cannot log in there, so it keeps what it has.
    server.client().replicaof("127.0.0.1", other.port)
    with pytest.raises(RedisUnavailable, match="READONLY") as raised:
        site.manager.append(upload_id, PART, CONTENT[PART:])
    assert raised.value.retryable
    assert isinstance(site.ledger, RedisLedger)
    client = site.ledger.records._client
    before = client.client_id()
    with pytest.raises(RedisUnavailable, match="READONLY"):
        site.manager.cancel(upload_id)
    # Where a name leads to the primary, the new connection goes there.
    assert client.client_id() != before
    server.client().replicaof("NO", "ONE")
    assert site.manager.append(upload_id, PART, CONTENT[PART:]) == len(CONTENT)
    site.work()
    assert site.stored("a") == CONTENT


def test_too_few_replicas_are_waited_for(fresh_redis: FreshRedis, site_at: SiteAt) -> None:
    """``min-replicas-to-write``: refused as a thing that passes, and right again later."""
    server = fresh_redis()
    site = site_at(server.url)
    upload_id = site.manager.create("a", len(CONTENT)).upload_id
    server.client().config_set("min-replicas-to-write", 1)
    with pytest.raises(RedisUnavailable, match="NOREPLICAS") as raised:
        site.manager.append(upload_id, 0, CONTENT)
    assert raised.value.retryable
    with pytest.raises(RedisUnavailable, match="NOREPLICAS"):
        site.manager.create("b", 1)
    server.client().config_set("min-replicas-to-write", 0)
    assert site.manager.append(upload_id, 0, CONTENT) == len(CONTENT)
    assert site.manager.get(upload_id).state is State.RECEIVED
