"""The judge of a chaos run sees what it is there to see."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from tests.chaos import checker
from tests.chaos.record import Fate, Line, Record, fates
from tests.chaos.work import Planned, planned
from tests.servers.redis import RedisServer
from tests.servers.stores import RealStore, local_store
from tests.servers.witness import Entry

PLAN = Planned(filepath="a.bin", size=1000, late=False, seed=1)
KNOWN = Fate(producer=0, number=0, acknowledged=True)
ENTRY = Entry(upload_id="u", number=1, pid=1, turn="t", size=5, crc32c=7, at=1.0, done=False)


@pytest.fixture
def store(tmp_path: Path) -> RealStore:
    return local_store(tmp_path / "objects")


def holding(store: RealStore, content: bytes) -> RealStore:
    """The store with an object at the planned path."""
    store.open().put(PLAN.filepath, io.BytesIO(content))
    return store


def course(*steps: tuple[int, str, bool]) -> list[Entry]:
    """A journal: part number, turn, done."""
    return [
        replace(ENTRY, number=number, turn=turn, pid=ord(turn), done=done, at=float(at))
        for at, (number, turn, done) in enumerate(steps)
    ]


def test_right_object(store: RealStore) -> None:
    """The bytes that were sent are no complaint."""
    holding(store, PLAN.content())
    assert checker.wrong_objects([(KNOWN, PLAN)], store, loses=False) == []


def test_wrong_digest(store: RealStore) -> None:
    """One flipped byte is seen."""
    content = bytearray(PLAN.content())
    content[500] ^= 1
    (complaint,) = checker.wrong_objects(
        [(KNOWN, PLAN)], holding(store, bytes(content)), loses=False
    )
    assert complaint == "a.bin: the object does not have the bytes that were sent"


def test_missing_object(store: RealStore) -> None:
    """An acknowledged upload without an object is seen."""
    (complaint,) = checker.wrong_objects([(KNOWN, PLAN)], store, loses=False)
    assert complaint == "a.bin: acknowledged, but there is no object"


def test_object_of_a_cancelled_upload(store: RealStore) -> None:
    """A cancelled upload that left an object is seen."""
    cancelled = Fate(producer=0, number=0, cancelling=True, cancelled=True)
    found = holding(store, PLAN.content())
    assert checker.wrong_objects([(cancelled, PLAN)], found, loses=False) == [
        "a.bin: cancelled, but there is an object"
    ]


def test_leftover_session(store: RealStore, tmp_path: Path) -> None:
    """An unfinished file in the store is seen."""
    unfinished = tmp_path / "objects" / ".chunkferry"
    unfinished.mkdir(parents=True)
    assert checker.leftovers(store) == []
    (unfinished / "session").touch()
    assert checker.leftovers(store) == ["left at the store: session"]


def test_changed_part() -> None:
    """A part that was sent again with other bytes is seen, whoever sent it."""
    again = replace(ENTRY, pid=2, turn="s", at=2.0)
    assert checker.changed_parts([ENTRY, again]) == []
    (complaint,) = checker.changed_parts([ENTRY, replace(again, crc32c=8)])
    assert "part 1 was sent as (5, 7) (size, CRC32C) and as (5, 8)" in complaint


def test_order() -> None:
    """Parts in order, repeated by a successor, are no complaint."""
    steps = [(1, "a", False), (1, "a", True), (2, "a", False), (1, "b", True), (2, "b", False)]
    assert checker.misordered(course(*steps)) == []


@pytest.mark.parametrize(
    "steps",
    [
        [(1, "a", False), (1, "a", True), (3, "a", False)],
        [(1, "a", False), (1, "a", True), (2, "a", False), (1, "a", False)],
        [(1, "a", False), (1, "a", True), (3, "b", False)],
    ],
    ids=["left out", "backwards", "too early"],
)
def test_misorder(steps: list[tuple[int, str, bool]]) -> None:
    """A part left out or sent in the wrong order is seen."""
    assert len(checker.misordered(course(*steps))) == 1


def test_interleaving() -> None:
    """Two holders that store at the same time are seen; one after the other is fine."""
    a, b, c, d = course((1, "a", False), (1, "a", True), (2, "b", False), (2, "b", True))
    assert checker.holders_overlap([a, b, c, d]) == []
    crossed = sorted([a, replace(b, at=2.5), c, d], key=lambda entry: entry.at)
    assert checker.holders_overlap(crossed) == [(a, c)]


def test_repeats() -> None:
    """A part counts as repeated once it is sent after it was stored."""
    assert checker.repeats(course((1, "a", False), (1, "b", False), (1, "b", True))) == 0
    assert checker.repeats(course((1, "a", False), (1, "a", True), (1, "b", False))) == 1


def test_key_without_ttl(redis_server: RedisServer) -> None:
    """A key of an upload without a TTL is seen; the permanent ones, and those with one, pass."""
    client = redis_server.client(db=7)
    client.flushdb()
    client.set("{cf:1}:path:x", "u", ex=60)
    client.zadd("{cf:1}:due", {"u": 1})
    assert checker.lasting_keys(client) == []
    assert checker.upload_keys(client) == ["{cf:1}:due", "{cf:1}:path:x"]
    client.hset("{cf:1}:intake:u", "state", "complete")
    assert checker.lasting_keys(client) == ["key {cf:1}:intake:u has no TTL"]
    client.flushdb()


def error(**changes: object) -> Line:
    """A producer's note of an error."""
    line = Line(producer=1, number=2, step="error", pid=3, at=4.0, code="redis_refused")
    return replace(line, **changes)  # type: ignore[arg-type]  # the tests below know the fields


def test_useless_errors() -> None:
    """An error that says neither "again" nor what else to do is seen."""
    good = [error(retryable=True), error(code="offset_mismatch")]
    assert checker.useless_errors(good) == []
    assert checker.useless_errors([*good, error(text="no")]) == [
        "producer 1, upload 2: redis_refused: no"
    ]


def test_unanswered() -> None:
    """An upload whose producer never learnt what became of it is seen."""
    waiting = Fate(producer=0, number=1)
    assert checker.unanswered({(0, 0): KNOWN, (0, 1): waiting}) == [
        "producer 0, upload 1: neither acknowledged nor cancelled"
    ]


def test_record_of_a_killed_producer(tmp_path: Path) -> None:
    """A successor reads from the record how far an upload got."""
    record = Record(tmp_path, 0)
    record.write(0, "created", upload_id="u", received=0)
    record.write(0, "accepted", received=500)
    record.write(1, "created", upload_id="v", received=0)
    record.write(1, "acknowledged", received=10)
    found = fates(Record(tmp_path, 0).lines())
    assert (found[0, 0].upload_id, found[0, 0].accepted) == ("u", 500)
    assert [fate.acknowledged for fate in found.values()] == [False, True]


def test_work_follows_from_the_seed() -> None:
    """The same seed makes the same uploads, another one others."""
    assert planned(7, 1, 2) == planned(7, 1, 2)
    assert planned(7, 1, 2) != planned(8, 1, 2)
