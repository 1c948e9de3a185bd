"""Many uploads, many producers, workers killed in the middle of it: the product's promise."""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import random
import signal
from pathlib import Path
from urllib.parse import urlencode

import pytest
from tests.chaos.checker import digest, holders_overlap, upload_keys
from tests.chaos.processes import children, send
from tests.chaos.work import Planned
from tests.servers.redis import FreshRedis
from tests.servers.stores import RealStore
from tests.servers.witness import read_journal
from tests.servers.workers import CeleryProcess, StartBeat, StartWorker
from tests.waiting import wait_until

from chunkferry import ChunkManager, State
from chunkferry.config import load
from chunkferry.parts import KIB, MIB

PART = 8 * MIB
LARGE = 300 * MIB
#: Of each kind: size in bytes, whether its length is told only at the end, how many.
KINDS = [
    (0, False, 5),
    (1, False, 6),
    (100 * KIB, False, 8),
    (100 * KIB, True, 3),
    (PART, False, 6),
    (PART, True, 2),
    (PART + 1, False, 6),
    (LARGE, False, 3),
    (LARGE, True, 1),
]
PRODUCERS = 4
WORKERS = 3
KILLS = 6
SEED = 20261122

SETTINGS = {
    "CHUNKFERRY_LEASE_SECONDS": "3",
    "CHUNKFERRY_REWAKE_SECONDS": "2",
    "CHUNKFERRY_SWEEP_SECONDS": "0.5",
    "CHUNKFERRY_RESULT_TTL": "20",
    "CHUNKFERRY_SLICE_SECONDS": "2",
    "CHUNKFERRY_APPEND_WAIT_SECONDS": "120",
}


def planned() -> list[Planned]:
    """All uploads, small and large ones mixed."""
    uploads = [
        Planned(
            filepath=f"{size}/{late}/{number}.bin",
            size=size,
            late=late,
            seed=size + number + late,
        )
        for size, late, count in KINDS
        for number in range(count)
    ]
    random.Random(SEED).shuffle(uploads)
    return uploads


def produce(redis_url: str, uploads: list[Planned], seed: int) -> None:
    """One producer process: appends of random sizes, one upload after the other."""
    settings = load(redis_url=redis_url, append_wait_seconds=120.0)
    manager, dice = ChunkManager(settings=settings), random.Random(seed)
    for upload in uploads:
        content = upload.content()
        upload_id = manager.create(upload.filepath, None if upload.late else upload.size).upload_id
        offset = 0
        while offset < upload.size:
            piece = content[offset : offset + dice.choice([1, 4 * KIB, 1 * MIB, 5 * MIB, 20 * MIB])]
            offset = manager.append(upload_id, offset, piece)
        if upload.late:
            manager.set_length(upload_id, upload.size)


@pytest.mark.timeout(600)
def test_every_object_is_whole_though_workers_are_killed(
    real_store: RealStore,
    fresh_redis: FreshRedis,
    start_worker: StartWorker,
    start_beat: StartBeat,
    tmp_path: Path,
) -> None:
    """40 uploads by 4 producers arrive whole through 3 workers, of which 6 are killed."""
    server, journal = fresh_redis(), tmp_path / "journal"
    url = real_store.url
    witness = "tests.servers.witness:store?" + urlencode(
        # Long enough to be met in the middle of a part.
        {"url": url, "journal": str(journal), "seconds": "0.1"}
    )
    env = {
        **SETTINGS,
        **real_store.env,
        "CHUNKFERRY_REDIS_URL": server.url,
        "CHUNKFERRY_SERVICES": json.dumps({"default": witness}),
        "PYTHONPATH": str(Path.cwd()),
    }
    workers = [start_worker(env) for _ in range(WORKERS)]
    start_beat(env)
    uploads = planned()
    assert len(uploads) == 40

    context = multiprocessing.get_context("spawn")
    producers = [
        context.Process(target=produce, args=(server.url, uploads[i::PRODUCERS], SEED + i))
        for i in range(PRODUCERS)
    ]
    for producer in producers:
        producer.start()
    manager = ChunkManager(settings=load(redis_url=server.url, result_ttl=20))
    kill_in_the_middle(workers, journal)
    for producer in producers:
        producer.join(300)
        assert producer.exitcode == 0

    client = server.client()
    wait_until(lambda: not unfinished(manager), 120, what="every upload complete")
    for upload in uploads:
        expected = hashlib.sha256(upload.content()).hexdigest()
        assert expected == digest(real_store.open(), upload.filepath), upload.filepath
    assert holders_overlap(read_journal(journal)) == []
    takeovers = sum(worker.log.read_text().count("'taken_over': True") for worker in workers)
    assert takeovers > 0, "no worker was killed while it held an upload: nothing was proved"
    assert real_store.leftovers() == []
    wait_until(lambda: upload_keys(client) == [], 60, what="no key of an upload left")


def kill_in_the_middle(workers: list[CeleryProcess], journal: Path) -> None:
    """Kill and restart workers one after the other, each while it stores a part."""
    for count in range(KILLS):
        known = count * 8

        def at_work(known: int = known) -> bool:
            return journal.exists() and len(journal.read_bytes().splitlines()) > known

        wait_until(at_work, 120, what=f"more than {known} lines in the journal")
        victim = caught(workers, journal)
        victim.kill()
        victim.start(" ready.")


def caught(workers: list[CeleryProcess], journal: Path) -> CeleryProcess:
    """A worker that holds an upload, and goes on holding it: one of its processes is stopped."""
    found: list[CeleryProcess] = []

    def is_found() -> bool:
        found.extend(catch(workers, journal))
        return bool(found)

    wait_until(is_found, 120, what="a worker in the middle of a part")
    return found[0]


def catch(workers: list[CeleryProcess], journal: Path) -> list[CeleryProcess]:
    """The worker of a process that was stopped in the middle of a part; none if none is at one."""
    for pid in storing(journal):
        owner = [worker for worker in workers if pid in children(worker.pid)]
        if owner and send(pid, signal.SIGSTOP):
            wait_until(functools.partial(is_still, pid), what=f"process {pid} has stopped")
            # It may have come to the part's end meanwhile, and to its upload's.
            if pid in storing(journal):
                return owner
            send(pid, signal.SIGCONT)
    return []


def storing(journal: Path) -> list[int]:
    """Processes that have begun a part as the last thing they did; some may be dead."""
    last = {entry.pid: entry for entry in read_journal(journal)}
    return [pid for pid, entry in last.items() if not entry.done]


def is_still(pid: int) -> bool:
    """Whether a process is stopped, or gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] in "TZX"


def unfinished(manager: ChunkManager) -> list[str]:
    """Uploads that have not ended, failed ones excluded: they fail the test at once."""
    uploads = list(manager.list_uploads())
    assert [u for u in uploads if u.state is State.FAILED] == []
    return [u.upload_id for u in uploads if not u.has_ended]
