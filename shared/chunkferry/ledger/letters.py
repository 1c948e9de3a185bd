"""Dead letters: what could not be told, in two streams. Knows nobody who is told, nor how.

Moving a letter from one stream to the other may double it, and never loses it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final, cast

import redis

from chunkferry import connection, keys
from chunkferry.moves import Letter
from chunkferry.parts import Grid
from chunkferry.state import State
from chunkferry.upload import Change, ChunkUpload

log = logging.getLogger(__name__)

#: Letters kept.
_MOST: Final = 1000
_TTL: Final = timedelta(days=30)


class RedisLetters:
    """What could not be told; see ``services.Letters``."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def add(self, letter: Letter) -> None:
        """One more."""
        self._add(keys.LETTERS, letter)

    def dead(self) -> list[Letter]:
        """All that wait for somebody to decide, oldest first."""
        return self._read(keys.LETTERS, None)

    def send_again(self, letter: Letter) -> None:
        """Have a dead letter told once more."""
        self._add(keys.AGAIN, letter)
        with connection.translated():
            self._client.xdel(keys.LETTERS, letter.letter_id)

    def waiting(self, limit: int = 10) -> list[Letter]:
        """Letters to be told once more."""
        return self._read(keys.AGAIN, limit)

    def settle(self, letter: Letter, error: str = "") -> None:
        """A letter of ``waiting`` was told, or is dead again."""
        if error:
            self.add(replace(letter, error=error, attempts=letter.attempts + 1))
        with connection.translated():
            self._client.xdel(keys.AGAIN, letter.letter_id)

    def _add(self, name: str, letter: Letter) -> None:
        with connection.translated():
            self._client.xadd(name, {"letter": dump(letter)}, maxlen=_MOST, approximate=False)
            self._client.pexpire(name, _TTL)

    def _read(self, name: str, limit: int | None) -> list[Letter]:
        # More than the limit: those that cannot be read must not stand in the way of others.
        with connection.translated():
            found = cast("list[Any]", self._client.xrange(name))
        letters = (_readable(letter_id.decode(), values) for letter_id, values in found)
        return list(islice(filter(None, letters), limit))


def _readable(letter_id: str, values: Mapping[bytes, bytes]) -> Letter | None:
    """The letter of an entry; None, with a word in the log, if it is written some other way."""
    try:
        return load(letter_id, values[b"letter"])
    except (KeyError, TypeError, ValueError) as exc:
        log.warning(
            "A dead letter cannot be read (%s); a newer release may have written it.",
            type(exc).__name__,
            extra={"action": "tell", "letter_id": letter_id},
        )
        return None


def dump(letter: Letter) -> str:
    """A letter as JSON, without what is secret."""
    upload = letter.upload
    record = {name: getattr(letter, name) for name in _FIELDS}
    told = {name: getattr(upload, name) for name in _OF_UPLOAD}
    times = {name: getattr(upload, name).timestamp() for name in ("created_at", "expiry")}
    history = [[change.index, change.state, change.time.timestamp()] for change in upload.history]
    return json.dumps(
        {
            **record,
            "time": letter.time.timestamp(),
            "upload": {**told, **times, "grid": upload.grid.dump(), "history": history},
        },
        default=dict,
    )


_FIELDS: Final = ("event_id", "kind", "sink", "sink_name", "index", "error", "attempts")
_OF_UPLOAD: Final = (
    *("upload_id", "filepath", "service", "state", "length", "received", "stored"),
    *("content_type", "metadata", "notes", "error", "error_code", "epoch", "crc32c", "etag"),
)


def load(letter_id: str, text: str | bytes) -> Letter:
    """The letter that ``dump`` made a text of."""
    record = json.loads(text)
    upload = record.pop("upload")
    for name in ("created_at", "expiry"):
        upload[name] = _time(upload[name])
    upload["state"], upload["grid"] = State(upload["state"]), Grid.load(upload["grid"])
    upload["history"] = tuple(
        Change(index=index, state=State(state), time=_time(at))
        for index, state, at in upload["history"]
    )
    record["time"] = _time(record["time"])
    return Letter(letter_id=letter_id, upload=ChunkUpload(**upload), **record)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
