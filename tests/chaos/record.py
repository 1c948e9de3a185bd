"""A producer's record: what it tried, what it was told, and what became of each upload.

Lines of JSON, one file per producer, written before and after each step; whoever succeeds a killed
producer reads how far it got. Knows nothing of stores and servers.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

#: ``begin``, ``created``, ``send``, ``accepted`` (up to a byte), ``acknowledged`` (all of it),
#: ``complete``, ``cancel``, ``cancelled``, ``gone`` (its record is no longer known), ``rewind``
#: (Redis knows less than it had acknowledged), ``error``.
Step = Literal[
    "begin",
    "created",
    "send",
    "accepted",
    "acknowledged",
    "complete",
    "cancel",
    "cancelled",
    "gone",
    "rewind",
    "error",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a record."""

    producer: int
    #: Which of the producer's uploads.
    number: int
    step: Step
    pid: int
    #: Seconds since the epoch.
    at: float
    upload_id: str = ""
    #: Bytes received so far.
    received: int = 0
    #: ``code`` of an error, or the name of a foreign one.
    code: str = ""
    retryable: bool = False
    text: str = ""


@dataclass(slots=True, kw_only=True)
class Fate:
    """What the record says of one upload."""

    producer: int
    number: int
    upload_id: str = ""
    #: Bytes that were accepted, at the most.
    accepted: int = 0
    acknowledged: bool = False
    complete: bool = False
    #: Its producer wants it gone.
    cancelling: bool = False
    #: It was seen cancelled, or forgotten after that was asked for.
    cancelled: bool = False

    def learn(self, step: Step, *, upload_id: str = "", received: int = 0) -> None:
        """Take in one line."""
        if upload_id and upload_id != self.upload_id:
            self.upload_id, self.accepted = upload_id, 0
        match step:
            case "accepted" | "created":
                self.accepted = max(self.accepted, received)
            case "rewind":
                self.accepted = received
            case "acknowledged":
                self.acknowledged = True
            case "complete":
                self.acknowledged = self.complete = True
            case "cancel":
                self.cancelling = True
            case "cancelled":
                self.cancelled = True


class Record:
    """The file of one producer."""

    def __init__(self, folder: Path, producer: int) -> None:
        self._path = folder / f"producer-{producer}.jsonl"
        self._producer = producer

    def write(self, number: int, step: Step, **details: Any) -> None:
        """Append one line. It stands there whole even if this process is killed next."""
        line = {"producer": self._producer, "number": number, "step": step, "pid": os.getpid()}
        text = json.dumps({**line, "at": time.time(), **details}) + "\n"
        with self._path.open("ab", buffering=0) as file:
            file.write(text.encode())

    def lines(self) -> list[Line]:
        """All lines so far."""
        if not self._path.exists():
            return []
        return [Line(**json.loads(line)) for line in self._path.read_text().splitlines()]


def read_all(folder: Path, producers: int) -> list[Line]:
    """The lines of all producers."""
    return [line for number in range(producers) for line in Record(folder, number).lines()]


def fates(lines: Iterable[Line]) -> dict[tuple[int, int], Fate]:
    """What became of each upload: (producer, number) -> its fate."""
    found: dict[tuple[int, int], Fate] = {}
    for line in lines:
        key = (line.producer, line.number)
        fate = found.setdefault(key, Fate(producer=line.producer, number=line.number))
        fate.learn(line.step, upload_id=line.upload_id, received=line.received)
    return found
