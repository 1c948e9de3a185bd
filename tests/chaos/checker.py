"""The judge of a chaos run: each function takes what is there at the end and names what is wrong.

Knows no faults. An empty list of complaints means that a promise was kept.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, cast

import redis
from tests.chaos.record import Fate, Line
from tests.chaos.work import Planned
from tests.servers.stores import RealStore
from tests.servers.witness import Entry

from chunkferry.services import Service

#: Errors that are not retryable, but say what to do: go on at ``expected``; begin anew; look at
#: ``state``.
ACTIONABLE: Final = frozenset({"offset_mismatch", "upload_not_found", "upload_closed"})

#: Keys that may stand there without a TTL while uploads are known: see docs/protocol.md.
_PERMANENT: Final = ("due", "graves")


def wrong_objects(
    uploads: Iterable[tuple[Fate, Planned]], store: RealStore, *, loses: bool
) -> list[str]:
    """Acknowledged uploads without their object, cancelled ones with it, objects with other bytes.

    Args:
        uploads: what producers recorded, with what they were to send.
        store: where the objects are.
        loses: Redis lost its newest second at times: cancellations and creations with it.
    """
    service = store.open()
    wrong = []
    for fate, plan in uploads:
        there = service.exists(plan.filepath)
        gone = fate.cancelled and not fate.complete
        expected = fate.complete if fate.cancelling else fate.acknowledged
        if expected and not there:
            wrong.append(f"{plan.filepath}: acknowledged, but there is no object")
        if there and gone and not loses:
            wrong.append(f"{plan.filepath}: cancelled, but there is an object")
        if there and digest(service, plan.filepath) != hashlib.sha256(plan.content()).hexdigest():
            wrong.append(f"{plan.filepath}: the object does not have the bytes that were sent")
    return wrong


def digest(service: Service, filepath: str) -> str:
    """SHA-256 of an object."""
    seen = hashlib.sha256()
    with service.get(filepath) as found:
        while piece := found.read(1 << 20):
            seen.update(piece)
    return seen.hexdigest()


def changed_parts(entries: Iterable[Entry]) -> list[str]:
    """Parts that were ever sent to the store with different bytes.

    Where there are none, a former holder's late request cannot change anything, whenever it
    lands.
    """
    seen: dict[tuple[str, int], tuple[int, int]] = {}
    wrong = []
    for entry in entries:
        content = (entry.size, entry.crc32c)
        first = seen.setdefault((entry.upload_id, entry.number), content)
        if first != content:
            wrong.append(
                f"{entry.upload_id}: part {entry.number} was sent as {first} (size, CRC32C)"
                f" and as {content}"
            )
    return wrong


def misordered(entries: Iterable[Entry]) -> list[str]:
    """Parts begun out of order: within a turn, or before their predecessor was ever stored."""
    last: dict[str, int] = {}
    stored = defaultdict[str, set[int]](set)
    begun = defaultdict[str, set[int]](set)
    wrong = []
    for entry in entries:
        number, before = entry.number, last.get(entry.turn)
        if before is not None and number not in {before, before + 1}:
            wrong.append(f"{entry.upload_id}: one turn went from part {before} to part {number}")
        # A holder that was killed right after its part was stored could not say so any more; a
        # part that was begun may be that one.
        known = stored[entry.upload_id] | begun[entry.upload_id]
        if before is None and number > 1 and number - 1 not in known:
            wrong.append(f"{entry.upload_id}: part {number} came before part {number - 1}")
        last[entry.turn] = number
        (stored if entry.done else begun)[entry.upload_id].add(number)
    return wrong


def holders_overlap(entries: list[Entry]) -> list[tuple[Entry, Entry]]:
    """Pairs of finished stores of one upload, by different workers, at the same time."""
    begun: dict[tuple[str, int, str], Entry] = {}
    spans = defaultdict[str, list[tuple[Entry, Entry]]](list)
    for entry in entries:
        key = (entry.upload_id, entry.number, entry.turn)
        if not entry.done:
            begun[key] = entry
        elif key in begun:
            spans[entry.upload_id].append((begun.pop(key), entry))
    return [
        (first[0], second[0])
        for upload in spans.values()
        for first, second in itertools.pairwise(sorted(upload, key=lambda span: span[0].at))
        if first[0].pid != second[0].pid and second[0].at < first[1].at
    ]


def repeats(entries: Iterable[Entry]) -> int:
    """How many parts were sent again that had been stored before."""
    stored, count = set[tuple[str, int]](), 0
    for entry in entries:
        key = (entry.upload_id, entry.number)
        if entry.done:
            stored.add(key)
        elif key in stored:
            count += 1
    return count


def lasting_keys(client: redis.Redis) -> list[str]:
    """Keys of uploads that will not vanish by themselves."""
    return [
        f"key {key} has no TTL"
        for key in upload_keys(client)
        if client.ttl(key) == -1 and key.partition("}:")[2] not in _PERMANENT
    ]


def upload_keys(client: redis.Redis) -> list[str]:
    """All keys of uploads."""
    return sorted(key.decode() for key in client.scan_iter(match="{cf:*", count=1000))


def unsearched(client: redis.Redis) -> list[str]:
    """Ended uploads whose store was not looked at for late effects yet."""
    return [
        f"{upload_id.decode()}: the sweep has not looked at its grave"
        for key in upload_keys(client)
        if key.endswith("}:graves")
        for upload_id in cast("list[bytes]", client.zrange(key, 0, -1))
    ]


def useless_errors(lines: Iterable[Line]) -> list[str]:
    """Errors that a producer got and cannot act on."""
    return [
        f"producer {line.producer}, upload {line.number}: {line.code}: {line.text}"
        for line in lines
        if line.step == "error" and not line.retryable and line.code not in ACTIONABLE
    ]


def unanswered(fates: Mapping[tuple[int, int], Fate]) -> list[str]:
    """Uploads whose producers never learnt what became of them."""
    return [
        f"producer {fate.producer}, upload {fate.number}: neither acknowledged nor cancelled"
        for fate in fates.values()
        if not (fate.acknowledged or fate.cancelled)
    ]


def leftovers(store: RealStore) -> list[str]:
    """Unfinished sessions and files."""
    return [f"left at the store: {name}" for name in store.leftovers()]
