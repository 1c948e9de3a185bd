"""Payload and secrets are nowhere but where they belong, whatever goes wrong.

An upload's bytes and every secret of a deployment are recognizable here. Then all that goes wrong
goes wrong, with logging at its most talkative, and everything anybody could read is searched.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.servers.redis import FreshRedis, RedisServer
from tests.servers.s3 import S3Server
from tests.servers.workers import CeleryProcess
from tests.waiting import wait_until

from chunkferry import ChunkManager, UploadStatusCode
from chunkferry.config import load
from chunkferry.parts import MIB
from chunkferry_worker.application import create_app

PART = 5 * MIB
#: What the bytes of every upload here consist of.
MARKER = b"<payload-7f3a91>"
CONTENT = MARKER * (2 * PART // len(MARKER) + 1)
S3_SECRET = "s3-secret-7f3a91"
STORE_SECRET = "store-secret-7f3a91"
STORES = ("s3", "no-bucket", "broken", "unknown", "misspelled")

#: A producer that logs all there is to log, and every error with its whole chain.
PRODUCER = """
import io, json, logging, os, signal, sys, threading
from chunkferry import ChunkManager, Settings

logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
content = sys.stdin.buffer.read()
manager = ChunkManager(settings=Settings())
client = manager._ledger.records._client

def attempt(what, call):
    try:
        return call()
    except Exception as exc:
        logging.exception("it failed: %s, %r", what, exc)
        logging.error("%s", exc.__cause__)
        logging.error("%r %r", exc.__context__, exc.__cause__)

logging.info("%r %s %r", manager.settings, manager.settings, manager)
def kill_once_begun(pid, upload_id):
    name = "{cf:%s}:parts:%s" % (upload_id.partition("-")[0], upload_id)
    while not client.xlen(name):
        pass
    os.kill(pid, signal.SIGKILL)

for plan in json.loads(sys.argv[1]):
    path, service, data = plan["filepath"], plan["service"], content * plan.get("times", 1)
    upload = attempt("create", lambda: manager.create(path, len(data), service=service))
    logging.info("%r", upload)
    for command in plan.get("meanwhile", []):
        shard = upload.upload_id.partition("-")[0]
        text = [word.replace("SHARD", shard).replace("ID", upload.upload_id) for word in command]
        client.execute_command(*text)
    if upload is not None:
        if "kill" in plan:
            threading.Thread(target=kill_once_begun, args=(plan["kill"], upload.upload_id)).start()
        attempt("append", lambda: manager.append(upload.upload_id, 0, data))
        reader = io.BytesIO(content)
        attempt("resume", lambda: manager.resume_put_with_status(path, reader, service=service))
        attempt("other bytes", lambda: manager.append(upload.upload_id, 0, content[1:] + b"x"))
        logging.info("%r", attempt("get", lambda: manager.get(upload.upload_id)))
"""


@dataclass
class Deployment:
    """Redis, a broker, stores, a worker and a beat, each with a secret of its own."""

    folder: Path
    redis: RedisServer
    broker: RedisServer
    env: dict[str, str]
    #: What stores' services have saved.
    sessions: list[str] = field(default_factory=list)
    #: Texts that anybody could read: name -> text.
    readable: dict[str, str] = field(default_factory=dict)

    def secrets(self) -> dict[str, str]:
        """What must not be readable, beside the payload."""
        return {
            "the password of Redis": self.redis.password,
            "the password of the broker": self.broker.password,
            "the secret key of S3": S3_SECRET,
            "the secret in a store's URL": STORE_SECRET,
            "the payload": MARKER.decode(),
            **{f"session {number}": text for number, text in enumerate(self.sessions)},
        }

    def produce(self, name: str, *plans: Mapping[str, object]) -> None:
        """Run ``PRODUCER`` to its end, and keep what it said."""
        ended = subprocess.run(
            [sys.executable, "-c", PRODUCER, json.dumps(plans)],
            env={**os.environ, **self.env},
            input=CONTENT,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr.decode()
        self.readable[name] = (ended.stdout + ended.stderr).decode()

    def command(self, *arguments: str) -> None:
        """Run a command of the command line, and keep what it said."""
        ended = subprocess.run(
            [sys.executable, "-m", "chunkferry_worker", *arguments],
            env={**os.environ, **self.env},
            cwd=self.folder,
            capture_output=True,
            timeout=120,
            check=False,
        )
        self.readable[" ".join(arguments)] = (ended.stdout + ended.stderr).decode()

    def celery(self, *arguments: str) -> CeleryProcess:
        """A Celery command at its most talkative."""
        log = self.folder / f"{arguments[0]}.log"
        return CeleryProcess([*arguments, "--loglevel=DEBUG"], self.env, log)

    def found(self) -> list[str]:
        """Which secret is readable where, with some text around it."""
        for log in self.folder.glob("*.log"):
            self.readable[log.name] = log.read_text(errors="replace")
        return [
            f"{what} in {name}: {text[max(0, at - 200) : at + 100]!r}"
            for name, text in self.readable.items()
            for what, secret in self.secrets().items()
            if (at := text.find(secret)) >= 0
        ]


@contextmanager
def events_of(deployment: Deployment) -> Iterator[list[dict[str, Any]]]:
    """All events of the workers, as Flower gets them."""
    app, _ = create_app(load(broker_url=deployment.broker.url))
    events: list[dict[str, Any]] = []
    stop = threading.Event()

    def receive() -> None:
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": events.append})
            while not stop.is_set():
                try:
                    for _ in receiver.consume(limit=None, timeout=1, wakeup=True):
                        if stop.is_set():
                            return
                except TimeoutError:
                    continue

    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    try:
        yield events
    finally:
        stop.set()
        thread.join(10)
        deployment.readable["events"] = json.dumps(events, default=repr)


@pytest.fixture
def deployment(fresh_redis: FreshRedis, moto_server: S3Server, tmp_path: Path) -> Deployment:
    """One of the test's own."""
    # Small, so that it gets full.
    redis, broker = fresh_redis(maxmemory=150 * MIB), fresh_redis()
    broken = {"password": STORE_SECRET}
    services = {
        "s3": moto_server.url(tmp_path.name),
        "no-bucket": moto_server.url().replace("chunkferry", "no-such-bucket"),
        "broken": "tests.servers.broken:store?" + urlencode(broken),
        "unknown": "tests.servers.broken:no_such_factory?" + urlencode(broken),
        "misspelled": f"sftp:user:{STORE_SECRET}@host",
    }
    env = {
        "CHUNKFERRY_REDIS_URL": redis.url,
        "CHUNKFERRY_BROKER_URL": broker.url,
        "CHUNKFERRY_SERVICES": json.dumps(services),
        "CHUNKFERRY_CHUNK_SIZE_LIMIT": str(PART),
        "CHUNKFERRY_APPEND_WAIT_SECONDS": "1",
        "CHUNKFERRY_SWEEP_SECONDS": "0.5",
        "CHUNKFERRY_LEASE_SECONDS": "2",
        "CHUNKFERRY_REWAKE_SECONDS": "1",
        "CHUNKFERRY_BACKOFF_SECONDS": "0.2",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": S3_SECRET,
        "PYTHONPATH": str(Path.cwd()),
    }
    return Deployment(tmp_path, redis, broker, env)


def plan(service: str, **more: object) -> dict[str, object]:
    """An upload for ``PRODUCER``."""
    return {"filepath": f"to/{service}", "service": service, **more}


def test_nothing_readable_holds_payload_or_secrets(deployment: Deployment) -> None:
    """Logs at DEBUG, tracebacks, events, remote inspection and the command line: all searched."""
    worker, beat = deployment.celery("worker", "--concurrency=2"), deployment.celery("beat")
    try:
        worker.start(" ready.")
        beat.start("beat: Starting...")
        with events_of(deployment) as events:
            meet_every_fault(deployment)
            inspect(deployment)
            wait_until(lambda: any(event["type"] == "task-succeeded" for event in events))
        show = ["show to/broken --service broken", "show odd --service broken"]
        for command in ("ls", "doctor", *show):
            deployment.command(*command.split(), "--json")
            deployment.command(*command.split())
    finally:
        beat.kill()
        worker.kill()
    said = deployment.readable
    assert "to/broken" in said["ls --json"]
    assert "it failed: append" in said["killed"]
    assert all("it failed: " in said[name] for name in ("odd", "full"))
    assert "Traceback" not in said["doctor"]
    assert "A drain failed" in (deployment.folder / "worker.log").read_text()
    assert deployment.found() == []


def meet_every_fault(deployment: Deployment) -> None:
    """Stores that refuse, cannot be made, or fail; Redis that refuses, is full, or gone."""
    manager = ChunkManager(
        settings=load(
            redis_url=deployment.redis.url,
            broker_url=deployment.broker.url,
            services=json.loads(deployment.env["CHUNKFERRY_SERVICES"]),
            chunk_size_limit=PART,
        )
    )
    deployment.produce("stores", *map(plan, STORES))
    wrong_type = [["DEL", "{cf:SHARD}:parts:ID"], ["SET", "{cf:SHARD}:parts:ID", "x"]]
    deployment.produce("odd", plan("broken", filepath="odd", meanwhile=wrong_type))
    full = [["CONFIG", "SET", "maxmemory", "1mb"]]
    deployment.produce("full", plan("s3", filepath="full", meanwhile=full))
    deployment.redis.client().config_set("maxmemory", "150mb")
    errors = {f"to/{service}" for service in STORES} - {"to/s3"}
    wait_until(lambda: with_errors(manager) >= errors, 60, what="every fault has been met")
    stored = manager.find_upload("to/s3", service="s3")
    assert stored is not None
    assert manager.watch(stored.upload_id).wait(60).code is UploadStatusCode.OK
    deployment.produce("killed", plan("s3", filepath="killed", times=6, kill=deployment.redis.pid))
    deployment.redis.kill()
    deployment.redis.start()
    begun = manager.create("begun", 2 * PART, service="s3").upload_id
    manager.append(begun, 0, CONTENT[:PART])
    wait_until(lambda: manager.get(begun).stored == PART, 60, what="a part in a session")
    broken = manager.find_upload("to/broken", service="broken")
    assert broken is not None
    deployment.sessions += [manager.get(begun).session, broken.session]
    assert all(deployment.sessions)


def with_errors(manager: ChunkManager) -> set[str]:
    """Paths of the uploads that have met an error."""
    return {upload.filepath for upload in manager.list_uploads() if upload.error}


def inspect(deployment: Deployment) -> None:
    """Ask the worker for all it tells: what Flower and ``celery inspect`` show."""
    app, _ = create_app(load(broker_url=deployment.broker.url))
    questions = app.control.inspect(timeout=5)
    for name in ("conf", "report", "stats", "active", "reserved", "registered", "query_task"):
        question: Callable[..., object] = getattr(questions, name)
        answer = question(["x"]) if name == "query_task" else question()
        assert answer, name
        deployment.readable[f"inspect {name}"] = json.dumps(answer, default=repr)
    deployment.readable["the application"] = repr(app) + app.bugreport()
