"""The moves of an upload as Lua scripts, called by names. Only the ledger imports this.

A script file opens with a header that names its keys and arguments; ``load`` turns those names
into the tables ``key`` and ``arg`` that its body uses, so no position is ever counted by hand.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final, Protocol, cast

from redis.exceptions import NoScriptError

_HEADER_LINE: Final = re.compile(r"^-- (KEYS|ARGV|RETURNS|MOVES|FLAGS)\s+(.+)$", re.MULTILINE)

#: What the server's clock reads, in the prelude; tests put a clock of their own in its place.
SERVER_CLOCK: Final = "redis.call('TIME')"


class _Client(Protocol):
    def execute_command(self, *args: object) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One move, ready to be called."""

    name: str
    keys: tuple[str, ...]
    args: tuple[str, ...]
    returns: tuple[str, ...]
    #: state -> states, as the header says.
    moves: Mapping[str, frozenset[str]]
    #: What follows the header, as written.
    body: str
    #: What Redis gets.
    source: str
    sha: str

    def command(
        self, keys: Mapping[str, str], args: Mapping[str, str | int], *, whole: bool
    ) -> tuple[str | int, ...]:
        """The Redis command that makes the move.

        Args:
            keys: a Redis key for each name in the header.
            args: a value for each name in the header.
            whole: send the source itself (EVAL) instead of its digest. Needed inside MULTI,
                where an unknown digest would fail after its neighbours have taken effect.

        Raises:
            TypeError: the names are not those of the header.
        """
        if keys.keys() != set(self.keys) or args.keys() != set(self.args):
            msg = f"{self.name} takes keys {self.keys} and arguments {self.args}"
            raise TypeError(msg)
        return (
            "EVAL" if whole else "EVALSHA",
            self.source if whole else self.sha,
            len(self.keys),
            *(keys[name] for name in self.keys),
            *(args[name] for name in self.args),
        )

    def run(
        self, client: _Client, keys: Mapping[str, str], args: Mapping[str, str | int]
    ) -> list[str]:
        """Make the move; the answer's first element is one of ``returns``."""
        try:
            answer = client.execute_command(*self.command(keys, args, whole=False))
        except NoScriptError:
            answer = client.execute_command(*self.command(keys, args, whole=True))
        return texts(answer)


def texts(answer: object) -> list[str]:
    """A script's answer as text."""
    return [
        item.decode() if isinstance(item, bytes) else str(item)
        for item in cast("list[object]", answer)
    ]


@cache
def load(name: str, clock: str = SERVER_CLOCK) -> Script:
    """The script ``<name>.lua`` beside this module.

    Args:
        name: of the move.
        clock: Lua expression for the time as {seconds, microseconds}.
    """
    folder = resources.files(__name__)
    text = (folder / f"{name}.lua").read_text()
    prelude = (folder / "prelude.lua").read_text().replace(SERVER_CLOCK, clock)
    header = dict(_HEADER_LINE.findall(text))
    keys, args = tuple(header["KEYS"].split()), tuple(header.get("ARGV", "").split())
    flags = f" flags={header['FLAGS']}" if "FLAGS" in header else ""
    body = _without_comments(text)
    tables = [_table("key", "KEYS", keys), _table("arg", "ARGV", args)]
    # Within MULTI the source travels each time.
    source = "\n".join([f"#!lua{flags}", *tables, _without_comments(prelude), body])
    return Script(
        name=name,
        keys=keys,
        args=args,
        returns=tuple(form.split()[0] for form in header["RETURNS"].split(" | ")),
        moves=_moves(header.get("MOVES", "")),
        body=body,
        source=source,
        sha=hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest(),
    )


def names() -> list[str]:
    """All moves."""
    files = (entry.name for entry in resources.files(__name__).iterdir())
    return sorted(
        file.removesuffix(".lua")
        for file in files
        if file.endswith(".lua") and file != "prelude.lua"
    )


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("-- "))


def _table(name: str, source: str, fields: tuple[str, ...]) -> str:
    entries = ", ".join(f"{field} = {source}[{i}]" for i, field in enumerate(fields, 1))
    return f"local {name} = {{{entries}}}"


def _moves(text: str) -> dict[str, frozenset[str]]:
    pairs = (move.split("->") for move in text.split(";") if move)
    return {start.strip(): frozenset(ends.split()) for start, ends in pairs}
