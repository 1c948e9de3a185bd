"""How Celery is set up: queues, bounds, the beat. Derived from ``chunkferry.config.Settings``.

Messages are acknowledged early on purpose: a lost wake-up costs seconds, because the sweep sends
another; a late acknowledgement would bring all the duplicates of Celery's visibility timeout.
"""

from __future__ import annotations

from typing import Any, Final

from kombu import Exchange, Queue

from chunkferry.config import Settings
from chunkferry.wakeup import DRAIN, JOIN, TELL, publishing

#: The task of the sweep.
SWEEP: Final = "chunkferry.sweep"
#: The task that looks for leftovers at the stores.
RECONCILE: Final = "chunkferry.reconcile"
#: Where the beat's scheduler finds ``Settings.beat_file``.
BEAT_FILE: Final = "chunkferry_beat_file"
#: The queue of what beat sends.
MAINTENANCE: Final = "chunkferry.maintenance"


def celery_settings(settings: Settings) -> dict[str, Any]:
    """All of Celery's configuration."""
    return {
        **publishing(settings.broker),
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "task_queues": [_queue(DRAIN), _queue(MAINTENANCE), _queue(TELL)],
        "task_default_queue": MAINTENANCE,
        "task_routes": {
            DRAIN: {"queue": DRAIN},
            TELL: {"queue": TELL},
            JOIN: {"queue": DRAIN},
            SWEEP: {"queue": MAINTENANCE},
            RECONCILE: {"queue": MAINTENANCE},
        },
        "task_acks_late": False,
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        "event_queue_expires": 60.0,
        "beat_scheduler": "chunkferry_worker.beat:SweepScheduler",
        BEAT_FILE: settings.beat_file,
        "beat_schedule": {
            task: {"task": task, "schedule": seconds}
            for task, seconds in (
                (SWEEP, settings.sweep_seconds),
                (RECONCILE, settings.reconcile_seconds),
            )
            if seconds
        },
    }


def _queue(name: str) -> Queue:
    # Left to itself, Celery binds every queue to the exchange of the default one.
    return Queue(name, Exchange(name), routing_key=name)
