"""The Celery application: ``celery -A chunkferry_worker worker``, ``celery -A … beat``."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, signals

from chunkferry import config
from chunkferry.config import Settings
from chunkferry_worker import tasks, tether
from chunkferry_worker.runtime import Runtime
from chunkferry_worker.settings import celery_settings


def create_app(settings: Settings) -> tuple[Celery, Runtime]:
    """An application with all tasks, and what they work with."""
    app = Celery("chunkferry", set_as_current=False)
    app.config_from_object(celery_settings(settings))
    runtime = Runtime(settings, app)
    tasks.register(app, runtime)
    return app, runtime


app, _runtime = create_app(config.load())
app.set_default()


# weak=False: nobody else holds on to these functions.
@signals.celeryd_init.connect(weak=False)
def _refuse_unfit_redis(**_: Any) -> None:
    """Stop a worker that could lose bytes before it takes any work."""
    _runtime.require_usable()


@signals.worker_shutting_down.connect(weak=False)
def _hand_over(**_: Any) -> None:
    """On SIGTERM, end drains after their part instead of after their turn."""
    _runtime.stop()


@signals.worker_process_init.connect(weak=False)
def _end_with_the_worker(**_: Any) -> None:
    """A pool process of a killed worker would go on until its turn is over, seen by nobody."""
    tether.die_with_parent(os.getppid())
