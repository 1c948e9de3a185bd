"""Reconcile over in-memory twins: who is an orphan, who is not, and what uploads are at odds."""

from __future__ import annotations

import io
import itertools
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.storing import cut, new_upload, send

from chunkferry import ChunkManager, State
from chunkferry.config import Settings, load
from chunkferry.errors import (
    InvalidArgument,
    RedisUnavailable,
    StoreRefused,
    StoreUnavailable,
)
from chunkferry.filepath import new_partial
from chunkferry.parts import MIB
from chunkferry.services import ChunkStore, Unfinished
from chunkferry.storage import Stores
from chunkferry.storage.local import LocalStore
from chunkferry.storage.memory import MemoryFileService
from chunkferry.testing import ManualClock, MemoryLedger, MemoryStore, RecordingWaker
from chunkferry.upload import ChunkUpload
from chunkferry_worker.drain import Drain
from chunkferry_worker.findings import Finding, Verdict
from chunkferry_worker.reconcile import Reconcile
from chunkferry_worker.sweep import Sweep

PART = 5 * MIB
CONTENT = random.Random(5).randbytes(PART + 7)
PATH = "a/b"
EXPIRY = timedelta(hours=2)


class NamedStores(Stores):
    """Stores of a test's own, by name."""

    def __init__(self, **stores: ChunkStore) -> None:
        super().__init__(dict.fromkeys(stores, "memory://unused"))
        self._given = stores

    def __getitem__(self, service: str) -> ChunkStore:
        return self._given[service]


class FaultyAudit(MemoryStore):
    """A store whose listing or removing fails when a test says so."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock=clock)
        self.listing_fails: Exception | None = None
        self.removing_fails: dict[str, Exception] = {}
        self.pages_read = 0

    def unfinished(self) -> Iterator[Unfinished]:
        if self.listing_fails is not None:
            raise self.listing_fails
        for found in super().unfinished():
            self.pages_read += 1
            yield found

    def remove(self, found: Unfinished) -> bool:
        if found.name in self.removing_fails:
            raise self.removing_fails[found.name]
        return super().remove(found)


@dataclass
class World:
    """Two stores, a ledger, workers, and a clock that a test moves."""

    clock: ManualClock = field(default_factory=ManualClock)
    waker: RecordingWaker = field(default_factory=RecordingWaker)
    settings: Settings = field(
        default_factory=lambda: load(
            chunk_size_limit=PART,
            services={"default": "memory://unused", "other": "memory://unused"},
            incomplete_upload_expiry=EXPIRY,
            failed_upload_expiry=EXPIRY,
        )
    )

    def __post_init__(self) -> None:
        self.store = FaultyAudit(self.clock)
        self.other = FaultyAudit(self.clock)
        self.ledger = MemoryLedger(self.settings, clock=self.clock)
        self.manager = ChunkManager(settings=self.settings, ledger=self.ledger, waker=self.waker)
        self.use(default=self.store, other=self.other)

    def use(self, **stores: ChunkStore) -> None:
        """Configure these stores."""
        found = NamedStores(**stores)
        self.drain = Drain(self.ledger, found, self.waker, self.settings, worker="w").run
        self.sweep = Sweep(self.ledger, found, self.waker, self.settings).run
        self.reconcile = Reconcile(self.ledger, found, self.waker, self.settings)

    def advance(self, span: timedelta) -> None:
        """Let time pass."""
        self.clock.advance(span)

    def age(self) -> None:
        """Let so much time pass that anything unfinished is old."""
        self.advance(self.settings.orphan_age)

    def upload(self, content: bytes = CONTENT, received: int | None = None, **more: Any) -> str:
        """An upload of which some bytes, all unless told, are received, and whole parts stored."""
        upload_id = self.manager.create(PATH, len(content), **more).upload_id
        self.manager.append(upload_id, 0, content[:received])
        self.drain(upload_id)
        return upload_id

    def forgotten(self, filepath: str = PATH, store: MemoryStore | None = None) -> None:
        """A session that no upload knows, with seven bytes in it."""
        service = (store or self.store).chunk_file_service()
        service.initialize_chunk(new_upload(filepath, 7))
        send(service, cut(b"7 bytes"))

    def orphans(self, service: str = "default", *, remove: bool = True) -> list[Finding]:
        """All findings about unfinished things."""
        return list(self.reconcile.orphans(service, remove=remove))

    def verdicts(self, *, remove: bool = True) -> list[Verdict]:
        """Their verdicts."""
        return [finding.verdict for finding in self.orphans(remove=remove)]

    def at_odds(self, *, wake: bool = True) -> list[tuple[str, Verdict]]:
        """Uploads that do not agree with their stores."""
        return [
            (finding.upload_id, finding.verdict)
            for finding in self.reconcile.uploads(wake=wake)
            if finding.verdict is not Verdict.AGREES
        ]


@pytest.fixture
def world() -> World:
    return World()


# --- store to Redis -----------------------------------------------------------------------------


def test_what_no_upload_knows_is_removed_once_it_is_old(world: World) -> None:
    """Not before the longest life of an upload and its record is over; then with its bytes."""
    world.forgotten()
    world.advance(world.settings.orphan_age - timedelta(milliseconds=1))
    assert world.verdicts() == [Verdict.YOUNG]
    world.advance(timedelta(milliseconds=1))
    (found,) = world.orphans()
    assert (found.verdict, found.size, found.filepath) == (Verdict.REMOVED, 7, PATH)
    assert world.store.sessions == {}


def test_without_remove_an_orphan_is_only_shown(world: World) -> None:
    """A dry run tells what it would free, and frees nothing."""
    world.forgotten()
    world.age()
    (found,) = world.orphans(remove=False)
    assert (found.verdict, found.size) == (Verdict.ORPHAN, 7)
    assert len(world.store.sessions) == 1


def test_the_age_covers_everything_an_upload_may_need() -> None:
    """The longer of both expiries, the record's time, and two leases."""
    hour = timedelta(hours=1)
    settings = load(
        incomplete_upload_expiry=hour,
        failed_upload_expiry=3 * hour,
        result_ttl=hour,
        lease_seconds=60,
    )
    assert settings.orphan_age == 4 * hour + timedelta(minutes=2)
    other = settings.changed(incomplete_upload_expiry=5 * hour)
    assert other.orphan_age == 6 * hour + timedelta(minutes=2)


def test_a_shorter_age_is_refused(world: World) -> None:
    """Nobody can have removed what an upload may still need; a longer age is fine."""
    least = world.settings.orphan_age
    with pytest.raises(InvalidArgument, match="10859 s is too short"):
        world.reconcile.orphans("default", remove=False, older_than=least - timedelta(seconds=1))
    world.forgotten()
    world.age()
    found = world.reconcile.orphans("default", remove=True, older_than=least + timedelta(seconds=1))
    assert [finding.verdict for finding in found] == [Verdict.YOUNG]


@pytest.mark.parametrize("received", [PART, PART + 1])
def test_the_session_of_a_slow_upload_is_kept(world: World, received: int) -> None:
    """However old it is, as long as its producer comes back now and then."""
    upload_id = world.upload(received=received)
    for _ in range(5):
        world.advance(EXPIRY / 2)
        world.manager.append(upload_id, received, b"")
        received += 1
        world.manager.append(upload_id, received - 1, CONTENT[received - 1 : received])
        world.drain(upload_id)
    assert world.verdicts() == [Verdict.IN_USE]
    world.manager.append(upload_id, received, CONTENT[received:])
    world.drain(upload_id)
    assert world.manager.get(upload_id).state is State.COMPLETE


def test_the_session_of_a_failed_upload_is_kept(world: World) -> None:
    """It waits for requeue, and would go on from its stored parts."""
    upload_id = world.upload(received=PART)
    world.manager.append(upload_id, PART, CONTENT[PART:])
    world.ledger.leases.acquire(upload_id, "n", "w")
    world.ledger.leases.fail(upload_id, "n", "store_refused", "no")
    world.age()
    assert world.manager.get(upload_id).state is State.FAILED
    assert world.verdicts() == [Verdict.IN_USE]


def test_any_session_to_the_path_of_a_live_upload_is_kept(world: World) -> None:
    """It may be one that its worker is about to record: not ours to judge now."""
    world.forgotten()
    world.age()
    upload_id = world.manager.create(PATH, 1).upload_id
    assert world.verdicts() == [Verdict.IN_USE]
    world.manager.cancel(upload_id)
    world.drain(upload_id)
    assert world.store.sessions == {}


def test_a_session_of_a_live_upload_elsewhere_is_kept(world: World) -> None:
    """A service whose prefix lies within another's: the path differs, the session is the same."""
    inner = world.manager.create("x", 2 * PART, service="other").upload_id
    world.use(default=world.store, other=world.store)
    world.manager.append(inner, 0, CONTENT[:PART])
    world.drain(inner)
    (session,) = world.store.sessions.values()
    session.upload = new_upload("inner/x")
    world.age()
    assert world.manager.get(inner).state is State.RECEIVING
    assert world.verdicts() == [Verdict.IN_USE]


def test_a_session_beside_an_ended_upload_is_removed(world: World) -> None:
    """An upload that has ended needs nothing, though its record is there."""
    world.forgotten()
    world.age()
    upload_id = world.upload()
    assert world.manager.get(upload_id).state is State.COMPLETE
    assert world.verdicts() == [Verdict.REMOVED]


def test_a_session_that_appears_after_the_listing_is_kept(world: World) -> None:
    """List first, then ask, then remove: what begins in between is not on the list."""
    world.forgotten()
    world.age()
    findings = world.reconcile.orphans("default", remove=True)
    real = world.ledger.records.list_uploads

    def list_uploads() -> Iterator[Any]:
        world.forgotten("newer")
        return real()

    world.ledger.records.list_uploads = list_uploads  # type: ignore[method-assign]  # a step between
    assert [finding.verdict for finding in findings] == [Verdict.REMOVED]
    assert [session.upload.filepath for session in world.store.sessions.values()] == ["newer"]


def test_an_upload_that_begins_after_the_listing_is_asked_for(world: World) -> None:
    """Redis is asked once the list is there, not before."""
    world.forgotten()
    world.age()
    real = world.store.unfinished

    def unfinished() -> Iterator[Unfinished]:
        found = list(real())
        world.manager.create(PATH, 1)
        return iter(found)

    world.store.unfinished = unfinished  # type: ignore[method-assign]  # a step between
    assert world.verdicts() == [Verdict.IN_USE]


def test_a_session_recorded_while_a_search_pauses_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run goes on where the last one ended, an hour ago: what it knew then is of no use."""
    world.use(default=world.store, other=world.store)
    world.forgotten("first")
    inner = world.manager.create("x", 2 * PART, service="other").upload_id
    world.store.open(new_upload("inner/x"))
    late = list(world.store.sessions)[-1]
    world.age()
    findings = iter(world.reconcile.orphans("default", remove=True))
    assert next(findings).verdict is Verdict.REMOVED
    world.manager.append(inner, 0, CONTENT[:PART])
    world.ledger.leases.acquire(inner, "n", "w")
    world.ledger.leases.record_session(inner, "n", "", late)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 3600)
    assert [finding.verdict for finding in findings] == [Verdict.IN_USE]


def test_what_may_be_another_programs_is_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shown, and never removed; Redis is not asked to list all its uploads for it."""
    monkeypatch.delattr(type(world.ledger.records), "list_uploads")
    real = world.store.unfinished

    def unfinished() -> Iterator[Unfinished]:
        for found in real():
            yield Unfinished(name=found.name, age=found.age, filepath=found.filepath, is_ours=False)

    world.store.unfinished = unfinished  # type: ignore[method-assign]  # as S3 without a prefix
    world.forgotten()
    world.age()
    assert world.verdicts() == [Verdict.FOREIGN]
    assert len(world.store.sessions) == 1


def test_a_redis_that_lost_everything_frees_the_store(world: World) -> None:
    """All sessions of before are nobody's once they are old; objects stay."""
    world.store.put("object", io.BytesIO(CONTENT))
    for number in range(3):
        upload_id = world.manager.create(f"lost/{number}", 2 * PART).upload_id
        world.manager.append(upload_id, 0, CONTENT[:PART])
        world.drain(upload_id)
    empty = World(clock=world.clock)
    empty.use(default=world.store)
    empty.reconcile.run()
    assert len(world.store.sessions) == 3
    empty.age()
    report = empty.reconcile.run()
    assert (report.removed, report.size, report.unfinished) == (3, 3 * PART, 3)
    assert world.store.sessions == {}
    assert world.store.exists("object")


def test_a_session_that_lands_after_the_grave_is_removed(world: World) -> None:
    """The last request of a killed worker, later than the sweep looks for it."""
    upload_id = world.upload()
    world.advance(world.settings.grave_delay)
    assert world.sweep().graves == 1
    world.forgotten()
    assert world.manager.get(upload_id).state is State.COMPLETE
    world.age()
    assert world.sweep().reaped == 0
    assert world.reconcile.run().removed == 1
    assert world.store.sessions == {}


# --- stores at fault ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StoreUnavailable("500 for ever"), "500 for ever"),
        (KeyError("secret"), "the store of 'default' failed: an unforeseen KeyError"),
    ],
)
def test_one_that_cannot_be_removed_does_not_keep_the_others(
    world: World, error: Exception, reason: str
) -> None:
    """It is told of with the store's reason."""
    for number in range(3):
        world.forgotten(str(number))
    world.store.removing_fails[next(iter(world.store.sessions))] = error
    world.age()
    assert sorted(world.verdicts()) == [Verdict.REMOVED, Verdict.REMOVED, Verdict.STUCK]
    (stuck,) = world.orphans()
    assert stuck.reason == reason


def test_what_a_vanished_record_led_to_is_removed_some_day(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """No sweep looked while the record of the ended upload was there: it says so."""
    world.upload()
    world.forgotten()
    world.advance(world.settings.result_ttl)
    assert (world.sweep().reaped, world.ledger.agenda.graves()) == (0, [])
    assert "left to reconcile" in caplog.text
    world.age()
    assert world.verdicts() == [Verdict.REMOVED]


def test_one_that_is_gone_meanwhile_is_no_orphan(world: World) -> None:
    """Two searches at once: one of them removes it."""
    world.forgotten()
    world.age()
    first, second = (world.reconcile.orphans("default", remove=True) for _ in range(2))
    world.store.remove = lambda _: False  # type: ignore[assignment]  # the other was first
    assert [f.verdict for f in itertools.chain(first, second)] == [Verdict.AGREES] * 2


@pytest.mark.parametrize("error", [StoreRefused("denied"), OSError("unforeseen")])
def test_a_store_at_fault_does_not_hide_the_others(world: World, error: Exception) -> None:
    """The task tells of it and goes on with the next store."""
    world.store.listing_fails = error
    world.forgotten(store=world.other)
    world.age()
    report = world.reconcile.run()
    assert (report.stuck, report.removed) == (1, 1)


@pytest.mark.parametrize("method", ["find", "list_uploads"])
def test_without_redis_nothing_is_removed(
    world: World, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Nobody can tell what is in use: the search ends."""
    world.forgotten()
    world.age()

    def unavailable(*_: object) -> Any:
        raise RedisUnavailable("gone")

    monkeypatch.setattr(world.ledger.records, method, unavailable)
    with pytest.raises(RedisUnavailable):
        world.reconcile.run()
    assert len(world.store.sessions) == 1


def test_a_store_that_cannot_list_is_named(world: World) -> None:
    """Whoever wrote it, its leftovers are left to its own rules."""

    class Plain:
        def chunk_file_service(self) -> MemoryFileService:
            return world.store.chunk_file_service()

    world.use(default=Plain(), other=world.other)
    assert world.verdicts() == []
    assert world.reconcile.run().unlisted == ["default"]


# --- the time of a run --------------------------------------------------------------------------


def test_a_run_whose_time_is_over_goes_on_next_time(world: World) -> None:
    """Each run looks at something new, and in the end at everything."""
    world = World(settings=world.settings.changed(slice_seconds=1e-9))
    for number in range(5):
        world.forgotten(str(number))
    world.age()
    reports = [world.reconcile.run() for _ in range(5)]
    assert [report.removed for report in reports] == [1] * 5
    assert all(report.more for report in reports)
    assert world.store.sessions == {}
    assert not world.reconcile.run().more


def test_what_stays_does_not_keep_a_run_from_what_follows(world: World) -> None:
    """A run goes on behind what is in use, instead of looking at that again and again."""
    world = World(settings=world.settings.changed(slice_seconds=1e-9))
    world.forgotten()
    world.age()
    for number in range(3):
        world.forgotten(str(number))
    assert sum(world.reconcile.run().removed for _ in range(4)) == 1


def test_a_store_is_listed_no_further_than_needed(world: World) -> None:
    """The listing is taken up page by page."""
    world = World(settings=world.settings.changed(slice_seconds=1e-9))
    for number in range(1000):
        world.store.open(new_upload(str(number)))
    world.reconcile.run()
    assert world.store.pages_read < 500


# --- Redis to store -----------------------------------------------------------------------------


def test_uploads_that_go_well_agree(world: World) -> None:
    """Waiting, half stored, complete, cancelled: nothing to tell."""
    world.upload(received=PART)
    waiting = world.manager.create("waiting", 1).upload_id
    cancelled = world.manager.create("cancelled", 1).upload_id
    world.manager.cancel(cancelled)
    world.drain(cancelled)
    done = world.manager.create("done", 1).upload_id
    world.manager.append(done, 0, b"1")
    world.drain(done)
    assert world.manager.get(waiting).state is State.RECEIVING
    assert world.at_odds() == []
    assert world.reconcile.run().uploads == 4


def test_a_session_that_the_store_forgot_is_told(world: World) -> None:
    """Nothing is changed: the upload's next turn finds out by itself."""
    upload_id = world.upload(received=PART)
    world.store.sessions.clear()
    before = world.manager.get(upload_id)
    world.waker.take()
    assert world.at_odds() == [(upload_id, Verdict.LOST)]
    assert world.reconcile.run().lost == 1
    assert world.manager.get(upload_id) == before
    assert world.waker.take() == []


def completed_unsaid(world: World) -> str:
    """An upload whose worker died between the store's last answer and the record of it."""
    upload_id = world.manager.create(PATH, len(CONTENT)).upload_id
    world.manager.append(upload_id, 0, CONTENT)
    finish = world.ledger.leases.finish
    world.ledger.leases.finish = _die  # type: ignore[method-assign]  # a worker that dies here
    with pytest.raises(SystemExit):
        world.drain(upload_id)
    world.ledger.leases.finish = finish  # type: ignore[method-assign]
    world.waker.take()
    return upload_id


def _die(*_: object, **__: object) -> State:
    raise SystemExit


def test_a_whole_object_is_told_to_a_worker(world: World) -> None:
    """Once nobody holds the upload; its next turn adopts the object."""
    upload_id = completed_unsaid(world)
    assert world.at_odds() == []  # held: its worker may be about to say so
    world.advance(timedelta(seconds=60))
    assert world.at_odds(wake=False) == [(upload_id, Verdict.STORED)]
    assert world.waker.take() == []
    assert world.at_odds() == [(upload_id, Verdict.WOKEN)]
    assert world.waker.take() == [upload_id]
    world.drain(upload_id)
    assert world.manager.get(upload_id).state is State.COMPLETE


def test_a_failed_upload_with_a_whole_object_is_left_to_a_person(world: World) -> None:
    """A wake-up would do nothing: it has to be requeued."""
    upload_id = completed_unsaid(world)
    world.advance(timedelta(seconds=60))
    world.ledger.leases.acquire(upload_id, "n", "w")
    world.ledger.leases.fail(upload_id, "n", "store_refused", "no")
    assert world.at_odds() == [(upload_id, Verdict.STORED)]
    assert world.waker.take() == []


def test_an_object_that_is_gone_is_missed(world: World) -> None:
    """For as long as the record of its upload lasts; nothing is touched."""
    upload_id = world.upload()
    world.store.delete(PATH)
    assert world.at_odds() == [(upload_id, Verdict.MISSING)]
    assert world.reconcile.run().missing == 1
    assert world.manager.get(upload_id).state is State.COMPLETE


def test_an_object_that_the_next_upload_replaced_is_not_missed(world: World) -> None:
    """Of two uploads to a path the newest one tells."""
    world.upload()
    world.upload(CONTENT[:9])
    assert world.at_odds() == []


def test_an_upload_that_moves_meanwhile_agrees(world: World) -> None:
    """Its session is gone because it was completed between two looks."""
    upload_id = world.upload(received=PART)
    findings = world.reconcile.uploads(wake=True)
    real = world.store.chunk_file_service

    def meanwhile() -> MemoryFileService:
        world.store.chunk_file_service = real  # type: ignore[method-assign]
        world.manager.append(upload_id, PART, CONTENT[PART:])
        world.drain(upload_id)
        return real()

    world.store.chunk_file_service = meanwhile  # type: ignore[method-assign]  # a step between
    assert [finding.verdict for finding in findings] == [Verdict.AGREES]
    assert world.manager.get(upload_id).state is State.COMPLETE


@pytest.mark.parametrize(
    ("error", "told"),
    [(StoreUnavailable("down"), 1), (StoreRefused("a link"), 3), (KeyError("unforeseen"), 3)],
)
def test_uploads_to_a_store_that_is_down_are_told_once(
    world: World, error: Exception, told: int
) -> None:
    """Instead of a time-out for each of them; what one of them has at its path hides no other."""
    for number in range(3):
        upload_id = world.manager.create(str(number), 1).upload_id
        world.manager.append(upload_id, 0, b"1")
        world.drain(upload_id)

    def fail(_: str) -> Any:
        raise error

    world.store.head = fail  # type: ignore[assignment]  # a store that is down
    assert [verdict for _, verdict in world.at_odds()] == [Verdict.STUCK] * told


def test_only_the_named_services_are_looked_at(world: World) -> None:
    """Uploads to others, and to services that are configured no more, are passed over."""
    world.upload(received=PART)
    assert list(world.reconcile.uploads(["other"], wake=True)) == []
    world.use(other=world.other)
    assert list(world.reconcile.uploads(wake=True)) == []


# --- files --------------------------------------------------------------------------------------


def test_files_of_dead_uploads_and_puts_are_removed(world: World, tmp_path: Path) -> None:
    """A put that was killed midway, an upload that nobody knows; what lives or is foreign stays."""
    store = LocalStore(tmp_path)
    world.use(default=store)
    alive = world.upload(received=PART)
    folder = tmp_path / ".chunkferry"
    dead = new_upload().upload_id
    put = f"put-{'a' * 32}"
    for name in (dead, put, "notes.txt"):
        (folder / name).write_bytes(b"7 bytes")
    assert set(world.verdicts()) == {Verdict.YOUNG}
    for file in folder.iterdir():
        os.utime(file, (0, 0))
    found = {f.filepath.rpartition("/")[2]: f.verdict for f in world.orphans()}
    assert found == {
        alive: Verdict.IN_USE,
        dead: Verdict.REMOVED,
        put: Verdict.REMOVED,
        "notes.txt": Verdict.FOREIGN,
    }
    assert sorted(path.name for path in folder.iterdir()) == sorted([alive, "notes.txt"])


def test_the_file_of_an_ended_upload_is_removed(world: World, tmp_path: Path) -> None:
    """Made by a worker that woke up after the end, and after the grave."""
    store = LocalStore(tmp_path)
    world.use(default=store)
    upload_id = world.upload()
    late = store.chunk_file_service()
    late.initialize_chunk(world.manager.get(upload_id))
    os.utime(tmp_path / ".chunkferry" / upload_id, (0, 0))
    assert world.verdicts() == [Verdict.REMOVED]
    assert world.ledger.agenda.graves() == []
    assert (tmp_path / PATH).read_bytes() == CONTENT


def test_the_file_of_a_put_is_recognised(tmp_path: Path) -> None:
    """Killed midway, it would leave that file under a name that is ours."""
    store = LocalStore(tmp_path)
    seen: list[bool] = []

    class Reader:
        def read(self, _: int) -> bytes:
            seen.extend(found.is_ours for found in store.unfinished())
            return b""

    store.put("a", Reader())  # type: ignore[arg-type]  # the least of a reader
    assert seen == [True]
    assert list(store.unfinished()) == []


# --- anything, in any order ---------------------------------------------------------------------


class Play:
    """Producers, workers, strangers and time, as chance will have it."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._chance = random.Random(seed)

    def step(self) -> None:
        """Let something happen."""
        steps = [self._begin, self._send, self._cancel, self.work, self._forget, self._wait]
        likely = [3, 4, 1, 4, 2, 2]
        self._chance.choices(steps, likely)[0]()

    def work(self) -> None:
        """The sweep, and all workers that it and others woke."""
        self._world.sweep()
        for upload_id in self._world.waker.take():
            self._world.drain(upload_id)

    def end(self) -> None:
        """Cancel what has not ended."""
        for upload in self._world.manager.list_uploads():
            if not upload.has_ended and upload.state is not State.ABORTING:
                self._world.manager.cancel(upload.upload_id)
        self.work()

    def _begin(self) -> None:
        filepath = f"f{self._chance.randrange(3)}"
        if not self._world.manager.upload_exists(filepath):
            self._world.manager.create(filepath, 3 * PART)

    def _receiving(self) -> list[ChunkUpload]:
        """One upload that takes data, if there is one."""
        found = list(self._world.manager.list_uploads(state=State.RECEIVING))
        return self._chance.sample(found, min(1, len(found)))

    def _send(self) -> None:
        for upload in self._receiving():
            self._world.manager.append(upload.upload_id, upload.received, CONTENT[:PART])

    def _cancel(self) -> None:
        for upload in self._receiving():
            self._world.manager.cancel(upload.upload_id)

    def _forget(self) -> None:
        self._world.forgotten(f"f{self._chance.randrange(4)}")

    def _wait(self) -> None:
        self._world.advance(EXPIRY * self._chance.random() * 2)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_only_orphans_go(world: World, seed: int) -> None:
    """No upload that lives ever loses its session; in the end nothing is left of any."""
    play = Play(world, seed)
    removed = in_use = 0
    for _ in range(200):
        play.step()
        verdicts = world.verdicts()
        removed += verdicts.count(Verdict.REMOVED)
        in_use += verdicts.count(Verdict.IN_USE)
        alive = [upload for upload in world.manager.list_uploads() if not upload.has_ended]
        assert {upload.session for upload in alive} - {""} <= set(world.store.sessions)
    assert removed
    assert in_use
    play.end()
    world.age()
    assert world.reconcile.run().lost == 0
    assert world.store.sessions == {}


# --- objects of partial uploads ---------------------------------------------------------------


def stray(world: World, age: timedelta, filepath: str = "") -> str:
    """An object that waits to be joined, of so long ago; its path."""
    path = filepath or new_partial()
    world.store.put(path, io.BytesIO(b"1234567"))
    found = world.store.contents[path]
    world.store.contents[path] = replace(found, last_modified=datetime.now(UTC) - age)
    return path


def test_an_object_whose_partial_upload_is_forgotten_is_removed(world: World) -> None:
    """Redis came back empty, or nobody looked before the record vanished."""
    path = stray(world, world.settings.orphan_age)
    assert world.verdicts(remove=False) == [Verdict.ORPHAN]
    (finding,) = world.orphans()
    assert (finding.verdict, finding.filepath, finding.size) == (Verdict.REMOVED, path, 7)
    assert world.store.contents == {}
    assert world.verdicts() == []


def test_a_young_object_may_still_be_needed(world: World) -> None:
    """Redis may get its newest uploads back."""
    stray(world, world.settings.orphan_age - timedelta(minutes=1))
    assert world.verdicts() == [Verdict.YOUNG]
    assert len(world.store.contents) == 1


def test_an_object_that_a_record_leads_to_is_no_stray(world: World) -> None:
    """However old it is: the sweep looks after it."""
    upload = world.manager.create_partial(1)
    stray(world, 9 * world.settings.orphan_age, upload.filepath)
    assert world.verdicts() == []
    assert len(world.store.contents) == 1


def test_what_does_not_look_like_ours_is_no_stray(world: World) -> None:
    """Other programs may have a folder of that name."""
    for path in (".partials/film.mkv", ".partials/a/" + "0" * 32, ".partials.bak/" + "0" * 32):
        stray(world, 9 * world.settings.orphan_age, path)
    assert world.verdicts() == []


def test_a_stray_that_cannot_be_removed_does_not_keep_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told, and the next is looked at."""
    paths = [stray(world, world.settings.orphan_age) for _ in range(2)]
    delete = world.store.delete

    def refuse(filepath: str) -> None:
        if filepath == paths[0]:
            raise StoreRefused("no permission")
        delete(filepath)

    monkeypatch.setattr(world.store, "delete", refuse)
    assert sorted(world.verdicts()) == sorted([Verdict.STUCK, Verdict.REMOVED])
    assert list(world.store.contents) == paths[:1]
