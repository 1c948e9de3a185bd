"""``News``: the events of one upload, from a position on. Knows no status and no protocol.

It only reads; who reads keeps the pace, and may look without waiting.
"""

from __future__ import annotations

import time
from typing import Final

from chunkferry.services import Records
from chunkferry.state import TERMINAL
from chunkferry.stream import Event

#: How often a silent upload is looked up, in seconds: it may have vanished with its events.
_LOOK_EVERY: Final = 5.0


class News:
    """What happened to an upload after the event ``after``."""

    def __init__(self, records: Records, upload_id: str, after: str | None = None) -> None:
        """Begin after the event of that id; "0" for all that are kept; None with how it stands."""
        self.upload_id: Final = upload_id
        #: Id of the last event that is known.
        self.after = after
        self._records: Final = records
        self._looked_at = -_LOOK_EVERY

    def look(self, block_ms: int | None = None) -> list[Event]:
        """The next events, oldest first, without going on; none if there are no news.

        Args:
            block_ms: how long to wait for news; None for not at all.

        Raises:
            UploadNotFound: the upload is known no more.
            RedisUnavailable: try again.
        """
        if self.after is None:
            return [self._present()]
        if events := self._records.events(self.upload_id, self.after, block_ms):
            return events
        if time.monotonic() < self._looked_at + _LOOK_EVERY:
            return []
        present = self._present()
        self._looked_at = time.monotonic()
        # Nothing follows the end: who knows it already is told once more. And a Redis that came
        # back without its newest events goes on from older ones.
        is_news = present.state in TERMINAL or _moment(present.event_id) < _moment(self.after)
        return [present] if is_news else []

    def read(self, block_ms: int | None = None) -> list[Event]:
        """The same, and go on after them."""
        events = self.look(block_ms)
        if events:
            self.after = events[-1].event_id
        return events

    def knows(self, event: Event) -> bool:
        """True if ``event`` does not come after the last one that is known."""
        return self.after is not None and _moment(event.event_id) <= _moment(self.after)

    def _present(self) -> Event:
        # The position comes first: what happens in between is told twice, not never.
        position = self._records.last_event_id(self.upload_id)
        upload = self._records.get(self.upload_id)
        return Event(
            event_id=position,
            state=upload.state,
            received=upload.received,
            stored=upload.stored,
            length=upload.length,
            error=upload.error,
            error_code=upload.error_code,
        )


def _moment(event_id: str) -> tuple[int, int]:
    """An event's id as what Redis orders it by."""
    milliseconds, _, count = event_id.partition("-")
    return int(milliseconds), int(count or 0)
