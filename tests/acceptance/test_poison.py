"""An upload that kills whoever stores it: it is put aside, and the others go on."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.acceptance.console import Console
from tests.servers.witness import read_journal
from tests.servers.workers import StartBeat, StartWorker
from tests.sites import CONTENT, Site, real_site
from tests.waiting import wait_until

from chunkferry import ChunkManager, State, UploadStatusCode

site = real_site

DEATHS = 3
OTHERS = [f"others/{number}" for number in range(4)]


def send(manager: ChunkManager, filepath: str) -> str:
    """Append the content; return the upload's id."""
    upload_id = manager.create(filepath, len(CONTENT)).upload_id
    manager.append(upload_id, 0, CONTENT)
    return upload_id


def poisoned(site: Site, **options: str) -> Path:
    """Let storing ``deadly`` be deadly; return the file that makes it so."""
    site.env["CHUNKFERRY_MAX_DEATHS"] = str(DEATHS)
    poison = site.folder / "poison"
    poison.write_text("deadly")
    site.witness(poison=str(poison), **options)
    return poison


def times_begun(site: Site, upload_id: str) -> int:
    """How often a part of the upload was about to be stored."""
    return sum(e.upload_id == upload_id and not e.done for e in read_journal(site.journal))


def prove_quarantined(site: Site, console: Console, upload_id: str) -> None:
    """An operator sees the upload, its state and why, wherever they look."""
    upload = site.manager().get(upload_id)
    assert (upload.state, upload.error_code, upload.stored) == (State.FAILED, "quarantined", 0)
    assert times_begun(site, upload_id) == DEATHS
    (listed,) = console.run("ls", "--state", "failed", "--json").lines
    shown = console.json("show", "deadly")
    assert listed == shown
    assert (shown["state"], shown["error_code"]) == ("failed", "quarantined")
    assert "1 quarantined" in console.doctor()["failed"]["message"]
    assert console.json("metrics")["failed"] == {"quarantined": 1}


def requeue(site: Site, console: Console, poison: Path, upload_id: str) -> None:
    """Mend the cause; what was received is stored, byte by byte."""
    poison.unlink()
    console.run("requeue", "deadly")
    assert site.manager().watch(upload_id).wait(60).code is UploadStatusCode.OK
    assert site.stored("deadly") == CONTENT


def test_an_upload_that_kills_pool_processes_is_quarantined(
    site: Site, start_worker: StartWorker, start_beat: StartBeat
) -> None:
    """After as many deaths as are allowed; others complete meanwhile; requeue completes it."""
    poison = poisoned(site)
    worker = start_worker(site.env)
    start_beat(site.env)
    manager = site.manager()
    deadly = send(manager, "deadly")
    for filepath in OTHERS:
        assert manager.watch(send(manager, filepath)).wait(60).code is UploadStatusCode.OK
    wait_until(lambda: manager.get(deadly).state is State.FAILED, 90, what="it is put aside")
    assert not worker.has_ended()
    console = Console(site.folder, site.env)
    prove_quarantined(site, console, deadly)
    requeue(site, console, poison, deadly)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_an_upload_that_kills_whole_workers_is_quarantined(
    site: Site, start_worker: StartWorker, start_beat: StartBeat, pool: str
) -> None:
    """A supervisor starts the worker again and again: as often as deaths are allowed."""
    poison = poisoned(site, kills="worker" if pool == "prefork" else "process")
    worker = start_worker(site.env, concurrency=1, pool=pool)
    start_beat(site.env)
    manager = site.manager()
    deadly = send(manager, "deadly")
    others = [send(manager, filepath) for filepath in OTHERS]
    restarts = 0
    for _ in range(DEATHS):
        wait_until(worker.has_ended, 60, what="the worker is killed")
        worker.start(" ready.")
        restarts += 1
    wait_until(lambda: manager.get(deadly).state is State.FAILED, 90, what="it is put aside")
    for upload_id in others:
        assert manager.watch(upload_id).wait(60).code is UploadStatusCode.OK
    assert (restarts, worker.has_ended()) == (DEATHS, False)
    console = Console(site.folder, site.env)
    prove_quarantined(site, console, deadly)
    requeue(site, console, poison, deadly)
