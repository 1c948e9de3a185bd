"""A worker and a beat inside the caller's process: ``ChunkManager.run_uploader``."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, cast

from celery.beat import EmbeddedService
from celery.bootsteps import RUN  # type: ignore[attr-defined]  # celery-types lacks it
from celery.concurrency.thread import TaskPool

from chunkferry.config import Settings
from chunkferry_worker.application import create_app
from chunkferry_worker.beat import SweepScheduler

if TYPE_CHECKING:
    from celery.beat import _Threaded

#: Uploads drained at the same time.
_CONCURRENCY: Final = 4
#: Between two looks whether the worker has begun, in seconds.
_POLL: Final = 0.05


class _Threads(TaskPool):
    """Celery's pool of threads, each of which knows whose tasks it runs.

    Celery finds a task through the process' default application, which is the caller's own, if
    the caller uses Celery too; an application that is current in a thread goes before it.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.executor = ThreadPoolExecutor(self.limit, initializer=self.app.set_current)


def run(settings: Settings, stop: threading.Event) -> None:
    """Run until ``stop`` is set; drains then end after the part they are at.

    Raises:
        ConfigError: Redis is unfit.
        RedisUnavailable: it does not answer.
    """
    app, runtime = create_app(settings)
    runtime.require_usable()
    worker = app.WorkController(
        app=app, pool=_Threads, concurrency=_CONCURRENCY, without_mingle=True, without_gossip=True
    )
    # The annotation knows both forms of the service; in a thread it is always this one.
    beat = cast("_Threaded", EmbeddedService(app, thread=True, scheduler_cls=SweepScheduler))

    def end() -> None:
        stop.wait()
        runtime.stop()
        beat.stop()
        # A worker that has not begun would not notice that it is to stop.
        while not finished.wait(_POLL):
            if worker.blueprint is not None and worker.blueprint.state == RUN:
                worker.stop()

    finished = threading.Event()
    ender = threading.Thread(target=end, name="chunkferry-stop", daemon=True)
    ender.start()
    beat.start()
    try:
        worker.start()
    finally:
        finished.set()
        stop.set()
        ender.join()
