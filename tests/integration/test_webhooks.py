"""Changes are told by real workers: in order, at least once, whatever fails, and nothing leaks."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from tests.servers.receiver import SECRET, TOKEN, Answer, Receiver, Request
from tests.servers.workers import APP, CeleryProcess, StartBeat, StartWorker
from tests.sites import CONTENT, Site, real_site
from tests.waiting import wait_until

from chunkferry import ChunkManager, State, keys, webhooks
from chunkferry.ledger import RedisLedger
from chunkferry.moves import Letter
from chunkferry_worker.failpoints import VARIABLE, Action, Failpoints, Fault

site = real_site

CREATED, RECEIVED, COMPLETE = "upload.created", "upload.received", "upload.complete"
#: What a test's own code raises: must not be readable anywhere.
PAYLOAD = "payload-7f3a91"

#: An application's code. It fails, or dies, as often as a file beside it says.
APPLICATION = f"""
import os, pathlib, signal

HERE = pathlib.Path(__file__).parent

def finished(upload):
    with (HERE / "called").open("a") as called:
        called.write(f"{{upload.filepath}} {{upload.state}} {{upload.stored}}\\n")
    trouble = HERE / "trouble"
    if trouble.exists():
        what = trouble.read_text()
        trouble.unlink()
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("{PAYLOAD[:4]}" + "{PAYLOAD[4:]}")
"""


@dataclass
class Told:
    """A site whose uploads are told of."""

    site: Site
    receiver: Receiver

    def upload(self, path: str, data: bytes = CONTENT) -> str:
        """Send a file; return the upload's id."""
        upload_id = self.manager.create(path, len(data)).upload_id
        self.manager.append(upload_id, 0, data)
        return upload_id

    @cached_property
    def manager(self) -> ChunkManager:
        """One producer for all of the test; closed with it."""
        return self.site.manager()

    def ledger(self) -> RedisLedger:
        """All there is to know."""
        ledger = self.manager._ledger
        assert isinstance(ledger, RedisLedger)
        return ledger

    def await_kinds(self, path: str, *expected: str) -> None:
        """Wait until these came, in this order and no others."""
        wait_until(
            lambda: len(self.receiver.kinds(path)) >= len(expected),
            60,
            what=f"{expected}, but {self.receiver.kinds(path)}",
        )
        assert self.receiver.kinds(path) == list(expected)

    def nothing_left(self) -> bool:
        """Whether nobody is to be told of anything."""
        client = self.ledger().records._client
        return not any(client.exists(keys.telling(shard)) for shard in range(64))

    def command(self, *arguments: str) -> list[Any]:
        """What ``chunkferry webhooks`` says."""
        ended = subprocess.run(
            [sys.executable, "-m", "chunkferry_worker", "webhooks", *arguments, "--json"],
            env={"PATH": "", **self.site.env},
            capture_output=True,
            timeout=60,
            check=True,
        )
        return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.fixture
def told(site: Site, receiver: Receiver) -> Iterator[Told]:
    """One of the test's own, without workers."""
    site.service(f"file://{site.folder}/objects")
    site.env |= {
        "CHUNKFERRY_WEBHOOK_URLS": json.dumps([receiver.url]),
        "CHUNKFERRY_WEBHOOK_SECRETS": json.dumps([SECRET]),
        "CHUNKFERRY_WEBHOOK_ALLOW_PRIVATE": "true",
    }
    made = Told(site, receiver)
    yield made
    made.ledger().records._waiting.close()
    made.ledger().records._client.close()


@pytest.fixture
def worker(told: Told, start_worker: StartWorker, start_beat: StartBeat) -> CeleryProcess:
    """A worker and a beat."""
    start_beat(told.site.env)
    return start_worker(told.site.env)


def fails(times: int, wanted: Callable[[Request], bool], status: int = 500) -> Any:
    """An answer that fails so often for what is wanted."""
    left = [times]

    def answer(request: Request) -> Answer:
        if wanted(request) and left[0]:
            left[0] -= 1
            return Answer(status)
        return Answer()

    return answer


# --- in order, at least once ------------------------------------------------------------------


@pytest.mark.usefixtures("worker")
def test_a_receiver_is_told_of_each_change(told: Told) -> None:
    """Once, in order, verifiably; then nobody looks any more, and the record has its usual time."""
    upload_id = told.upload("a")
    told.await_kinds("a", CREATED, RECEIVED, COMPLETE)
    for request in told.receiver.requests:
        assert webhooks.verify(request.headers, request.body, SECRET) == request.event
        assert request.headers["webhook-id"] == request.event_id
    last = told.receiver.requests[-1].event["upload"]
    assert (last["state"], last["stored"]) == ("complete", len(CONTENT))
    wait_until(told.nothing_left, what="nobody is to be told any more")
    ttl = told.ledger().records._client.pttl(keys.intake(upload_id))
    assert 0 < ttl <= 3600 * 1000


@pytest.mark.usefixtures("worker")
def test_uploads_of_the_command_line_are_told_of(told: Told, tmp_path: Path) -> None:
    """Below any front door, every upload is."""
    file = tmp_path / "file"
    file.write_bytes(b"some bytes")
    subprocess.run(
        [sys.executable, "-m", "chunkferry_worker", "put", file, "--as", "from/cli"],
        env={"PATH": "", **told.site.env},
        check=True,
        timeout=60,
        capture_output=True,
    )
    told.await_kinds("from/cli", CREATED, RECEIVED, COMPLETE)


@pytest.mark.usefixtures("worker")
def test_a_failure_holds_back_what_follows_and_no_other_upload(told: Told) -> None:
    """The order of one upload is kept; others are told of meanwhile."""
    told.receiver.answer = fails(3, lambda request: request.path == "a")
    first = told.upload("a")
    told.upload("b")
    told.await_kinds("b", CREATED, RECEIVED, COMPLETE)
    told.await_kinds("a", *[CREATED] * 4, RECEIVED, COMPLETE)
    ids = [request.event_id for request in told.receiver.of("a")]
    assert ids[:4] == [f"{first}.1.receiving"] * 4
    assert len(set(ids)) == 3


@pytest.mark.usefixtures("worker")
def test_a_cancelled_upload_is_told_of(told: Told) -> None:
    """Once it is gone."""
    manager = told.manager
    upload_id = manager.create("a", 100).upload_id
    told.await_kinds("a", CREATED)
    manager.cancel(upload_id)
    told.await_kinds("a", CREATED, "upload.cancelled")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_teller_is_followed_by_one_that_tells_again(
    told: Told, start_worker: StartWorker, start_beat: StartBeat, tmp_path: Path, when: str
) -> None:
    """Killed between the request and its note, it leaves a request with the same id."""
    armory = Failpoints(tmp_path / "faults")
    (tmp_path / "faults").mkdir()
    upload_id = told.upload("a", b"few bytes")
    armory.arm(upload_id, Fault(point=f"note.{when}", action=Action.KILL))
    start_worker({**told.site.env, VARIABLE: str(tmp_path / "faults")})
    start_beat(told.site.env)
    wait_until(lambda: not armory.is_armed(upload_id), 60, what="it was killed")
    # Another may have the turn when its time is over: a test does not wait for that.
    client = told.ledger().records._client
    client.hset(keys.work(upload_id), "teller_until", 0)
    client.zadd(keys.telling(keys.shard_of(upload_id)), {upload_id: 0})
    again = [CREATED] if when == "before" else []
    told.await_kinds("a", CREATED, *again, RECEIVED, COMPLETE)
    assert len({request.event_id for request in told.receiver.of("a")}) == 3


def test_what_happened_while_no_worker_listened_is_told(
    told: Told, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """The upload is stored by workers that know nobody to tell; others do it later."""
    silent = {name: v for name, v in told.site.env.items() if "WEBHOOK" not in name}
    first, beat = start_worker(silent), start_beat(silent)
    upload_id = told.upload("a")
    manager = told.manager
    wait_until(lambda: manager.get(upload_id).state is State.COMPLETE, 60)
    first.stop()
    beat.stop()
    assert told.receiver.requests == []
    ttl = told.ledger().records._client.pttl(keys.intake(upload_id))
    assert ttl > 3 * 86400 * 1000
    start_worker(told.site.env)
    start_beat(told.site.env)
    # Whoever knows nobody looks again after a minute: a test does not wait for that.
    client = told.ledger().records._client
    client.zadd(keys.telling(keys.shard_of(upload_id)), {upload_id: 0})
    told.await_kinds("a", CREATED, RECEIVED, COMPLETE)


# --- dead letters -----------------------------------------------------------------------------


def test_what_cannot_be_told_becomes_a_dead_letter(
    told: Told, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """What follows is told; the letter is listed, and told when somebody wants it."""
    told.site.env["CHUNKFERRY_WEBHOOK_GIVE_UP"] = "1"
    told.receiver.answer = lambda r: Answer(500 if r.kind == RECEIVED else 204)
    start_worker(told.site.env)
    start_beat(told.site.env)
    upload_id = told.upload("a")
    wait_until(lambda: COMPLETE in told.receiver.kinds("a"), 60, what="the rest is told")
    (listed,) = told.command()
    assert listed["event_id"] == f"{upload_id}.2.received"
    assert (listed["type"], listed["filepath"]) == (RECEIVED, "a")
    assert listed["error"] == f"http://127.0.0.1:{told.receiver.port} answered 500"
    assert listed["attempts"] == told.receiver.kinds("a").count(RECEIVED) >= 3
    assert TOKEN not in json.dumps(listed)
    told.receiver.answer = lambda _: Answer()
    told.receiver.requests.clear()
    (retried,) = told.command("--retry", listed["letter_id"])
    assert retried["event_id"] == listed["event_id"]
    told.await_kinds("a", RECEIVED)
    assert told.receiver.requests[0].event_id == listed["event_id"]
    assert told.command() == []


@pytest.mark.usefixtures("worker")
def test_a_receiver_that_is_gone_is_not_tried_again(told: Told) -> None:
    """It says so by 410; and a letter may die twice."""
    told.receiver.answer = lambda _: Answer(410)
    told.upload("a")
    told.await_kinds("a", CREATED, RECEIVED, COMPLETE)
    wait_until(lambda: len(told.command()) == 3, what="three dead letters")
    told.command("--retry", "all")
    wait_until(lambda: [found["attempts"] for found in told.command()] == [2, 2, 2], 30)


# --- on_complete ------------------------------------------------------------------------------


@pytest.fixture
def application(told: Told, tmp_path: Path) -> Path:
    """A folder with an application's code, which workers are to call."""
    folder = tmp_path / "application"
    folder.mkdir()
    (folder / "shop.py").write_text(APPLICATION)
    told.site.env |= {
        "CHUNKFERRY_WEBHOOK_URLS": "[]",
        "CHUNKFERRY_ON_COMPLETE": "shop:finished",
        "CHUNKFERRY_ON_COMPLETE_SECONDS": "1",
        "PYTHONPATH": f"{told.site.env['PYTHONPATH']}:{folder}",
    }
    return folder


def calls(folder: Path) -> list[str]:
    """How it was called."""
    called = folder / "called"
    return called.read_text().splitlines() if called.exists() else []


@pytest.mark.parametrize("trouble", ["raise", "die"])
def test_on_complete_is_called_again_until_it_returns(
    told: Told,
    application: Path,
    start_worker: StartWorker,
    start_beat: StartBeat,
    trouble: str,
) -> None:
    """Whether it raised or killed its process; what it said then is not shown."""
    (application / "trouble").write_text(trouble)
    worker = start_worker(told.site.env)
    start_beat(told.site.env)
    told.upload("a")
    wait_until(lambda: len(calls(application)) == 2, 60, what="it was called again")
    assert calls(application) == [f"a complete {len(CONTENT)}"] * 2
    wait_until(told.nothing_left, what="nobody is to be told any more")
    text = worker.log.read_text()
    assert PAYLOAD not in text
    assert ("ValueError" in text) == (trouble == "raise")


def test_a_worker_without_its_on_complete_does_not_start(told: Told, application: Path) -> None:
    """It says what it was looking for."""
    del application
    told.site.env["CHUNKFERRY_ON_COMPLETE"] = "shop:misspelled"
    worker = CeleryProcess(["worker", "--loglevel=INFO"], told.site.env, told.site.folder / "log")
    worker.start("chunkferry: CHUNKFERRY_ON_COMPLETE: shop:misspelled cannot be imported")
    wait_until(worker.has_ended, 30, what="it has ended")


# --- nothing else suffers ---------------------------------------------------------------------


@pytest.mark.usefixtures("worker")
def test_a_slow_receiver_holds_no_upload_up(told: Told) -> None:
    """While it thinks about every request, uploads are stored."""
    go_on = threading.Event()

    def think(_: Request) -> Answer:
        go_on.wait(60)
        return Answer()

    told.receiver.answer = think
    try:
        told.upload("first")
        wait_until(lambda: told.receiver.requests, 30, what="it has something to think about")
        ids = [told.upload(f"next/{number}") for number in range(5)]
        manager = told.manager
        wait_until(lambda: are_complete(manager, ids), 30, what="all are stored")
        # One at a time in each worker, because that is what the settings say.
        assert len(told.receiver.requests) == 1
    finally:
        go_on.set()


def are_complete(manager: ChunkManager, upload_ids: list[str]) -> bool:
    """Whether they all are."""
    return all(manager.get(upload_id).state is State.COMPLETE for upload_id in upload_ids)


def test_secrets_are_nowhere(told: Told, start_worker: StartWorker, start_beat: StartBeat) -> None:
    """Neither the key nor the URL; not in logs at DEBUG, letters, or Celery's messages."""
    told.receiver.answer = lambda _: Answer(410)
    log = told.site.folder / "debug.log"
    worker = CeleryProcess(["worker", "--loglevel=DEBUG"], told.site.env, log, app=APP)
    worker.start(" ready.")
    try:
        beat = start_beat(told.site.env)
        told.upload("a")
        wait_until(lambda: len(told.command()) == 3, 60, what="all came to nothing")
    finally:
        worker.kill()
    client = told.ledger().records._client
    letters = repr(client.xrange(keys.LETTERS))
    for secret in (TOKEN, SECRET, SECRET.removeprefix("whsec_")):
        for text in (log.read_text(), beat.log.read_text(), letters):
            assert secret not in text
    assert "answered 410" in log.read_text()
    start_worker(told.site.env)


# --- operators --------------------------------------------------------------------------------


def test_doctor_looks_at_receivers(told: Told) -> None:
    """Whether anybody may be posted to, can be called, listens, or was missed."""
    upload = told.manager.create("a", 1)
    told.ledger().letters.add(
        Letter(
            event_id="e",
            kind=CREATED,
            sink="https://example.org",
            sink_name="s",
            index=1,
            error="answered 500",
            attempts=3,
            time=upload.created_at,
            upload=upload,
        )
    )
    told.site.env |= {
        "CHUNKFERRY_WEBHOOK_URLS": f'["https://127.0.0.1/{TOKEN}"]',
        "CHUNKFERRY_WEBHOOK_ALLOW_PRIVATE": "false",
        "CHUNKFERRY_ON_COMPLETE": "no_such_module:function",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "chunkferry_worker", "doctor", "--json"],
        env={"PATH": "", **told.site.env},
        capture_output=True,
        timeout=60,
        check=False,
    )
    found = {line["check"]: line for line in map(json.loads, ended.stdout.splitlines())}
    assert "not public" in found["webhook https://127.0.0.1"]["message"]
    assert "cannot be imported" in found["on_complete"]["message"]
    assert "answered 500" in found["dead letters"]["message"]
    assert "chunkferry.tell" in found["tellers"]["message"]
    assert TOKEN not in ended.stdout.decode()
