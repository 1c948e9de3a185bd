"""What a comparison of a store with Redis finds: one finding for each thing. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final


class Verdict(StrEnum):
    """What is the case with one thing."""

    AGREES = "agrees"  #: store and Redis say the same
    YOUNG = "young"  #: unfinished, and too young to judge
    IN_USE = "in_use"  #: unfinished, and an upload that has not ended may need it
    FOREIGN = "foreign"  #: unfinished, and perhaps another program's: left alone
    ORPHAN = "orphan"  #: unfinished, and no upload knows it
    REMOVED = "removed"  #: an orphan that was removed
    STUCK = "stuck"  #: the store did not let it be looked at, or removed
    LOST = "lost"  #: the store has forgotten the session of an upload that has not ended
    STORED = "stored"  #: the object is whole, and Redis does not know yet
    WOKEN = "woken"  #: the same, and a worker was asked to look at it
    MISSING = "missing"  #: the upload is complete, and its object is not there any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    verdict: Verdict
    service: str
    #: Of the object, or of an unfinished file.
    filepath: str
    #: Empty where the store does not tell.
    upload_id: str = ""
    #: How long something unfinished has been there; None for an upload.
    age: timedelta | None = None
    #: Bytes that an orphan takes up, or took up.
    size: int = 0
    #: What is to be known beside the verdict, as a sentence; empty if nothing.
    reason: str = ""


#: What asks for somebody's attention.
WRONG: Final = frozenset(
    {Verdict.ORPHAN, Verdict.STUCK, Verdict.LOST, Verdict.STORED, Verdict.MISSING}
)


@dataclass(slots=True, kw_only=True)
class ReconcileReport:
    """What one search found: the result of the Celery task, as Flower shows it."""

    #: Unfinished things at the stores that were looked at.
    unfinished: int = 0
    #: Those that no upload knows, and that are still there.
    orphans: int = 0
    #: Those that were removed.
    removed: int = 0
    #: Bytes of orphans, removed ones included.
    size: int = 0
    #: Those that may be another program's.
    foreign: int = 0
    #: Uploads that were looked at.
    uploads: int = 0
    #: Whose session the store has forgotten.
    lost: int = 0
    #: Whose object is whole although Redis said otherwise.
    stored: int = 0
    #: Complete ones without an object.
    missing: int = 0
    #: What the stores did not let be looked at, or removed.
    stuck: int = 0
    #: Services whose stores cannot list what is unfinished.
    unlisted: list[str] = field(default_factory=list)
    #: True if the time was over before the end: the next search goes on from there.
    more: bool = False

    def count(self, finding: Finding) -> None:
        """Add one finding."""
        if finding.age is None:
            self.uploads += 1
        else:
            self.unfinished += 1
        match finding.verdict:
            case Verdict.ORPHAN:
                self.orphans += 1
            case Verdict.REMOVED:
                self.removed += 1
            case Verdict.FOREIGN:
                self.foreign += 1
            case Verdict.STUCK:
                self.stuck += 1
            case Verdict.LOST:
                self.lost += 1
            case Verdict.STORED | Verdict.WOKEN:
                self.stored += 1
            case Verdict.MISSING:
                self.missing += 1
        self.size += finding.size
