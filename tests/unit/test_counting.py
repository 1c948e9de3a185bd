"""What the tasks' reports add to the metrics, over in-memory twins."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.faults import raises
from tests.unit.test_drain import CONTENT, PART, World

from chunkferry.errors import StoreRefused, StoreUnavailable
from chunkferry.families import PART_SECONDS, distributions
from chunkferry.moves import Acquisition
from chunkferry.tally import Tally
from chunkferry.testing.totals import MemoryTotals
from chunkferry.wakeup import CountedWaker, NoWaker
from chunkferry_worker import counting
from chunkferry_worker.drain import Drain
from chunkferry_worker.findings import Finding, ReconcileReport, Verdict
from chunkferry_worker.sweep import SweepReport
from chunkferry_worker.turn import DrainReport


@pytest.fixture
def world() -> World:
    """A fresh world."""
    return World()


def counted(report: counting.Report) -> dict[str, int]:
    """What one report adds."""
    totals = MemoryTotals()
    counting.count(Tally(totals), report)
    return totals.read()


def test_a_turn_that_completes_an_upload(world: World) -> None:
    """Its parts, their bytes, and the end."""
    assert counted(world.drain(world.upload())) == {
        "turns|complete": 1,
        "parts_stored|default": 3,
        "bytes_stored|default": len(CONTENT),
        "uploads_ended|default|complete": 1,
    }


def test_a_wake_up_that_finds_nothing_to_do(world: World) -> None:
    """By the reason; it was no turn."""
    upload_id = world.upload()
    world.drain(upload_id)
    assert counted(world.drain(upload_id)) == {"needless_wakeups|gone": 1}


def test_an_upload_that_was_cancelled(world: World) -> None:
    """It has ended, and nothing of it was stored."""
    upload_id = world.upload()
    world.manager.cancel(upload_id)
    assert counted(world.drain(upload_id)) == {
        "turns|cancelled": 1,
        "uploads_ended|default|cancelled": 1,
    }


def test_a_store_that_is_down(world: World) -> None:
    """Counted by what the store said, also where it did so before anything was begun."""
    upload_id = world.upload()
    world.store.before("initialize_chunk", raises(StoreUnavailable("down")))
    report = world.drain(upload_id)
    assert counted(report) == {"turns|deferred": 1, "store_errors|default|store_unavailable": 1}
    assert report.error == "init_failed"


def test_a_store_that_refuses(world: World) -> None:
    """The upload is given up, too."""
    upload_id = world.upload()
    world.store.before("upload_part", raises(StoreRefused("no")))
    assert counted(world.drain(upload_id)) == {
        "turns|failed": 1,
        "store_errors|default|store_refused": 1,
        "uploads_failed|store_refused": 1,
    }


def test_a_takeover_and_a_fence(world: World) -> None:
    """Both workers of an upload tell of it: the one that took over, and the one that had to go."""
    upload_id = world.upload()
    successors = list[DrainReport]()

    def be_late() -> None:
        world.clock.advance(timedelta(hours=1))
        world.stopping = True  # after one part: the upload goes on
        successors.append(world.worker("w2").run(upload_id))

    world.store.before("upload_part", be_late)
    late = world.drain(upload_id)
    assert counted(late)["fence_rejections"] == 1
    assert counted(successors[0])["lease_takeovers"] == 1


def test_an_upload_that_killed_its_workers(world: World) -> None:
    """The wake-up that finds it so gives it up."""
    assert counted(DrainReport(upload_id="1", outcome=Acquisition.QUARANTINED)) == {
        "needless_wakeups|quarantined": 1,
        "uploads_failed|quarantined": 1,
    }


def test_the_time_of_each_part_is_observed(world: World) -> None:
    """That of a whole object in one request as well; not that of one the store refused."""
    totals = MemoryTotals()
    tally = Tally(totals)
    drain = Drain(
        world.ledger,
        world.worker()._stores,
        world.waker,
        world.settings,
        worker="w",
        on_part=lambda service, seconds: tally.observe(PART_SECONDS, seconds, service),
    )
    world.store.before("upload_part", raises(StoreUnavailable("down")))
    refused = world.upload(CONTENT, "refused")
    drain.run(refused)
    for path, content in (("large", CONTENT), ("small", CONTENT[: PART - 1])):
        drain.run(world.upload(content, path))
    tally.flush()
    ((labels, found),) = distributions(PART_SECONDS, totals.read())
    assert (labels, found.buckets[float("inf")]) == (("default",), 4)


def test_sweeps_and_searches() -> None:
    """Each that came to its end, and what it found."""
    assert counted(SweepReport(due=3, woken=2, expired=1)) == {"sweeps": 1}
    assert counted(SweepReport(graves=2, reaped=2)) == {"sweeps": 1, "sessions_reaped": 2}
    report = ReconcileReport()
    for verdict in (Verdict.REMOVED, Verdict.REMOVED, Verdict.STUCK, Verdict.MISSING):
        report.count(
            Finding(
                verdict=verdict,
                service="default",
                filepath="a",
                age=timedelta(days=9),
                size=10 if verdict is Verdict.REMOVED else 0,
            )
        )
    assert counted(report) == {
        "reconciles": 1,
        "orphans_removed": 2,
        "orphan_bytes_removed": 20,
        "reconcile_findings|stuck": 1,
        "reconcile_findings|missing": 1,
    }


def test_wake_ups_are_counted_by_sender(world: World) -> None:
    """Those that the broker did not take as well."""
    totals = MemoryTotals()
    tally = Tally(totals)
    assert CountedWaker(world.waker, tally, "drain").wake("u")
    assert not CountedWaker(NoWaker(), tally, "sweep").wake("u")
    tally.flush()
    assert totals.read() == {"wakeups|drain|yes": 1, "wakeups|sweep|no": 1}
    assert world.waker.take() == ["u"]


def test_producers_count_what_is_new(world: World) -> None:
    """Neither an upload that is continued nor repeated bytes count twice."""
    manager = world.manager
    for _ in range(2):
        upload_id = manager.create("a", len(CONTENT), idempotency_key="k").upload_id
        manager.append(upload_id, 0, CONTENT[: PART + 1])
    manager.append(upload_id, PART + 1, CONTENT[PART + 1 :])
    manager.tally.flush()
    assert world.ledger.totals.read() == {
        "uploads_created|default": 1,
        "bytes_received": len(CONTENT),
        "wakeups|producer|yes": 1,
    }
