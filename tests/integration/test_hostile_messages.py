"""Whoever can write to the broker or to Redis: what a worker does with what they send."""

from __future__ import annotations

import io
import json
import os
import pickle
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from celery import Celery
from kombu import Exchange, Producer
from tests.servers.redis import FreshRedis, RedisServer
from tests.servers.workers import CeleryProcess, StartBeat, StartWorker
from tests.waiting import wait_until

from chunkferry import ChunkManager, UploadStatusCode, keys
from chunkferry.config import load
from chunkferry.wakeup import DRAIN
from chunkferry_worker.application import create_app
from chunkferry_worker.settings import MAINTENANCE, SWEEP


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self._folder),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """A way to have a reader of messages run code."""

    content_type: str
    encoding: str
    #: What to send, so that reading it makes the folder.
    body: Callable[[Path], bytes]
    #: What a reader does that is not on its guard.
    read: Callable[[bytes], object]


def yaml_body(folder: Path) -> bytes:
    """A document that makes the folder."""
    return f"!!python/object/apply:os.mkdir ['{folder}']".encode()


HOSTILE = {
    "pickle": Hostile(
        content_type="application/x-python-serialize",
        encoding="binary",
        body=lambda folder: pickle.dumps(Payload(folder)),
        read=pickle.loads,
    ),
    "yaml": Hostile(
        content_type="application/x-yaml",
        encoding="utf-8",
        body=yaml_body,
        read=yaml.unsafe_load,
    ),
}


@dataclass
class Target:
    """A deployment with one worker, and a way to its broker."""

    server: RedisServer
    worker: CeleryProcess
    manager: ChunkManager
    app: Celery
    folder: Path

    def publish(self, body: bytes, content_type: str, encoding: str, queue: str) -> None:
        """Put a message of any kind into a queue, headed as a task."""
        task_id = str(uuid.uuid4())
        self._publish(
            body,
            content_type=content_type,
            content_encoding=encoding,
            routing_key=queue,
            headers={"lang": "py", "task": queue, "id": task_id, "root_id": task_id},
            correlation_id=task_id,
        )

    def control(self, body: bytes, content_type: str, encoding: str) -> None:
        """Send a message of any kind as a remote control command."""
        self._publish(
            body,
            content_type=content_type,
            content_encoding=encoding,
            exchange=Exchange("celery.pidbox", type="fanout"),
        )

    def _publish(self, body: bytes, **options: Any) -> None:
        with self.app.connection_for_write() as connection:
            Producer(connection.default_channel).publish(body, **options)

    def said(self, text: str) -> int:
        """How often it stands in the worker's log."""
        return self.worker.log.read_text().count(text)

    def still_works(self, pid: int) -> None:
        """The same worker stores an upload."""
        notifier = self.manager.put_with_status("a/b", 5, io.BytesIO(b"bytes"))
        assert notifier.wait(60).code is UploadStatusCode.OK
        assert (self.folder / "objects" / "a" / "b").read_bytes() == b"bytes"
        assert self.worker.pid == pid


@pytest.fixture
def target(
    fresh_redis: FreshRedis, start_worker: StartWorker, start_beat: StartBeat, tmp_path: Path
) -> Target:
    """A deployment of the test's own."""
    server = fresh_redis()
    services = {"default": f"file://{tmp_path}/objects"}
    env = {
        "CHUNKFERRY_REDIS_URL": server.url,
        "CHUNKFERRY_SERVICES": json.dumps(services),
        "CHUNKFERRY_SWEEP_SECONDS": "0.5",
        "CHUNKFERRY_LEASE_SECONDS": "2",
        "CHUNKFERRY_REWAKE_SECONDS": "1",
        "CHUNKFERRY_BACKOFF_SECONDS": "0.1",
    }
    settings = load(redis_url=server.url, services=services)
    worker = start_worker(env)
    start_beat(env)
    manager = ChunkManager(settings=settings)
    return Target(server, worker, manager, create_app(settings)[0], tmp_path)


@pytest.mark.parametrize("kind", HOSTILE)
def test_messages_that_could_run_code_are_refused(target: Target, kind: str) -> None:
    """Neither as a task nor as a remote command is anything but JSON read; the worker lives on."""
    hostile, pid = HOSTILE[kind], target.worker.pid
    control, victim = target.folder / "control", target.folder / "victim"
    hostile.read(hostile.body(control))
    assert control.is_dir(), "the message does no harm to anybody: nothing is proved"
    for queue in (DRAIN, MAINTENANCE):
        target.publish(hostile.body(victim), hostile.content_type, hostile.encoding, queue)
    target.control(hostile.body(victim), hostile.content_type, hostile.encoding)
    wait_until(lambda: target.said("Refusing to deserialize") >= 2, 30, what="both refused")
    target.still_works(pid)
    assert not victim.exists()
    client = target.server.client()
    assert [client.llen(queue) for queue in (DRAIN, MAINTENANCE)] == [0, 0]


ARGUMENTS: list[list[Any]] = [
    [],
    [""],
    ["x"],
    ["../../etc/passwd"],
    ["0-" + "0" * 32],
    ["0-" + "0" * 32 + "\n"],
    ["{cf:1}:due"],
    ["0}:due{-" + "0" * 32],
    ["\0"],
    ["\ud800"],
    ["*" * 1_000_000],
    [7],
    [-1.5e300],
    [None],
    [True],
    [["0-" + "0" * 32]],
    [{"upload_id": "x"}],
    ["x", "y"],
]


def test_no_argument_of_a_task_does_harm(target: Target) -> None:
    """Wrong, huge, of another type, too many: each call ends, and nothing is written by it."""
    pid = target.worker.pid
    client = target.server.client()
    before = uploads_keys(target)
    for arguments in ARGUMENTS:
        target.app.send_task(DRAIN, args=arguments)
        target.app.send_task(SWEEP, args=arguments)
    target.app.send_task(DRAIN, kwargs={"upload_id": "x", "self": "y"})
    sent = len(ARGUMENTS) + 1  # each is told twice: received, and how it ended

    def ended() -> bool:
        log = target.worker.log.read_text()
        return sum(f"Task {DRAIN}[" in line for line in log.splitlines()) >= 2 * sent

    wait_until(ended, 60, what="received and ended")
    target.still_works(pid)
    assert uploads_keys(target) - before <= keys_of_the_upload(target)
    assert client.llen(DRAIN) == 0
    assert target.said("WorkerLostError") == 0


def uploads_keys(target: Target) -> set[bytes]:
    """All keys that belong to chunkferry."""
    return set(target.server.client().scan_iter(match="*cf:*"))


def keys_of_the_upload(target: Target) -> set[bytes]:
    """Those that the upload of ``still_works`` accounts for."""
    upload = target.manager.find_upload("a/b")
    assert upload is not None
    shard = keys.shard_of(upload.upload_id)
    return {key for key in uploads_keys(target) if key.startswith(b"{cf:%d}" % shard)} | {
        keys.LAYOUT.encode(),
        keys.SWEPT.encode(),
        keys.TALLY.encode(),
    }


def test_a_record_that_was_tampered_with_leads_nowhere_else(target: Target) -> None:
    """A path in Redis that would leave the store's folder is refused by the store itself."""
    pid = target.worker.pid
    upload_id = target.manager.create("tampered", 5).upload_id
    target.server.client().hset(keys.intake(upload_id), "filepath", "../outside")
    target.manager.append(upload_id, 0, b"bytes")
    last = target.manager.watch(upload_id).wait(60)
    assert last.code is UploadStatusCode.ERROR
    assert str(last.error) == "filepath '../outside' holds the component '..'"
    assert not (target.folder / "outside").exists()
    target.still_works(pid)
