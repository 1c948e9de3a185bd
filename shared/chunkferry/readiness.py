"""Readiness: whether Redis, the broker and the stores answer, asked side by side.

Nobody waits long for whoever does not answer, and nobody is asked again before they did. Knows no
HTTP, and tells no more than a word about each.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from chunkferry import wakeup
from chunkferry.errors import ChunkferryError
from chunkferry.manager import ChunkManager
from chunkferry.services import ChunkStore, HeadService, Service
from chunkferry.storage import Stores

if TYPE_CHECKING:
    from celery import Celery

log = logging.getLogger(__name__)

#: The answer of whoever is fit.
OK: Final = "ok"
#: Of whoever has not answered in time.
SILENT: Final = "no answer"
#: How long all together may take, in seconds.
PATIENCE: Final = 2.0
#: What stores are asked for: a path that nobody uploads to.
_NOWHERE: Final = ".chunkferry-ready"


class BrokerUnavailable(ChunkferryError):
    """The broker cannot be reached, or stopped answering; wake-ups are left to the sweep."""

    code = "broker_unavailable"
    http_status = 503
    retryable = True


class Readiness:
    """Asks all there is to ask, for one caller at a time."""

    def __init__(self, questions: Mapping[str, Callable[[], None]]) -> None:
        """Ask ``questions``, by whom they go to; each returns, or raises what is wrong."""
        self._questions = {who: _Question(who, ask) for who, ask in questions.items()}

    def ask(self, patience: float = PATIENCE) -> dict[str, str]:
        """Who answers what: ``OK``, ``SILENT`` or the code of an error.

        Takes ``patience`` seconds at the longest.
        """
        deadline = time.monotonic() + patience
        for question in self._questions.values():
            question.begin()
        return {who: question.answer(deadline) for who, question in self._questions.items()}


class _Question:
    """One question, in a thread of its own: an answer may take longer than anybody waits."""

    def __init__(self, who: str, ask: Callable[[], None]) -> None:
        self._who = who
        self._ask = ask
        self._thread = threading.Thread()
        self._answer = SILENT

    def begin(self) -> None:
        """Ask, unless the last answer is still waited for."""
        if not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="chunkferry-ready", daemon=True)
            self._thread.start()

    def answer(self, deadline: float) -> str:
        """The answer, waited for until ``deadline``."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return SILENT if self._thread.is_alive() else self._answer

    def _run(self) -> None:
        try:
            self._ask()
            self._answer = OK
        except ChunkferryError as exc:
            self._answer = exc.code
            self._tell(str(exc))
        except Exception as exc:
            # Of a store that is not ours: its text may hold anything.
            self._answer = "unexpected"
            self._tell(type(exc).__name__)

    def _tell(self, why: str) -> None:
        log.warning(
            "Not ready: %s: %s",
            self._who,
            why,
            extra={"action": "ready", "error": self._answer},
        )


def questions(manager: ChunkManager, stores: Stores) -> dict[str, Callable[[], None]]:
    """What to ask for a front door: ``redis``, ``broker``, and ``store NAME`` for each store."""
    return {
        "redis": manager.require_usable,
        "broker": lambda: _require_broker_at(manager.settings.broker),
        **{f"store {name}": _of_store(stores, name) for name in stores.names},
    }


def require_broker(app: Celery) -> None:
    """Raise ``BrokerUnavailable`` unless the broker of ``app`` answers."""
    # kombu lets each transport's own errors through.
    try:
        with app.connection_for_read() as link:
            link.ensure_connection(max_retries=1, interval_start=0, timeout=5)
    except Exception as exc:
        raise BrokerUnavailable(f"the broker does not answer: {type(exc).__name__}") from exc


def require_store(store: ChunkStore) -> None:
    """Raise unless the store answers; one that cannot be asked for a path is taken at its word.

    Raises:
        StoreError: it does not, or refuses.
    """
    match store:
        case HeadService():
            store.head(_NOWHERE)
        case Service():
            store.exists(_NOWHERE)


def _require_broker_at(url: str) -> None:
    with wakeup.producer_app(url) as app:
        require_broker(app)


def _of_store(stores: Stores, name: str) -> Callable[[], None]:
    return lambda: require_store(stores[name])
