"""Real Celery workers over a real Redis: turns, hand-overs, sweeps, and stores at fault."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
import redis
from moto.server import ThreadedMotoServer
from tests.servers.redis import FreshRedis
from tests.servers.s3 import S3Server
from tests.servers.workers import CeleryProcess, StartBeat, StartWorker
from tests.sites import CONTENT, PART, Site, real_site
from tests.waiting import wait_until

from chunkferry import State, UploadStatusCode
from chunkferry.errors import InitError, UploadClosed
from chunkferry.parts import MIB
from chunkferry.wakeup import CeleryWaker, producer_app

site = real_site


def outcomes(worker: CeleryProcess, outcome: str) -> int:
    """How many turns of ``worker`` ended so."""
    return worker.log.read_text().count(f"'outcome': '{outcome}'")


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_each_pool_stores_an_upload(site: Site, start_worker: StartWorker, pool: str) -> None:
    """Processes and threads both work; one wake-up is one task, never one per part."""
    worker = start_worker(site.env, pool=pool)
    notifier = site.manager().put_with_status("a/b", len(CONTENT), io.BytesIO(CONTENT))
    assert notifier.wait(60).code is UploadStatusCode.OK
    assert site.stored() == CONTENT
    assert site.parts_begun() == 5
    assert worker.log.read_text().count("Task chunkferry.drain[") <= 2 * 4


def test_a_lost_wake_up_is_sent_by_the_sweep(
    site: Site, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """No message at all: beat finds the work; two beats do no harm."""
    start_worker(site.env)
    start_beat(site.env)
    start_beat(site.env)
    manager = site.manager(lose_wake_ups=True)
    notifier = manager.put_with_status("a/b", len(CONTENT), io.BytesIO(CONTENT))
    assert notifier.wait(60).code is UploadStatusCode.OK
    assert site.parts_begun() == 5


def test_doubled_wake_ups_change_nothing(site: Site, start_worker: StartWorker) -> None:
    """Twenty messages for one upload, two workers: each part is stored once."""
    site.witness(seconds="0.2")
    workers = [start_worker(site.env), start_worker(site.env)]
    manager = site.manager()
    waker = CeleryWaker(producer_app(site.env["CHUNKFERRY_REDIS_URL"]))
    upload_id = manager.create("a/b", len(CONTENT)).upload_id
    manager.append(upload_id, 0, CONTENT)
    for _ in range(20):
        waker.wake(upload_id)
    assert manager.watch(upload_id).wait(60).code is UploadStatusCode.OK
    assert site.parts_begun() == 5
    wait_until(lambda: sum(outcomes(worker, "complete") for worker in workers) == 1)


def test_sigterm_hands_an_upload_over(site: Site, start_worker: StartWorker) -> None:
    """A worker that is stopped ends after its part; another one goes on with the next."""
    site.witness(seconds="0.7")
    first = start_worker(site.env)
    manager = site.manager()
    upload_id = manager.create("a/b", len(CONTENT)).upload_id
    manager.append(upload_id, 0, CONTENT)
    wait_until(lambda: site.parts_begun() > 1, 30)
    first.stop()
    begun = site.parts_begun()
    assert begun < 5
    assert outcomes(first, "more") == 1
    assert manager.get(upload_id).holder == ""
    start_worker(site.env)
    assert manager.watch(upload_id).wait(60).code is UploadStatusCode.OK
    assert site.parts_begun() == 5
    assert site.stored() == CONTENT


def test_a_slow_part_keeps_its_lease(
    site: Site, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """A part that takes longer than the lease, with progress, is stored once by one worker."""
    site.witness(seconds="5")
    start_worker(site.env)
    start_beat(site.env)
    manager = site.manager()
    upload_id = manager.create("a/b", PART).upload_id
    manager.append(upload_id, 0, CONTENT[:PART])
    assert manager.watch(upload_id).wait(60).code is UploadStatusCode.OK
    assert site.parts_begun() == 1
    assert manager.get(upload_id).epoch == 1


def test_a_hung_call_loses_its_lease(
    site: Site, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """Another worker goes on after the lease; the one that hung changes nothing any more."""
    hang = site.folder / "hang"
    hang.touch()
    site.witness(hang=str(hang))
    start_worker(site.env)
    start_beat(site.env)
    manager = site.manager()
    upload_id = manager.create("a/b", len(CONTENT)).upload_id
    manager.append(upload_id, 0, CONTENT)
    assert manager.watch(upload_id).wait(60).code is UploadStatusCode.OK
    assert manager.get(upload_id).epoch == 2
    assert site.stored() == CONTENT


def test_a_silent_producer_loses_its_upload(
    site: Site, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """Expiry frees Redis and the store, and the notifier tells it."""
    site.env |= {"CHUNKFERRY_INCOMPLETE_UPLOAD_EXPIRY": "2", "CHUNKFERRY_RESULT_TTL": "4"}
    worker = start_worker(site.env)
    start_beat(site.env)
    manager = site.manager()
    upload_id = manager.create("a/b", len(CONTENT)).upload_id
    manager.append(upload_id, 0, CONTENT[: PART + 1])
    last = manager.watch(upload_id).wait(60)
    assert isinstance(last.error, UploadClosed)
    assert last.state == State.EXPIRED
    assert not list((site.folder / "objects").rglob("*.tmp"))
    with redis.Redis.from_url(site.env["CHUNKFERRY_REDIS_URL"]) as client:
        wait_until(lambda: not list(client.scan_iter("{cf:*")), 30, what="no key left")
    wait_until(lambda: outcomes(worker, "expired") == 1)


def test_an_evicting_redis_is_refused_by_the_worker(fresh_redis: FreshRedis, site: Site) -> None:
    """The worker ends with a sentence that says what to change."""
    server = fresh_redis(policy="allkeys-lru", maxmemory=100 * MIB)
    env = {**os.environ, **site.env, "CHUNKFERRY_REDIS_URL": server.url}
    command = [sys.executable, "-m", "celery", "-A", "chunkferry_worker", "worker", "-P", "solo"]
    ended = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode != 0
    assert "noeviction" in ended.stderr


FAULTS: dict[str, Callable[[S3Server], str]] = {
    "bucket missing": lambda s3: s3.url("x").replace("chunkferry/x", "no-such-bucket/x"),
    "credentials refused": lambda s3: s3.url("x"),
}


@pytest.mark.s3
@pytest.mark.parametrize("fault", FAULTS)
def test_a_store_that_refuses_fails_the_upload_and_keeps_its_bytes(
    site: Site, ceph_server: S3Server, start_worker: StartWorker, fault: str
) -> None:
    """The notifier tells the error; requeue completes the upload once the cause is mended."""
    good = {
        "AWS_ACCESS_KEY_ID": ceph_server.access_key,
        "AWS_SECRET_ACCESS_KEY": ceph_server.secret_key,
    }
    bad = {**good, "AWS_SECRET_ACCESS_KEY": "wrong"} if fault.startswith("cred") else good
    site.service(FAULTS[fault](ceph_server))
    worker = start_worker({**site.env, **bad})
    manager = site.manager()
    notifier = manager.put_with_status("a/b", len(CONTENT), io.BytesIO(CONTENT))
    last = notifier.wait(60)
    assert isinstance(last.error, InitError)
    assert "store_refused" in str(last.error)
    worker.stop()
    site.service(ceph_server.url(site.folder.name))
    start_worker({**site.env, **good})
    manager.requeue(notifier.upload_id)
    assert manager.watch(notifier.upload_id).wait(60).code is UploadStatusCode.OK


def test_a_store_that_is_down_is_waited_for(
    site: Site,
    start_worker: StartWorker,
    start_beat: StartBeat,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The upload is tried again and again, and completes once the store is back."""
    first = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    first.start()
    host, port = first.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    server = S3Server(endpoint=endpoint, access_key="moto", secret_key="moto")
    # moto's servers of one process share what they hold: the second one has the bucket at once,
    # as a worker that tried before there was any would be refused for good.
    server.client().create_bucket(Bucket=server.bucket)
    first.stop()
    server.export_credentials(monkeypatch)
    site.service(server.url("x"))
    start_worker(site.env)
    start_beat(site.env)
    manager = site.manager()
    notifier = manager.put_with_status("a/b", len(CONTENT), io.BytesIO(CONTENT))
    wait_until(lambda: manager.get(notifier.upload_id).attempts > 0, 60)
    upload = manager.get(notifier.upload_id)
    assert "store_unavailable" in upload.error
    assert upload.state is State.RECEIVED
    second = ThreadedMotoServer(ip_address="127.0.0.1", port=int(port), verbose=False)
    second.start()
    try:
        assert notifier.wait(90).code is UploadStatusCode.OK
    finally:
        second.stop()


def test_the_uploader_runs_inside_a_process(site: Site) -> None:
    """``run_uploader`` needs no worker of its own; ``shutdown`` ends it."""
    manager = site.manager()
    uploader = threading.Thread(target=manager.run_uploader)
    uploader.start()
    try:
        notifier = manager.put_with_status("a/b", len(CONTENT), io.BytesIO(CONTENT))
        assert notifier.wait(60).code is UploadStatusCode.OK
    finally:
        manager.shutdown()
        uploader.join(30)
    assert not uploader.is_alive()
    assert site.stored() == CONTENT


def test_an_uploader_can_be_ended_before_it_has_begun(site: Site) -> None:
    """``shutdown`` right after ``run_uploader`` was called is not lost."""
    manager = site.manager()
    manager.shutdown()
    uploader = threading.Thread(target=manager.run_uploader)
    uploader.start()
    uploader.join(30)
    assert not uploader.is_alive()


def test_an_uploader_whose_worker_dies_tells_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``run_uploader`` raises what ended the worker, instead of waiting for ever."""

    def die(_: object) -> None:
        raise OSError("no more files")

    monkeypatch.setattr("celery.worker.worker.WorkController.start", die)
    with pytest.raises(OSError, match="no more files"):
        site.manager().run_uploader()
