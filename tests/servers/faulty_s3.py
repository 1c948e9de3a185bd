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
    """The S3 operation of a request."""
    query = parse_qs(urlsplit(handler.path).query, keep_blank_values=True)
    kind = next((name for name in ("partNumber", "uploadId", "uploads") if name in query), "")
    return f"{handler.command} {kind}".strip()


def error(status: int, code: str) -> Answer:
    """An error as S3 words it."""
    return answer(status, f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>")


@contextmanager
def running() -> Iterator[FaultyS3]:
    """A server on a free port."""
    with scripted.running(operation) as server:
        yield server
