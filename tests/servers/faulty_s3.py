"""An S3 that answers as it is told; see ``scripted``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers import scripted
from tests.servers.operations import operation_of
from tests.servers.scripted import (
    Answer,
    Handler,
    ScriptedServer,
    after,
    answer,
    lose_answer,
    reset_after,
    stall,
    trickle,
)

__all__ = [
    "Answer",
    "FaultyS3",
    "Handler",
    "after",
    "answer",
    "error",
    "lose_answer",
    "reset_after",
    "running",
    "stall",
    "trickle",
]

FaultyS3 = ScriptedServer


def operation(handler: Handler) -> str:
    """The same of a request that a server is about to answer."""
    return operation_of(handler.command, handler.path)


def error(status: int, code: str) -> Answer:
    """An error as S3 words it."""
    return answer(status, f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>")


@contextmanager
def running() -> Iterator[FaultyS3]:
    """A server on a free port."""
    with scripted.running(operation) as server:
        yield server
