"""The backlog: what all uploads that have not ended add up to at one moment. Pure data.

Knows neither where the facts come from nor what is done about them: ``services.Health`` reads,
``chunkferry doctor`` and the metrics judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chunkferry.state import TERMINAL, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """All uploads that have not ended. Sizes are in bytes, spans in seconds."""

    #: How many are in each state; every state that is not an end is there.
    uploads: Mapping[State, int]
    #: Accepted from producers.
    received: int
    #: Of these, in the stores.
    stored: int
    #: Of these, still in Redis: accepted, not stored, and not given up either.
    buffered: int
    #: How long somebody should have looked at the most overdue upload; 0.0 if none is overdue.
    oldest_due: float
    #: Uploads with work that nobody holds, however briefly.
    waiting: int
    #: Of these, uploads whose wake-up nobody answered within ``rewake_seconds``.
    unanswered: int
    #: How long the one that waits longest has had work that nobody took; 0.0 if none waits.
    longest_wait: float
    #: Uploads that a worker holds.
    leases: int
    #: Failed uploads by the code of their error.
    failed: Mapping[str, int]
    #: Of ``buffered``, what failed uploads keep.
    failed_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one upload adds to the backlog. Times are milliseconds since 1970, 0 for never."""

    #: The clock of the ledger when this was read.
    now: int
    state: State
    received: int
    stored: int
    #: When somebody has to look at it.
    due_at: int
    #: True while a worker is wanted or at work.
    scheduled: bool
    #: True if there is a lease, even one that is over.
    owned: bool
    lease_until: int
    #: Since when a worker is wanted; meaningful without a lease.
    wanted_since: int
    error_code: str

    @property
    def buffered(self) -> int:
        """Bytes of it in Redis; those of an upload that is being removed were let go."""
        return 0 if self.state is State.ABORTING else max(0, self.received - self.stored)

    @property
    def is_held(self) -> bool:
        """True while a worker holds it."""
        return self.owned and self.lease_until > self.now

    @property
    def waits(self) -> int:
        """For how many milliseconds it has had work that nobody took; 0 if it does not wait."""
        if not self.scheduled or self.is_held:
            return 0
        since = self.lease_until if self.owned else self.wanted_since
        return max(0, self.now - since) if since else 0


def add_up(readings: Iterable[Reading], rewake_ms: int) -> Backlog:
    """The backlog that ``readings`` make.

    Args:
        readings: one for each upload that has not ended.
        rewake_ms: how long a wake-up may go without an answer, in milliseconds.
    """
    found = list(readings)
    states = Counter(reading.state for reading in found)
    failed = [reading for reading in found if reading.state is State.FAILED]
    waits = [wait for reading in found if (wait := reading.waits)]
    return Backlog(
        uploads={state: states[state] for state in State if state not in TERMINAL},
        received=sum(reading.received for reading in found),
        stored=sum(reading.stored for reading in found),
        buffered=sum(reading.buffered for reading in found),
        oldest_due=max([0, *(reading.now - reading.due_at for reading in found)]) / 1000,
        waiting=len(waits),
        unanswered=sum(wait >= rewake_ms for wait in waits),
        longest_wait=max(waits, default=0) / 1000,
        leases=sum(reading.is_held for reading in found),
        failed=dict(Counter(reading.error_code for reading in failed)),
        failed_bytes=sum(reading.buffered for reading in failed),
    )
