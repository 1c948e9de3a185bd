"""What a version's scripts write: the fields of its hashes and events, read from their text."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path


def written_fields(scripts: Path) -> dict[str, set[str]]:
    """Kind of record (``intake``, ``work``, ``events``) -> the fields that any script gives it."""
    found = defaultdict[str, set[str]](set)
    for file in scripts.glob("*.lua"):
        text = re.sub(r"--.*", "", file.read_text())
        for arguments in _calls(text, "put"):
            # A function of the prelude passes its own hash on; its callers are what counts.
            if arguments[0].startswith("key."):
                found[arguments[0].removeprefix("key.")] |= _literals(arguments[1::2])
        for arguments in _calls(text, "redis.call"):
            if arguments[0] == "'XADD'":
                found["events"] |= _literals(arguments[arguments.index("'*'") + 1 :: 2])
            if arguments[0] == "'HSET'" and arguments[1] not in {"hash", "key.receipts"}:
                found[arguments[1].removeprefix("key.")] |= _literals(arguments[2::2])
    return dict(found)


def _literals(arguments: list[str]) -> set[str]:
    return {text.strip("'") for text in arguments if text.startswith("'")}


def _calls(text: str, function: str) -> Iterator[list[str]]:
    """The arguments of each call of ``function``, as written."""
    for match in re.finditer(rf"(?<![\w.]){re.escape(function)}\(", text):
        depth, begin, arguments = 1, match.end(), list[str]()
        for at in range(match.end(), len(text)):
            depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(text[at], 0)
            if depth == 0 or (depth == 1 and text[at] == ","):
                arguments.append(text[begin:at].strip())
                begin = at + 1
            if depth == 0:
                break
        yield arguments
