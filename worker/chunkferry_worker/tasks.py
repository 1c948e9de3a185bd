"""The Celery tasks: each parses, calls one use case, and returns what Flower is to show."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from chunkferry import wakeup
from chunkferry_worker.settings import RECONCILE, SWEEP

if TYPE_CHECKING:
    from celery import Celery

    from chunkferry_worker.runtime import Runtime


def register(app: Celery, runtime: Runtime) -> None:
    """Add the tasks to ``app``, and to no other application of this process."""

    @app.task(name=wakeup.DRAIN, shared=False)
    def drain(upload_id: str) -> dict[str, Any]:
        """Take one turn at an upload."""
        return asdict(runtime.counted(runtime.drain.run(upload_id)))

    @app.task(name=wakeup.JOIN, shared=False)
    def join(upload_id: str) -> dict[str, Any]:
        """Take one turn at joining an upload from others."""
        return asdict(runtime.join.run(upload_id))

    @app.task(name=SWEEP, shared=False)
    def sweep() -> dict[str, Any]:
        """Look at all that is due."""
        return asdict(runtime.counted(runtime.sweep.run()))

    @app.task(name=RECONCILE, shared=False)
    def reconcile() -> dict[str, Any]:
        """Find what stores and Redis do not agree on, and remove what is left over."""
        return asdict(runtime.counted(runtime.reconcile.run()))

    @app.task(name=wakeup.TELL, shared=False)
    def tell() -> dict[str, Any]:
        """Tell of changes to whoever is to be told."""
        return asdict(runtime.teller.run())
