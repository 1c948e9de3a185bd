"""The beat's scheduler over a queue in memory: both of its tasks get through, and none piles up."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from chunkferry.config import load
from chunkferry_worker.application import create_app
from chunkferry_worker.beat import SweepScheduler
from chunkferry_worker.settings import MAINTENANCE, RECONCILE, SWEEP, celery_settings


class Beat:
    """A beat whose turns a test calls, and the queue it sends to."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._scheduler = SweepScheduler(app=app, lazy=True)
        self._entries = {
            name: self._scheduler.Entry(app=app, name=name, **entry)
            for name, entry in app.conf.beat_schedule.items()
        }

    def turn(self, *tasks: str) -> None:
        """These tasks are due."""
        for task in tasks:
            self._scheduler.apply_async(self._entries[task], advance=False)

    def take(self) -> list[str]:
        """What waits in the queue, in order; taken by a worker."""
        with self._app.connection_for_read() as connection:
            queue: Any = connection.SimpleQueue(MAINTENANCE)
            found = []
            while queue.qsize():
                message = queue.get_nowait()
                message.ack()
                found.append(message.headers["task"])
            queue.close()
            return found


@pytest.fixture
def beat() -> Iterator[Beat]:
    app, _ = create_app(load(broker_url="memory://", reconcile_seconds=60))
    made = Beat(app)
    made.take()
    yield made
    made.take()
    app.close()


def test_a_waiting_sweep_lets_the_next_one_go_by(beat: Beat) -> None:
    """One is as good as many."""
    for _ in range(5):
        beat.turn(SWEEP)
    assert beat.take() == [SWEEP]
    beat.turn(SWEEP)
    assert beat.take() == [SWEEP]


def test_a_rare_task_that_went_by_is_sent_at_the_next_chance(beat: Beat) -> None:
    """Its own next turn is an hour away, and would find a sweep in the queue as well."""
    beat.turn(SWEEP, RECONCILE, SWEEP)
    assert beat.take() == [SWEEP]
    beat.turn(SWEEP)
    assert beat.take() == [SWEEP, RECONCILE]
    beat.turn(SWEEP)
    assert beat.take() == [SWEEP]


def test_no_task_is_ever_queued_twice(beat: Beat) -> None:
    """Whatever is due while nobody takes anything, there is one of each kind at most."""
    taken = []
    for due in itertools.product([SWEEP, RECONCILE], repeat=4):
        beat.turn(*due)
        found = beat.take()
        assert len(found) == len(set(found))
        taken += found
    assert set(taken) == {SWEEP, RECONCILE}


def test_both_tasks_have_their_own_beat() -> None:
    """As set; a search that is switched off is not in the schedule."""
    schedule = celery_settings(load(sweep_seconds=2, reconcile_seconds=5))["beat_schedule"]
    assert {name: entry["schedule"] for name, entry in schedule.items()} == {SWEEP: 2, RECONCILE: 5}
    assert [*celery_settings(load(reconcile_seconds=0))["beat_schedule"]] == [SWEEP]


def test_both_tasks_go_to_the_maintenance_queue() -> None:
    """And are known to every worker."""
    app, _ = create_app(load())
    assert {SWEEP, RECONCILE} <= set(app.tasks)
    assert {app.conf.task_routes[task]["queue"] for task in (SWEEP, RECONCILE)} == {MAINTENANCE}
    app.close()
