"""Wake-ups as Celery messages: how producers, workers and the sweep send them.

A message carries an upload's id and nothing else. It may be lost, doubled or late: the stream is
the truth, and the sweep asks again for work that nobody took up.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from chunkferry import broker, families
from chunkferry.errors import MissingExtra
from chunkferry.services import Herald, Waker
from chunkferry.tally import Tally

if TYPE_CHECKING:
    from celery import Celery

log = logging.getLogger(__name__)

#: The task that drains one upload, and the queue its messages go through.
DRAIN: Final = "chunkferry.drain"
#: The task that joins an upload from others. Through the same queue: all workers listen there,
#: and one of an older release drops it, until the sweep sends another.
JOIN: Final = "chunkferry.join"

#: The task that tells of changes, and its queue: slow receivers must not hold up anything else.
TELL: Final = "chunkferry.tell"

#: Messages of that queue, above which no more are sent: each asks for the same.
_ENOUGH: Final = 4
#: A message nobody took for so long is worth nothing: the sweep has sent others.
_EXPIRES: Final = 120
#: After a failed publication the next ones are left to the sweep, for so many seconds.
_PAUSE: Final = 10.0

#: How Celery publishes: every wait has a bound.
_PUBLISHING: Final[dict[str, Any]] = {
    "broker_connection_timeout": 2,
    "broker_pool_acquire_timeout": 1,
    "broker_transport_options": {
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        # A worker whose connection died in silence notices after twice this, and a second.
        "health_check_interval": 10,
    },
    "task_publish_retry_policy": {
        "max_retries": 1,
        "interval_start": 0,
        "interval_step": 0.1,
        "interval_max": 0.2,
    },
    "task_serializer": "json",
    "accept_content": ["json"],
    "task_ignore_result": True,
    "task_create_missing_queues": False,
}


def publishing(broker_url: str) -> dict[str, Any]:
    """The part of Celery's configuration that producers and workers share.

    Raises:
        ConfigError: this cannot be a broker.
    """
    told = broker.told(broker_url)
    options = {**_PUBLISHING["broker_transport_options"], **told["broker_transport_options"]}
    # Both directions by name: over a mere ``broker_url``, a CELERY_BROKER_URL that is meant for
    # another application of the same environment would take precedence.
    urls = dict.fromkeys(("broker_read_url", "broker_write_url"), told["broker_url"])
    return {**_PUBLISHING, **told, **urls, "broker_transport_options": options}


#: Celery puts another module into its own place while it is imported: of two threads that come at
#: once, the second would find half of it. No fork may leave this held.
_importing: Final = threading.RLock()
if sys.platform != "win32":
    os.register_at_fork(
        before=_importing.acquire,
        after_in_parent=_importing.release,
        after_in_child=_importing.release,
    )


def require_celery() -> None:
    """Raise ``MissingExtra`` if wake-ups cannot be sent from here."""
    with _importing:
        is_there = importlib.util.find_spec("celery") is not None
    if not is_there:
        raise MissingExtra("sending wake-ups", "worker")


def producer_app(broker_url: str) -> Celery:
    """A Celery application that only publishes; raises as ``require_celery``."""
    require_celery()
    with _importing:
        from celery import Celery  # noqa: PLC0415 - producers may do without Celery
        from kombu import Queue  # noqa: PLC0415

    app = Celery("chunkferry", set_as_current=False)
    app.conf.update(publishing(broker_url), task_queues=[Queue(DRAIN)], task_default_queue=DRAIN)
    # A worker waits for its broker; a producer's client waits behind this.
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, "socket_timeout": 2}
    app.conf.task_publish_retry = False
    return app


class CeleryWaker:
    """Sends wake-ups through Celery."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._silent_until = 0.0

    def wake(self, upload_id: str) -> bool:
        """Ask for a drain of the upload; False if no message was sent.

        Never raises. A broker that does not answer costs a few seconds once; until it has had
        time to recover, wake-ups are left to the sweep.
        """
        return self._send(DRAIN, upload_id)

    def join(self, upload_id: str) -> bool:
        """Ask for a turn at joining the upload; see ``wake``."""
        return self._send(JOIN, upload_id)

    def _send(self, task: str, upload_id: str) -> bool:
        if time.monotonic() < self._silent_until:
            return False
        try:
            self._app.send_task(task, args=[upload_id], queue=DRAIN, expires=_EXPIRES)
        except Exception as exc:
            self._silent_until = time.monotonic() + _PAUSE
            log.warning(
                "The broker did not take a wake-up; the sweep will send one.",
                extra={"action": "wake", "upload_id": upload_id, "error": type(exc).__name__},
            )
            return False
        return True

    def tell(self) -> bool:
        """Ask for a look at what is to be told; see ``services.Herald``."""
        if time.monotonic() < self._silent_until:
            return False
        try:
            # Where no worker listens, messages would pile up for ever.
            if self._waiting() >= _ENOUGH:
                return False
            self._app.send_task(TELL, queue=TELL, expires=_EXPIRES)
        except Exception as exc:
            log.warning(
                "The broker did not take a message; the next sweep will send one.",
                extra={"action": "tell", "error": type(exc).__name__},
            )
            return False
        return True

    def _waiting(self) -> int:
        with self._app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0)
            try:
                channel: Any = connection.default_channel
                return int(channel.queue_declare(TELL, passive=True).message_count)
            except Exception:
                # Transports differ in what they raise for a queue that is not there yet.
                return 0


class ProducerWaker:
    """Sends wake-ups from whichever process it is used in, also one that was forked since."""

    def __init__(self, broker_url: str) -> None:
        """Send through ``broker_url``; raises ``ConfigError`` as ``publishing``."""
        publishing(broker_url)
        self._broker_url = broker_url
        self._made_by = 0

    def wake(self, upload_id: str) -> bool:
        """Ask for a drain of the upload; see ``CeleryWaker.wake``."""
        return self._of_this_process().wake(upload_id)

    def join(self, upload_id: str) -> bool:
        """Ask for a turn at joining the upload; see ``CeleryWaker.wake``."""
        return self._of_this_process().join(upload_id)

    def _of_this_process(self) -> CeleryWaker:
        # No lock, which a fork could leave held: at worst two threads make one each.
        if self._made_by != os.getpid():
            self._waker = CeleryWaker(producer_app(self._broker_url))
            self._made_by = os.getpid()
        return self._waker


class CountedWaker:
    """Counts the wake-ups that another waker sends, or fails to."""

    def __init__(self, waker: Waker, tally: Tally, sender: str) -> None:
        """Count into ``tally``, as those of ``sender``."""
        self._waker = waker
        self._tally = tally
        self._sender = sender

    def wake(self, upload_id: str) -> bool:
        """Ask for a drain of the upload; see ``services.Waker``."""
        taken = self._waker.wake(upload_id)
        self._tally.count(families.WAKEUPS, self._sender, "yes" if taken else "no")
        return taken

    def join(self, upload_id: str) -> bool:
        """Ask for a turn at joining; see ``services.Waker``."""
        return self._waker.join(upload_id)

    def tell(self) -> bool:
        """Ask for a look at what is to be told; see ``services.Herald``."""
        return isinstance(self._waker, Herald) and self._waker.tell()


class NoWaker:
    """Sends nothing: all work waits for the sweep."""

    def wake(self, upload_id: str) -> bool:  # noqa: ARG002 - the port's signature
        """Do nothing."""
        return False

    def join(self, upload_id: str) -> bool:  # noqa: ARG002 - the port's signature
        """Do nothing."""
        return False
