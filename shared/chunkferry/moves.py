"""What goes into the moves of an upload, and the closed sets of what comes out. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from chunkferry.parts import Grid
from chunkferry.state import State
from chunkferry.upload import ChunkUpload


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An upload that is about to begin."""

    service: str
    filepath: str
    #: Bytes; None if not known yet.
    length: int | None
    grid: Grid
    #: How long its producer may stay silent.
    expiry: timedelta
    content_type: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    #: Of whoever takes the uploads in, such as whose it is; not kept with the object.
    notes: Mapping[str, str] = field(default_factory=dict)
    #: The uploads it is joined from, in this order; none for one that a producer sends.
    sources: tuple[str, ...] = ()
    #: How long its object waits to be joined with others, if that is what it is for.
    keep: timedelta | None = None
    #: How long it may take to receive all, however busy its producer is; None for any time.
    lasting: timedelta | None = None
    #: The same non-empty key for the same path means the same upload, unless that was removed.
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """An upload has begun, or had before."""

    upload_id: str
    #: True if a wake-up is to be sent.
    wake: bool
    #: True if the idempotency key named an earlier upload.
    existed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """Bytes are in the stream."""

    #: Offset of the next byte.
    received: int
    #: True if a wake-up is to be sent.
    wake: bool
    #: How many of the bytes were new, for those who count; 0 where they had come before.
    added: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How an upload stands, told to its holder."""

    state: State
    received: int
    #: None while not known.
    length: int | None


class Termination(StrEnum):
    """What came of noting that an object is being deleted."""

    NOTED = "noted"
    SAME = "same"  #: it was deleted before
    SUPERSEDED = "superseded"  #: another upload to the path has begun since


class Acquisition(StrEnum):
    """What came of trying to take a lease."""

    ACQUIRED = "acquired"
    TAKEN_OVER = "taken_over"  #: acquired from a holder whose lease ran out
    GONE = "gone"  #: the upload has ended
    FAILED = "failed"  #: it waits for requeue
    HELD = "held"  #: by another worker
    EARLY = "early"  #: its next try is later
    IDLE = "idle"  #: nothing to do
    QUARANTINED = "quarantined"  #: too many holders died: it has failed now


class Recording(StrEnum):
    """What came of recording a session."""

    RECORDED = "recorded"
    CLOSED = "closed"  #: the upload is being removed


class Release(StrEnum):
    """What a release found."""

    MORE = "more"  #: work is left: a wake-up is to be sent
    IDLE = "idle"


class Deferral(StrEnum):
    """What came of putting a try off."""

    DEFERRED = "deferred"
    FAILED = "failed"  #: that was the last attempt


class Ending(StrEnum):
    """How an upload ends."""

    COMPLETE = "complete"  #: the object was made and verified
    ADOPTED = "adopted"  #: the object was found in the store, with the upload's id
    ABORTED = "aborted"  #: everything of it was removed


class Rousing(StrEnum):
    """What the sweep found at an upload that was due."""

    GONE = "gone"
    HELD = "held"
    EARLY = "early"
    FAILED = "failed"
    IDLE = "idle"
    WAKE = "wake"  #: a wake-up is to be sent
    EXPIRED = "expired"  #: its producer went silent; a wake-up is to be sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The turn to tell of an upload's changes."""

    upload: ChunkUpload
    #: Fences the turn.
    nonce: str
    #: What whoever had the turn before wanted remembered; empty at first.
    told: str
    #: When it began, by the server's clock.
    began: datetime


class Told(StrEnum):
    """How a turn of telling ended."""

    MORE = "more"  #: something has changed meanwhile
    LATER = "later"  #: something is left, or may come
    OVER = "over"  #: the upload has ended, and all is told
    FENCED = "fenced"  #: another teller has the turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A change that somebody could not be told of."""

    #: In the list of dead letters; empty before it is there.
    letter_id: str = ""
    #: Of the event, as receivers get it.
    event_id: str
    #: Such as ``upload.complete``.
    kind: str
    #: Whom it was for: a name that holds no secret.
    sink: str
    #: What tellers know that receiver by.
    sink_name: str
    #: Number of the change it tells of.
    index: int
    #: What became of the last try, in a sentence.
    error: str
    #: Tries in all.
    attempts: int
    #: When it was given up.
    time: datetime
    #: The upload as it was then.
    upload: ChunkUpload
