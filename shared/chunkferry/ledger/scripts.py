"""Runs the scripts for the ledger's roles: names to keys, foreign errors to ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import redis
from redis.exceptions import NoScriptError

from chunkferry import connection, keys, lua
from chunkferry.errors import ChunkferryError, LeaseLost
from chunkferry.lua import SERVER_CLOCK, Script

__all__ = [
    "SERVER_CLOCK",
    "Question",
    "Scripts",
    "UnexpectedAnswer",
    "lease_lost",
    "milliseconds",
    "of",
]

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
    "telling": keys.telling,
    "joins": keys.joins,
    "partials": keys.partials,
}


#: The keys and arguments of one call of a script, by the names in its header.
Question = tuple[Mapping[str, str], Mapping[str, str | int]]


class UnexpectedAnswer(ChunkferryError):
    """A script answered what its header does not name: versions are mixed, or a bug."""

    code = "unexpected_answer"

    def __init__(self, script: str, answer: list[str]) -> None:
        super().__init__(f"script {script} answered {answer[:1]}")


class Scripts:
    """The scripts, bound to one Redis, or to a cluster."""

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

    def ask(self, name: str, questions: Sequence[Question]) -> list[list[Any]]:
        """What a script answers to each question, in their order; asking twice changes nothing.

        The first key of a question is asked about only once. One round trip to each server.
        """
        about = {next(iter(names.values())): (names, args) for names, args in questions}

        def of_server(server: redis.Redis, keys_: Sequence[str]) -> Iterable[tuple[str, list[Any]]]:
            answers = self._ask(server, name, [about[key] for key in keys_])
            return zip(keys_, answers, strict=True)

        with connection.translated():
            found = dict(connection.each(self.client, list(about), of_server))
        return [found[key] for key in about]

    def _ask(
        self, server: redis.Redis, name: str, questions: Sequence[Question]
    ) -> list[list[Any]]:
        try:
            return self._pipe(server, name, questions, whole=False)
        except NoScriptError:
            # Whole, all of them: the server may forget the script again at any moment.
            return self._pipe(server, name, questions, whole=True)

    def _pipe(
        self, server: redis.Redis, name: str, questions: Sequence[Question], *, whole: bool
    ) -> list[list[Any]]:
        script = self[name]
        with server.pipeline(transaction=False) as pipe:
            for names, args in questions:
                pipe.execute_command(*script.command(names, args, whole=whole))  # type: ignore[no-untyped-call]  # redis-py
            return pipe.execute()


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
