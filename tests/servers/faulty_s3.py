"""An S3 that answers as it is told; see ``scripted``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from tests.servers import scripted
from tests.servers.scripted import (
    Answer,
    Handler,
    ScriptedServer,
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
    "answer",
    "error",
    "lose_answer",
    "operation_of",
    "reset_after",
    "running",
    "stall",
    "trickle",
]

FaultyS3 = ScriptedServer


def operation_of(method: str, target: str) -> str:
    """What a request with this method and target asks S3 for."""
    query = parse_qs(urlsplit(target).query, keep_blank_values=True)
    kind = next((name for name in ("partNumber", "uploadId", "uploads") if name in query), "")
    return f"{method} {kind}".strip()


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
