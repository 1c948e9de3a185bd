"""Readiness: each answer is told, none is waited for long, and nobody is asked twice at once."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from chunkferry import readiness
from chunkferry.errors import StoreRefused
from chunkferry.readiness import OK, SILENT, Readiness
from chunkferry.services import ChunkFileService
from chunkferry.testing import MemoryFileService, MemoryStore


def fine() -> None:
    """Nothing is wrong."""


def refuses() -> None:
    raise StoreRefused("credentials of bucket b are refused")


def fails() -> None:
    raise ValueError("password=secret")


def test_each_answers_for_itself(caplog: pytest.LogCaptureFixture) -> None:
    """A word for each; the log says more, but nothing that is not ours to tell."""
    asked = Readiness({"redis": fine, "store a": refuses, "store b": fails})
    assert asked.ask() == {"redis": OK, "store a": "store_refused", "store b": "unexpected"}
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert sorted(told) == [
        "Not ready: store a: credentials of bucket b are refused",
        "Not ready: store b: ValueError",
    ]


def test_one_that_hangs_keeps_nobody_and_is_not_asked_again() -> None:
    """Else probes would pile up threads behind it; its answer counts once it is there."""
    go_on, asked = threading.Event(), list[float]()

    def hangs() -> None:
        asked.append(time.monotonic())
        go_on.wait()

    found = Readiness({"redis": fine, "store": hangs})
    for _ in range(3):
        assert found.ask(patience=0.01)["store"] == SILENT
    assert len(asked) == 1
    go_on.set()
    assert found.ask() == {"redis": OK, "store": OK}


def test_all_are_asked_side_by_side() -> None:
    """Nobody's answer waits for another's question: here each waits until all are asked."""
    meeting = threading.Barrier(3, timeout=10)
    found = Readiness({str(number): lambda: void(meeting.wait()) for number in range(3)})
    assert found.ask(patience=10) == {"0": OK, "1": OK, "2": OK}


def void(_: object) -> None:
    """Drop an answer."""


class WriteOnly:
    """The least that a store can be."""

    def chunk_file_service(self) -> ChunkFileService:
        return MemoryFileService(MemoryStore())


class OnlyExists(WriteOnly):
    """One that can be asked for a path, and does not answer well."""

    def exists(self, filepath: str) -> bool:
        raise StoreRefused(filepath)

    def get(self, filepath: str) -> None: ...
    def put(self, filepath: str, reader: object) -> None: ...
    def delete(self, filepath: str) -> None: ...


def test_stores_are_asked_what_they_can_answer() -> None:
    """One that cannot be asked is taken at its word."""
    readiness.require_store(MemoryStore())
    readiness.require_store(WriteOnly())
    with pytest.raises(StoreRefused):
        readiness.require_store(OnlyExists())
