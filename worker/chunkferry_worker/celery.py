"""The Celery application: ``celery -A chunkferry_worker worker``, ``celery -A … beat``."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, Final

from celery import signals

from chunkferry import config
from chunkferry.errors import ChunkferryError
from chunkferry_worker import tether
from chunkferry_worker.application import create_app

app, _runtime = create_app(config.load())
app.set_default()

#: At DEBUG they quote requests and answers: ids of sessions, signatures, what servers complain of.
_QUOTING: Final = ("botocore", "urllib3")

for _name in _QUOTING:
    if (_logger := logging.getLogger(_name)).level == logging.NOTSET:
        _logger.setLevel(logging.INFO)


# weak=False: nobody else holds on to these functions.
@signals.celeryd_init.connect(weak=False)
def _refuse_unfit_redis(**_: Any) -> None:
    """Stop a worker that could lose bytes before it takes any work."""
    try:
        _runtime.require_usable()
    except ChunkferryError as exc:
        # Celery logs a handler's exceptions and goes on; only this one gets through.
        sys.exit(f"chunkferry: {exc}")


@signals.worker_shutting_down.connect(weak=False)
def _hand_over(**_: Any) -> None:
    """On SIGTERM, end drains after their part instead of after their turn."""
    _runtime.stop()


@signals.worker_process_init.connect(weak=False)
def _end_with_the_worker(**_: Any) -> None:
    """A pool process of a killed worker would go on until its turn is over, seen by nobody."""
    tether.die_with_parent(os.getppid())
