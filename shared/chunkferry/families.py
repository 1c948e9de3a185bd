"""What is counted: each counter and histogram with its labels, and what it is called in Redis.

Pure data. Knows neither who counts nor who reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

#: Stands between the name, the labels and the bucket of a field. No label has it: see ``quote``.
_BAR: Final = "|"
#: Fields of a histogram beside its buckets: the sum of what was observed, in microseconds.
_SUM: Final = "sum"
#: What is above the last bound of a histogram.
_BEYOND: Final = "inf"
#: Microseconds of a second: sums are whole numbers, as all counts are.
_MICROS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One counter, or one histogram, for each set of its labels."""

    #: Without prefix and unit of Prometheus; never used for something else later.
    name: str
    help: str
    #: Names of the labels, in order. The values of each are few: none is an upload's.
    labels: tuple[str, ...] = ()
    #: Of a histogram, in seconds: each bucket takes what is not above its bound.
    bounds: tuple[float, ...] = ()

    def field(self, *values: str) -> str:
        """Where the count for these values of the labels is kept.

        Raises:
            ValueError: there are more labels, or fewer.
        """
        if len(values) != len(self.labels):
            msg = f"{self.name} has the labels {self.labels}, not {len(values)} of them"
            raise ValueError(msg)
        return _BAR.join((self.name, *map(_quoted, values)))

    def observed(self, seconds: float, *values: str) -> dict[str, int]:
        """What one observation adds to which fields."""
        field = self.field(*values)
        bucket = next((f"{bound:g}" for bound in self.bounds if seconds <= bound), _BEYOND)
        return {
            f"{field}{_BAR}{bucket}": 1,
            f"{field}{_BAR}{_SUM}": round(seconds * _MICROS),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A histogram for one set of labels."""

    #: Bound in seconds -> how many were not above it; the last bound is infinity.
    buckets: Mapping[float, int]
    #: All that was observed, in seconds.
    total: float


def _quoted(label: str) -> str:
    return quote(label, safe=" /:+@", errors="replace")


def counts(family: Family, totals: Mapping[str, int]) -> Iterator[tuple[tuple[str, ...], int]]:
    """The values of the labels of a counter, and how often, for each that was ever counted.

    A counter without labels is there from the beginning.
    """
    if not family.labels:
        yield (), totals.get(family.name, 0)
        return
    for values, rest, count in _fields(family, totals):
        if not rest:
            yield values, count


def distributions(
    family: Family, totals: Mapping[str, int]
) -> Iterator[tuple[tuple[str, ...], Distribution]]:
    """The values of the labels of a histogram, and what was observed.

    Bounds of another version, whose processes may run beside this one's, are bounds as well.
    """
    found: dict[tuple[str, ...], dict[str, int]] = {}
    for values, rest, count in _fields(family, totals):
        if rest:
            found.setdefault(values, {})[rest[0]] = count
    for values, fields in found.items():
        total = fields.pop(_SUM, 0) / _MICROS
        each = dict.fromkeys((*family.bounds, float(_BEYOND)), 0)
        each.update({float(bound): count for bound, count in fields.items()})
        so_far, buckets = 0, {}
        for bound in sorted(each):
            so_far += each[bound]
            buckets[bound] = so_far
        yield values, Distribution(buckets=buckets, total=total)


def _fields(
    family: Family, totals: Mapping[str, int]
) -> Iterator[tuple[tuple[str, ...], list[str], int]]:
    """The values of the labels, what follows them, and the number, of each field of a family."""
    width = len(family.labels)
    for field in sorted(totals):
        name, *rest = field.split(_BAR)
        if name == family.name and len(rest) >= width:
            yield tuple(map(unquote, rest[:width])), rest[width:], totals[field]


# --- producers --------------------------------------------------------------------------------

UPLOADS_CREATED: Final = Family(
    name="uploads_created", help="Uploads that were begun.", labels=("service",)
)
BYTES_RECEIVED: Final = Family(
    name="bytes_received", help="Bytes that were accepted; repeated ones only once."
)

# --- wake-ups ---------------------------------------------------------------------------------

WAKEUPS: Final = Family(
    name="wakeups",
    help="Wake-ups by who asked for them, and whether the broker took them.",
    labels=("sender", "taken"),
)
NEEDLESS_WAKEUPS: Final = Family(
    name="needless_wakeups",
    help="Wake-ups that found nothing to do, by the reason.",
    labels=("reason",),
)

# --- workers ----------------------------------------------------------------------------------

TURNS: Final = Family(
    name="turns", help="Turns that held an upload, by how they ended.", labels=("outcome",)
)
TAKEOVERS: Final = Family(
    name="lease_takeovers", help="Leases taken over from a worker that died, or hung."
)
FENCE_REJECTIONS: Final = Family(
    name="fence_rejections", help="Turns that ended because the worker no longer held the upload."
)
PARTS_STORED: Final = Family(
    name="parts_stored", help="Parts that the stores have confirmed.", labels=("service",)
)
BYTES_STORED: Final = Family(name="bytes_stored", help="Their bytes.", labels=("service",))
PART_SECONDS: Final = Family(
    name="part_seconds",
    help="How long a store took for a part.",
    labels=("service",),
    bounds=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
STORE_ERRORS: Final = Family(
    name="store_errors",
    help="Turns that ended with an error, by its code.",
    labels=("service", "code"),
)
UPLOADS_ENDED: Final = Family(
    name="uploads_ended",
    help="Uploads that have ended: complete, expired or cancelled.",
    labels=("service", "state"),
)
UPLOADS_FAILED: Final = Family(
    name="uploads_failed",
    help="Uploads that were given up until somebody requeues them, by the code of their error.",
    labels=("code",),
)

# --- maintenance ------------------------------------------------------------------------------

SWEEPS: Final = Family(name="sweeps", help="Sweeps that came to their end.")
SESSIONS_REAPED: Final = Family(
    name="sessions_reaped",
    help="Sessions that ended uploads had left at their stores, removed by sweeps.",
)
RECONCILES: Final = Family(name="reconciles", help="Searches for leftovers, by workers.")
ORPHANS_REMOVED: Final = Family(
    name="orphans_removed", help="Things at the stores that no upload knew, removed by them."
)
ORPHAN_BYTES: Final = Family(name="orphan_bytes_removed", help="Their bytes.")
RECONCILE_FINDINGS: Final = Family(
    name="reconcile_findings",
    help="What else they found; each search finds again what nobody mends.",
    labels=("finding",),
)

# --- the front door ---------------------------------------------------------------------------

HTTP_REQUESTS: Final = Family(
    name="http_requests",
    help="Requests by method and first digit of the status; none: nobody waited for it.",
    labels=("method", "status"),
)
HTTP_SECONDS: Final = Family(
    name="http_answer_seconds",
    help="How long an answer took to begin, from the beginning of its request.",
    labels=("method",),
    bounds=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
HTTP_BYTES: Final = Family(
    name="http_bytes_received", help="Bytes of requests' bodies, whatever became of them."
)
HTTP_UNAVAILABLE: Final = Family(
    name="http_unavailable",
    help="Requests that were answered 503, by the code of the error.",
    labels=("code",),
)

#: All of them, in the order of the documentation.
ALL: Final = (
    *(UPLOADS_CREATED, BYTES_RECEIVED),
    *(WAKEUPS, NEEDLESS_WAKEUPS),
    *(TURNS, TAKEOVERS, FENCE_REJECTIONS, PARTS_STORED, BYTES_STORED, PART_SECONDS),
    *(STORE_ERRORS, UPLOADS_ENDED, UPLOADS_FAILED),
    *(SWEEPS, SESSIONS_REAPED, RECONCILES, ORPHANS_REMOVED, ORPHAN_BYTES, RECONCILE_FINDINGS),
    *(HTTP_REQUESTS, HTTP_SECONDS, HTTP_BYTES, HTTP_UNAVAILABLE),
)
