"""``Listing``: the newest uploads, for however many look at them, without a scan for each.

Knows no request: who may see what is the caller's business. There is no index by time, so finding
the newest reads all uploads (about 0.1 ms each); hence one look at a time, shared by all who ask.
Where there are many, most looks only go through those that are shown already.
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

from chunkferry.errors import UploadNotFound
from chunkferry.manager import ChunkManager
from chunkferry.state import State
from chunkferry.tus.door import Door
from chunkferry.upload import ChunkUpload

#: Most uploads of one answer.
LIMIT: Final = 200
#: How many times as long as a look took its answer is good for: a tenth of a core is enough.
_REST: Final = 9.0
#: How long after a question its owner is looked for along with others, in seconds.
_INTEREST: Final = 30.0
#: How many uploads are read together in the time that one takes by itself.
_TOGETHER: Final = 4

#: Whose uploads: a principal's name, or None for everybody's.
Owner = str | None
#: The newest first, one more than ``LIMIT`` where there are more; by state, None for all states.
Newest = Mapping[State | None, tuple[ChunkUpload, ...]]


class Listing:
    """What there is to see; one for each process."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._lock = Lock()
        self._latest = Look()
        #: The latest look that went through all uploads.
        self._whole = Look()
        #: When who was asked about last.
        self._asked: dict[Owner, float] = {}

    async def newest(self, owner: Owner, *, max_age: float = 0.0) -> Newest:
        """The newest uploads of ``owner``.

        Args:
            owner: whose.
            max_age: how old the answer may be, in seconds. It is older where looking takes long:
                new uploads show after a second among 1 000, and after ten among 10 000.

        Raises:
            RedisUnavailable: there is nothing to be seen now.
        """
        self._asked[owner] = time.monotonic()
        if not self._latest.serves(owner, max_age):
            async with self._lock:
                # Whoever had the lock before has looked for us, too.
                if not self._latest.serves(owner, max_age):
                    # The wait may have been longer than anybody's interest.
                    self._asked[owner] = time.monotonic()
                    self._latest = await self._door.call(self._look, self._owners())
        return self._latest.found[owner]

    def _owners(self) -> list[Owner]:
        """Whoever will ask again soon, as streams do."""
        since = time.monotonic() - _INTEREST
        self._asked = {owner: at for owner, at in self._asked.items() if at > since}
        return list(self._asked)

    def _look(self, owners: list[Owner]) -> Look:
        manager = self._door.manager
        if not self._whole.rests(owners) or (again := self._latest.again(manager)) is None:
            again = self._whole = look(manager, owners)
        return again


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at the uploads brought. Times are in seconds."""

    began: float = float("-inf")
    #: How long it took.
    took: float = 0.0
    #: How much of that was work of this process: on a busy machine, little.
    cost: float = 0.0
    #: How many uploads there are.
    count: int = 0
    found: Mapping[Owner, Newest] = field(default_factory=dict)

    def serves(self, owner: Owner, max_age: float) -> bool:
        """Whether it is new enough, and of this owner."""
        age = time.monotonic() - self.began - self.took
        return owner in self.found and age <= max(max_age, self.cost * _REST)

    def rests(self, owners: Iterable[Owner]) -> bool:
        """Whether it is too early to look for the newest uploads of these owners again."""
        return all(self.serves(owner, 0.0) for owner in owners)

    def again(self, manager: ChunkManager) -> Look | None:
        """The same uploads as they are now; None where a whole look costs no more."""
        began, cpu = time.monotonic(), time.thread_time()
        shown = (upload for newest in self.found.values() for upload in newest[None])
        changing = {upload.upload_id for upload in shown if not upload.has_ended}
        if len(changing) * _TOGETHER > self.count:
            return None
        now = {upload_id: _get(manager, upload_id) for upload_id in changing}
        found = {}
        for owner, known in self.found.items():
            uploads = {one.upload_id: one for group in known.values() for one in group}
            renewed = (now.get(upload_id, one) for upload_id, one in uploads.items())
            found[owner] = newest(filter(None, renewed), [None])[None]
        return Look(
            began=began,
            took=time.monotonic() - began,
            cost=time.thread_time() - cpu,
            count=self.count,
            found=found,
        )


def look(manager: ChunkManager, owners: Iterable[Owner]) -> Look:
    """Look at all uploads."""
    began, cpu, count = time.monotonic(), time.thread_time(), 0

    def counted() -> Iterator[ChunkUpload]:
        nonlocal count
        for upload in manager.list_uploads():
            count += 1
            yield upload

    found = newest(counted(), owners)
    return Look(
        began=began,
        took=time.monotonic() - began,
        cost=time.thread_time() - cpu,
        count=count,
        found=found,
    )


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


def _get(manager: ChunkManager, upload_id: str) -> ChunkUpload | None:
    try:
        return manager.get(upload_id)
    except UploadNotFound:
        return None
