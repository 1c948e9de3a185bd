"""The teller: who is told of what, in which order, and what becomes of what cannot be told.

At least once, and in order for each upload and receiver: a place in the history is kept for each
receiver, and moves on after it was told. Knows no HTTP, no Celery and no Redis.
"""

from __future__ import annotations

import json
import logging
import random
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from chunkferry import webhooks
from chunkferry.config import Settings
from chunkferry.errors import RedisUnavailable
from chunkferry.moves import Letter, Told, Turn
from chunkferry.services import Ledger
from chunkferry.webhooks import Event
from chunkferry_worker.delivery import DeliveryFailed
from chunkferry_worker.sinks import Sink
from chunkferry_worker.slots import Slots
from chunkferry_worker.unforeseen import untold

log = logging.getLogger(__name__)

#: Tries that a change gets at least, however old it is.
_MIN_TRIES: Final = 3
#: Beside the longest delivery, a turn has time for this.
_SLACK: Final = timedelta(seconds=10)
#: Where workers know nobody who is to be told, and producers do.
_NOBODY: Final = timedelta(minutes=1)


@dataclass(slots=True, kw_only=True)
class TellReport:
    """What one turn did: the result of the Celery task, as Flower shows it."""

    #: "busy" if this worker makes as many deliveries already as it may.
    outcome: str = ""
    #: Uploads that were looked at.
    uploads: int = 0
    #: Deliveries that went well.
    told: int = 0
    #: Those that did not, and will be tried again.
    failed: int = 0
    #: Those that will not.
    dead: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a receiver has been told."""

    #: Number of the newest change it was told of.
    index: int = 0
    #: Failed tries of the next one.
    attempts: int = 0
    #: When that is tried again, in seconds since 1970.
    next_at: float = 0.0


class _Round:
    """One turn at one upload."""

    def __init__(self, turn: Turn, report: TellReport) -> None:
        self.turn = turn
        self.report = report
        self.places = _load(turn.told)
        self._began = time.monotonic()

    @property
    def now(self) -> datetime:
        """By the server's clock, about."""
        return self.turn.began + timedelta(seconds=time.monotonic() - self._began)

    @property
    def told(self) -> str:
        """What the ledger is to remember."""
        return json.dumps({name: asdict(place) for name, place in self.places.items()})


class Teller:
    """Tells, one call each. Thread-safe."""

    def __init__(
        self,
        ledger: Ledger,
        sinks: Sequence[Sink],
        slots: Slots,
        settings: Settings,
        *,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Tell ``sinks`` of what ``ledger`` has.

        Args:
            ledger: where changes are.
            sinks: who is told.
            slots: bound how many deliveries one worker makes at once.
            settings: for pauses and the length of turns.
            should_stop: True once this process is to end; asked after each upload.
        """
        self._ledger = ledger
        self._sinks = sinks
        self._slots = slots
        self._settings = settings
        self._should_stop = should_stop
        self._span = max([sink.span for sink in sinks], default=timedelta(0)) + _SLACK

    def run(self) -> TellReport:
        """Tell of all that is due, for about one turn of a drain at the longest.

        Raises:
            RedisUnavailable: the next sweep has it done.
        """
        report = TellReport()
        deadline = time.monotonic() + self._settings.slice_seconds
        with self._slots.one() as free:
            if not free:
                report.outcome = "busy"
                return report
            for letter in self._ledger.letters.waiting():
                self._tell_again(letter, report)
            stuck = set[str]()
            while due := sorted(set(self._ledger.telling.due(limit=1)) - stuck):
                # Tellers of several workers do not all begin with the same upload.
                random.shuffle(due)
                for upload_id in due:
                    if not self._look(upload_id, report):
                        stuck.add(upload_id)
                    if time.monotonic() > deadline or self._should_stop():
                        return report
        return report

    def _look(self, upload_id: str, report: TellReport) -> bool:
        """Tell of one upload; one that cannot be told of does not hide the others."""
        try:
            turn = self._ledger.telling.begin(upload_id, secrets.token_hex(16), self._span)
            if turn is not None:
                report.uploads += 1
                self._tell(_Round(turn, report))
        except RedisUnavailable:
            raise
        except Exception as exc:
            log.error(  # noqa: TRY400 - the error's own text may hold secrets
                "Cannot tell of an upload.",
                extra={"action": "tell", "upload_id": upload_id},
                exc_info=untold(exc),
            )
            return False
        return True

    def _tell(self, round_: _Round) -> None:
        turn, places = round_.turn, round_.places
        for sink in self._sinks:
            for event in webhooks.events(turn.upload):
                place = places.get(sink.name, Place())
                if event.index <= place.index or not sink.takes(event):
                    continue
                if place.next_at > round_.now.timestamp():
                    break
                places[sink.name] = self._deliver(sink, event, place, round_)
                if not self._ledger.telling.note(turn, round_.told, self._span):
                    return  # it took too long: another teller has the turn
                if places[sink.name].index < event.index:
                    break
        ended = self._ledger.telling.end(turn, round_.told, self._pause(round_))
        if ended is Told.OVER:
            log.info(
                "All is told of an upload.",
                extra={"action": "tell", "upload_id": turn.upload.upload_id},
            )

    def _pause(self, round_: _Round) -> timedelta | None:
        """Until the next look; None if all is told."""
        if not self._sinks:
            return _NOBODY
        now = round_.now.timestamp()
        places = [round_.places.get(sink.name, Place()) for sink in self._sinks]
        waits = [place.next_at - now for place in places if place.next_at]
        return timedelta(seconds=max(0.0, min(waits))) if waits else None

    def _deliver(self, sink: Sink, event: Event, place: Place, round_: _Round) -> Place:
        """Tell; return where the receiver is after that."""
        if (error := _attempt(sink, event)) is not None:
            return self._failed(sink, event, place, round_, error)
        round_.report.told += 1
        return Place(index=event.index)

    def _failed(
        self, sink: Sink, event: Event, place: Place, round_: _Round, error: DeliveryFailed
    ) -> Place:
        """Put the next try off, or give up; return where the receiver is after that."""
        log.warning(
            "Could not tell of a change: %s",
            error,
            extra={"action": "tell", "upload_id": event.upload.upload_id, "event": event.kind},
        )
        attempts, now = place.attempts + 1, round_.now
        is_old = now - event.time > self._settings.webhook_give_up
        if error.is_final or (is_old and attempts >= _MIN_TRIES):
            round_.report.dead += 1
            # First: a teller that dies now writes it twice, and never loses it.
            self._ledger.letters.add(_letter(sink, event, attempts, now, str(error)))
            return Place(index=event.index)
        round_.report.failed += 1
        pause = max(self._backoff(attempts), error.retry_after or timedelta(0))
        return replace(place, attempts=attempts, next_at=(now + pause).timestamp())

    def _backoff(self, attempts: int) -> timedelta:
        longest = min(
            self._settings.backoff_seconds * 2 ** min(attempts, 16),
            self._settings.backoff_max_seconds,
        )
        # Jitter: what failed together does not come back together.
        return timedelta(seconds=random.uniform(longest / 2, longest))  # noqa: S311 - no secret

    def _tell_again(self, letter: Letter, report: TellReport) -> None:
        """Tell of a dead letter that somebody wants sent again."""
        sink = next((sink for sink in self._sinks if sink.name == letter.sink_name), None)
        event = Event(
            event_id=letter.event_id,
            kind=letter.kind,
            index=letter.index,
            time=_time_of(letter),
            upload=letter.upload,
        )
        if sink is None:
            error: object = f"{letter.sink} is not configured here"
        else:
            error = _attempt(sink, event)
        report.dead += error is not None
        report.told += error is None
        self._ledger.letters.settle(letter, str(error or ""))


def _attempt(sink: Sink, event: Event) -> DeliveryFailed | None:
    """Tell; return what went wrong, if anything did."""
    try:
        sink.deliver(event)
    except DeliveryFailed as exc:
        return exc
    except Exception as exc:
        log.error(  # noqa: TRY400 - the error's own text may hold secrets
            "A delivery failed as nobody foresaw.",
            extra={"action": "tell", "upload_id": event.upload.upload_id, "event": event.kind},
            exc_info=untold(exc),
        )
        # It counts as a try like any other, or it would be repeated without an end.
        return DeliveryFailed(type(exc).__name__)
    return None


def _time_of(letter: Letter) -> datetime:
    """When it happened."""
    times = (change.time for change in letter.upload.history if change.index == letter.index)
    return next(times, letter.time)


def _load(told: str) -> dict[str, Place]:
    places = json.loads(told) if told else {}
    return {name: Place(**place) for name, place in places.items()}


def _letter(sink: Sink, event: Event, attempts: int, now: datetime, error: str) -> Letter:
    return Letter(
        event_id=event.event_id,
        kind=event.kind,
        sink=sink.shown,
        sink_name=sink.name,
        index=event.index,
        error=error,
        attempts=attempts,
        time=now,
        upload=event.upload,
    )
