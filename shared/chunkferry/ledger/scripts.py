"""Runs the scripts for the ledger's roles: names to keys, foreign errors to ours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, cast

import redis

from chunkferry import connection, keys, lua
from chunkferry.errors import ChunkferryError, LeaseLost
from chunkferry.lua import SERVER_CLOCK, Script

__all__ = ["SERVER_CLOCK", "Scripts", "UnexpectedAnswer", "lease_lost", "milliseconds", "of"]

#: How long after a lease's end the sweep looks, in milliseconds.
SLACK: Final = 2000


_OF_UPLOAD: Final = {
    "intake": keys.intake,
    "work": keys.work,
    "parts": keys.parts,
    "receipts": keys.receipts,
    "events": keys.events,
}
_OF_SHARD: Final = {
    "due": keys.due,
    "filling": keys.filling,
    "ended": keys.ended,
    "graves": keys.graves,
}


class UnexpectedAnswer(ChunkferryError):
    """A script answered what its header does not name: versions are mixed, or a bug."""

    code = "unexpected_answer"

    def __init__(self, script: str, answer: list[str]) -> None:
        super().__init__(f"script {script} answered {answer[:1]}")


class Scripts:
    """The scripts, bound to one Redis."""

    def __init__(self, client: redis.Redis, clock: str) -> None:
        self.client = client
        self._clock = clock

    def __getitem__(self, name: str) -> Script:
        """The script of a move."""
        return lua.load(name, self._clock)

    def run(self, name: str, names: Mapping[str, str], args: Mapping[str, str | int]) -> list[str]:
        """Make a move; see its header for names and answers."""
        with connection.translated():
            return self[name].run(self.client, names, args)

    def now(self) -> int:
        """The clock of the scripts, in milliseconds."""
        with connection.translated():
            answer = self.client.eval(f"return {self._clock}", 0)
        seconds, micros = cast("list[bytes]", answer)
        return int(seconds) * 1000 + int(micros) // 1000


def of(upload_id: str, *names: str) -> dict[str, str]:
    """The keys of an upload by the names that script headers use."""
    shard = keys.shard_of(upload_id)
    return {
        name: _OF_UPLOAD[name](upload_id) if name in _OF_UPLOAD else _OF_SHARD[name](shard)
        for name in names
    }


def lease_lost(upload_id: str) -> LeaseLost:
    """The error of a worker that is no longer the holder."""
    return LeaseLost(f"upload {upload_id} is no longer held by this worker")


def milliseconds(span: timedelta | float) -> int:
    """A span of time, given as such or in seconds, in whole milliseconds."""
    return int((span.total_seconds() if isinstance(span, timedelta) else span) * 1000)
