"""``Listing``: the newest uploads, for however many look at them, without a scan for each.

Knows no request: who may see what is the caller's business. There is no index by time, so each
look reads all uploads (about 0.1 ms each); hence one look at a time, shared by all who ask.
"""

from __future__ import annotations

import heapq
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from anyio import Lock

from chunkferry.state import State
from chunkferry.tus.door import Door
from chunkferry.upload import ChunkUpload

#: Most uploads of one answer.
LIMIT: Final = 200
#: How many times as long as a look took its answer is good for: a tenth of a core is enough.
_REST: Final = 9.0
#: How long after a question its owner is looked for along with others, in seconds.
_INTEREST: Final = 30.0

#: Whose uploads: a principal's name, or None for everybody's.
Owner = str | None
#: The newest first, one more than ``LIMIT`` where there are more; by state, None for all states.
Newest = Mapping[State | None, tuple[ChunkUpload, ...]]


class Listing:
    """What there is to see; one for each process."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._lock = Lock()
        #: When who was asked about last.
        self._asked: dict[Owner, float] = {}
        self._looked = _Look()

    async def newest(self, owner: Owner, *, max_age: float = 0.0) -> Newest:
        """The newest uploads of ``owner``.

        Args:
            owner: whose.
            max_age: how old the answer may be, in seconds; where looking takes long, it may be
                older, up to ten times as old as that takes.

        Raises:
            RedisUnavailable: there is nothing to be seen now.
        """
        self._asked[owner] = time.monotonic()
        if not self._looked.serves(owner, max_age):
            async with self._lock:
                # Whoever had the lock before has looked for us, too.
                if not self._looked.serves(owner, max_age):
                    self._looked = await self._door.call(self._look, self._owners())
        return self._looked.found[owner]

    def _owners(self) -> list[Owner]:
        """Whoever will ask again soon, as streams do."""
        since = time.monotonic() - _INTEREST
        self._asked = {owner: at for owner, at in self._asked.items() if at > since}
        return list(self._asked)

    def _look(self, owners: list[Owner]) -> _Look:
        began = time.monotonic()
        found = newest(self._door.manager.list_uploads(), owners)
        return _Look(began=began, took=time.monotonic() - began, found=found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What one look at all uploads brought. Times are in seconds."""

    began: float = float("-inf")
    took: float = 0.0
    found: Mapping[Owner, Newest] = field(default_factory=dict)

    def serves(self, owner: Owner, max_age: float) -> bool:
        """Whether it is new enough, and of this owner."""
        age = time.monotonic() - self.began
        return owner in self.found and age <= self.took + max(max_age, self.took * _REST)


def newest(uploads: Iterable[ChunkUpload], owners: Iterable[Owner]) -> dict[Owner, Newest]:
    """The newest of ``uploads`` for each of ``owners``; never holds many more than it returns."""
    found = {owner: _Heaps() for owner in owners}
    for upload in uploads:
        for owner in (None, upload.notes.get("principal", "")):
            if owner in found:
                found[owner].add(upload)
    return {owner: dict(heaps.sorted()) for owner, heaps in found.items()}


class _Heaps:
    """The newest uploads in all states, and in each."""

    def __init__(self) -> None:
        self._heaps: defaultdict[State | None, list[tuple[datetime, str, ChunkUpload]]]
        self._heaps = defaultdict(list)

    def add(self, upload: ChunkUpload) -> None:
        """Take it in, if it is new enough."""
        item = (upload.created_at, upload.upload_id, upload)
        for state in (None, upload.state):
            heap = self._heaps[state]
            if len(heap) <= LIMIT:
                heapq.heappush(heap, item)
            else:
                heapq.heappushpop(heap, item)

    def sorted(self) -> Iterator[tuple[State | None, tuple[ChunkUpload, ...]]]:
        """All of them, the newest first; empty where there are none."""
        for state in (None, *State):
            yield state, tuple(item[2] for item in sorted(self._heaps[state], reverse=True))
