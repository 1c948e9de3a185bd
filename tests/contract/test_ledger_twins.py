"""Random operations on the ledger in Redis and its twin in memory, side by side.

Producers, workers, zombies, the sweep, time and lost or doubled wake-ups take turns; after each
step both ledgers must have answered alike and stand alike, and the protocol's invariants hold.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, Final, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from tests.ledgers import (
    DATA,
    MemoryWorld,
    RedisWorld,
    World,
    draft,
    outcome_of,
    small_batches,
    small_settings,
)

from chunkferry import keys
from chunkferry.errors import ChunkferryError
from chunkferry.moves import Acquisition, Created, Ending, Release, Rousing
from chunkferry.services import Joins, StoredPart
from chunkferry.state import TERMINAL, State
from chunkferry.testing.book import Entry
from chunkferry.upload import ChunkUpload

#: (id in Redis, id in memory) of one upload.
Pair = tuple[str, str]

uploads: Bundle[Pair] = Bundle("uploads")
#: Few enough to meet again: a nonce used twice by one worker is a repeated call. "holder" stands
#: for the nonce of whoever holds the upload, so that most moves of workers are good ones.
nonces = st.sampled_from(["holder", "holder", "n1", "n2", "n3"])
#: Multiples of 10 s, so that no sum comes near ``result_ttl``, which Redis measures itself; they
#: do hit the other deadlines to the millisecond.
spans = st.sampled_from([0.1, 10, 20, 30, 60, 100, 300, 600, 2000])
_ID: Final = re.compile(r"\d+-[0-9a-f]{32}")
_WORKED_ON: Final = frozenset({State.RECEIVED, State.COMPLETING, State.ABORTING})


class Twins(RuleBasedStateMachine):
    """Does everything twice, and compares."""

    #: One for all runs.
    redis: ClassVar[RedisWorld]

    def __init__(self) -> None:
        super().__init__()
        self.redis.reset()
        self.memory = MemoryWorld(self.redis.settings)
        self.book = self.memory.ledger.intake._book
        self.pairs: list[Pair] = []
        self.names: dict[str, str] = {}
        #: Wake-ups on their way.
        self.wakes: list[Pair] = []
        self.stored: dict[Pair, int] = {}
        #: Workers that came to grief so far.
        self.mishaps = 0

    # --- doing it twice -----------------------------------------------------------------------

    def both(self, act: Callable[[World, str], object], pair: Pair = ("", "")) -> object:
        """Do it in both worlds; return what came of it."""
        outcomes = [
            outcome_of(partial(act, world, id_))
            for world, id_ in zip((self.redis, self.memory), pair, strict=True)
        ]
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, ChunkferryError):
                raise outcome
        theirs, ours = map(self.plain, outcomes)
        assert ours == theirs
        return outcomes[0]

    def holding(self, act: Callable[[World, str, str], object], pair: Pair, nonce: str) -> object:
        """Do it in both worlds as the worker with this nonce."""
        entry = self.book.find(pair[1])
        if nonce == "holder":
            nonce = (entry and entry.owner) or "n1"
        return self.both(lambda world, id_: act(world, id_, nonce), pair)

    def plain(self, outcome: object) -> str:
        """An outcome as text without what differs by design: the upload's random id."""
        text = repr(outcome)
        if isinstance(outcome, Exception):
            text = f"{type(outcome).__name__} {outcome.args} {outcome} {vars(outcome)}"
        return _ID.sub(lambda found: self.names.get(found[0], found[0]), text)

    def wake(self, pair: Pair, outcome: object) -> None:
        """Send the wake-up that an outcome asks for."""
        if outcome in (True, Release.MORE, Rousing.WAKE, Rousing.EXPIRED) or (
            getattr(outcome, "wake", False)
        ):
            self.wakes.append(pair)

    # --- joins --------------------------------------------------------------------------------

    @rule(pair=uploads, pause=spans, waiting=st.booleans())
    def linger(self, pair: Pair, pause: float, waiting: bool) -> None:
        """Somebody looks at a joined upload, or takes another for one."""
        self.both(
            lambda world, id_: world.ledger.joins.linger(id_, seconds(pause), waiting=waiting),
            pair,
        )

    @rule(pair=uploads)
    def give_up(self, pair: Pair) -> None:
        """It cannot be joined."""
        self.both(lambda world, id_: world.ledger.joins.give_up(id_, "gone", "a part is"), pair)

    @rule(pair=uploads, final=st.sampled_from(["1-x", "2-y"]))
    def link(self, pair: Pair, final: str) -> None:
        """A joined upload needs it."""
        self.both(lambda world, id_: world.ledger.joins.link([id_], final), pair)

    @rule(pair=uploads, final=st.sampled_from(["", "1-x", "2-y"]), span=spans)
    def keep(self, pair: Pair, final: str, span: float) -> None:
        """A joined upload goes on needing it."""
        self.partial(pair, lambda joins, upload: joins.keep([upload], seconds(span), final))

    @rule(pair=uploads, final=st.sampled_from(["1-x", "2-y"]), whole=st.booleans())
    def spend(self, pair: Pair, final: str, whole: bool) -> None:
        """A joined upload needs it no more."""
        self.partial(pair, lambda joins, upload: joins.spend([upload], final, whole=whole))

    @rule(pair=uploads)
    def discard(self, pair: Pair) -> None:
        """Its object is gone."""
        self.partial(pair, lambda joins, upload: joins.discard(upload))

    def partial(self, pair: Pair, act: Callable[[Joins, ChunkUpload], None]) -> None:
        """Do it to a partial upload that is known."""

        def both(world: World, id_: str) -> None:
            upload = world.get(id_)
            if upload.is_partial:
                act(world.ledger.joins, upload)

        self.both(both, pair)

    # --- producers ----------------------------------------------------------------------------

    @rule(
        target=uploads,
        path=st.sampled_from("ab"),
        length=st.sampled_from([None, 0, 5, 8, 20, 32]),
        token=st.sampled_from(["", "", "key"]),
        kind=st.sampled_from([{}, {}, {"keep": timedelta(seconds=50)}, {"sources": ("1-z",)}]),
    )
    def create(self, path: str, length: int | None, token: str, kind: dict[str, Any]) -> Any:
        """Begin an upload."""
        sketch = draft(length, path, idempotency_key=token, metadata={"a": "b"}, **kind)
        created: list[Created] = []

        def create(world: World, _: str) -> object:
            found = world.ledger.intake.create(sketch)
            created.append(found)
            # A new id has no name yet.
            return found.wake, found.existed, self.names.get(found.upload_id)

        self.both(create)
        if not created:
            return multiple()
        pair = (created[0].upload_id, created[1].upload_id)
        if pair not in self.pairs:
            self.names.update(dict.fromkeys(pair, f"#{len(self.pairs)}"))
            self.pairs.append(pair)
        self.wake(pair, created[0])
        return pair

    @rule(
        pair=uploads,
        distance=st.one_of(st.just(0), st.integers(-12, 3)),
        size=st.one_of(st.just(8), st.integers(0, 12)),
        damaged=st.sampled_from([False, False, False, True]),
    )
    def append(self, pair: Pair, distance: int, size: int, damaged: bool) -> None:
        """Append at, before or after the right offset."""
        entry = self.book.find(pair[1])
        start = max(0, (entry.received if entry else 0) + distance)
        data = DATA[start : start + size]
        if damaged:
            data = data[:-1] + b"\xff" * (len(data) > 0)
        self.wake(pair, self.both(lambda world, id_: world.append(id_, start, data), pair))

    @rule(pair=uploads)
    def append_rest(self, pair: Pair) -> None:
        """Append all that is missing, as far as it fits."""
        entry = self.book.find(pair[1])
        end = (entry.length or 40) if entry else 0
        for start in range(entry.received if entry else 0, end, 8):
            data = DATA[start : min(start + 8, end)]
            append = partial(World.append, start=start, data=data)
            outcome = self.both(append, pair)
            self.wake(pair, outcome)
            if isinstance(outcome, ChunkferryError):
                break

    @rule(pair=uploads, length=st.sampled_from([0, 5, 8, 16, 20, 32]))
    def set_length(self, pair: Pair, length: int) -> None:
        """Say how long the file is."""
        self.wake(
            pair, self.both(lambda world, id_: world.ledger.intake.set_length(id_, length), pair)
        )

    @rule(pair=uploads)
    def cancel(self, pair: Pair) -> None:
        """Have the upload removed."""
        self.wake(pair, self.both(lambda world, id_: world.ledger.intake.cancel(id_), pair))

    @rule(
        pair=uploads,
        nonce=st.sampled_from(["t1", "t2"]),
        span=st.sampled_from([10, 30, 100]),
        after=st.sampled_from(["", "note", "pause", "over", "over"]),
    )
    def tell(self, pair: Pair, nonce: str, span: int, after: str) -> None:
        """Tell of its changes."""
        self.both(partial(tell, nonce, span, after), pair)

    @rule(pair=uploads, deleted=st.booleans())
    def terminate(self, pair: Pair, deleted: bool) -> None:
        """Take an upload back: a complete one, if there is any."""
        pair = next((pair for pair in self.pairs if self.state(pair) is State.COMPLETE), pair)
        self.both(
            lambda world, id_: world.ledger.intake.terminate(world.get(id_), deleted=deleted), pair
        )

    @rule(pair=uploads)
    def requeue(self, pair: Pair) -> None:
        """Give an upload another chance: one that failed, if there is any."""
        pair = next((pair for pair in self.pairs if self.state(pair) is State.FAILED), pair)
        self.wake(pair, self.both(lambda world, id_: world.ledger.intake.requeue(id_), pair))

    # --- workers, dead or alive ---------------------------------------------------------------

    @rule(pair=uploads, nonce=nonces)
    def acquire(self, pair: Pair, nonce: str) -> None:
        """Try to take the lease."""
        self.try_to_hold(pair, nonce)

    def try_to_hold(self, pair: Pair, nonce: str) -> object:
        """The same, with its outcome."""
        return self.holding(
            lambda world, id_, nonce: world.ledger.leases.acquire(id_, nonce, f"of {nonce}"),
            pair,
            nonce,
        )

    @rule(pair=uploads, nonce=nonces)
    def renew(self, pair: Pair, nonce: str) -> None:
        """Keep the lease."""
        self.holding(lambda world, id_, nonce: world.ledger.leases.renew(id_, nonce), pair, nonce)

    @rule(
        pair=uploads,
        nonce=nonces,
        expected=st.sampled_from(["", "s1"]),
        session=st.sampled_from(["s1", "s2"]),
    )
    def record_session(self, pair: Pair, nonce: str, expected: str, session: str) -> None:
        """Remember a session."""
        self.holding(
            lambda world, id_, nonce: world.ledger.leases.record_session(
                id_, nonce, expected, session
            ),
            pair,
            nonce,
        )

    @rule(pair=uploads, nonce=nonces, back=st.sampled_from([0, 0, 0, 1]), size=st.integers(1, 8))
    def commit(self, pair: Pair, nonce: str, back: int, size: int) -> None:
        """Commit the next part, an earlier one, or one too large for the truth."""
        entry = self.book.find(pair[1])
        start = max(0, (entry.stored if entry else 0) // 8 - back) * 8
        received = entry.received if entry else 0
        finish = min(start + 8, received) if received > start else start + size
        part = StoredPart(number=start // 8 + 1, size=finish - start, crc32c=start, receipt="e")
        self.holding(
            lambda world, id_, nonce: world.ledger.leases.commit(
                id_, nonce, start, part, crc32c=finish, boundary=finish // 8 * 8 + 8
            ),
            pair,
            nonce,
        )

    @rule(pair=uploads, nonce=nonces)
    def release(self, pair: Pair, nonce: str) -> None:
        """Let go."""
        self.wake(
            pair,
            self.holding(
                lambda world, id_, nonce: world.ledger.leases.release(id_, nonce), pair, nonce
            ),
        )

    @rule(pair=uploads, nonce=nonces, seconds=st.sampled_from([0, 10, 50]))
    def defer(self, pair: Pair, nonce: str, seconds: int) -> None:
        """Put the next try off."""
        backoff = timedelta(seconds=seconds)
        self.holding(
            lambda world, id_, nonce: world.ledger.leases.defer(id_, nonce, backoff, "code", "why"),
            pair,
            nonce,
        )

    @rule(pair=uploads, nonce=nonces)
    def fail(self, pair: Pair, nonce: str) -> None:
        """Give the upload up for now."""
        self.holding(
            lambda world, id_, nonce: world.ledger.leases.fail(id_, nonce, "code", "why"),
            pair,
            nonce,
        )

    @rule(pair=uploads, nonce=nonces)
    def begin_complete(self, pair: Pair, nonce: str) -> None:
        """Fix the direction."""
        self.holding(
            lambda world, id_, nonce: world.ledger.leases.begin_complete(id_, nonce), pair, nonce
        )

    @rule(pair=uploads, nonce=nonces, ending=st.sampled_from(Ending))
    def finish(self, pair: Pair, nonce: str, ending: Ending) -> None:
        """End the upload."""
        entry = self.book.find(pair[1])
        size = max(entry.received, entry.length or 0) if entry else 0
        self.holding(
            lambda world, id_, nonce: world.finish(id_, ending, nonce=nonce, size=size),
            pair,
            nonce,
        )

    @rule(pair=uploads, start=st.integers(0, 30), size=st.integers(0, 20))
    def read(self, pair: Pair, start: int, size: int) -> None:
        """Read what waits, lease or no lease."""
        self.both(
            lambda world, id_: b"".join(world.ledger.leases.read(id_, start, start + size)), pair
        )

    def drain(self, pair: Pair, nonce: str) -> None:
        """What a healthy worker does with a wake-up."""
        if self.try_to_hold(pair, nonce) not in {Acquisition.ACQUIRED, Acquisition.TAKEN_OVER}:
            return
        entry = self.book.entry(pair[1])
        while entry.state in {State.RECEIVING, State.RECEIVED} and (
            entry.received >= entry.ripe_at
            or (entry.state is State.RECEIVED and entry.stored < entry.received)
        ):
            self.commit(pair, nonce, 0, 8)
        if entry.state is State.ABORTING:
            self.finish(pair, nonce, Ending.ABORTED)
        elif entry.state in {State.RECEIVED, State.COMPLETING}:
            self.begin_complete(pair, nonce)
            self.finish(pair, nonce, Ending.COMPLETE)
        else:
            self.release(pair, nonce)

    @rule(
        pair=uploads,
        mishap=st.sampled_from(["dies", "defers", "fails"]),
        times=st.integers(1, 4),
    )
    def drain_badly(self, pair: Pair, mishap: str, times: int) -> None:
        """What workers do with a poisoned upload, a store that is down, or one that refuses."""
        for _ in range(times):
            self.mishaps += 1
            self.try_to_hold(pair, f"n{mishap}{self.mishaps}")
            match mishap:
                case "dies":
                    self.advance(30)
                case "defers":
                    self.defer(pair, "holder", 0)
                case _:
                    self.fail(pair, "holder")

    # --- wake-ups, sweep, time ----------------------------------------------------------------

    @rule(nonce=nonces, index=st.integers(0, 5), copies=st.sampled_from([0, 1, 1, 1, 2]))
    def deliver(self, nonce: str, index: int, copies: int) -> None:
        """A wake-up arrives, out of order; or it is lost, or doubled."""
        if self.wakes:
            pair = self.wakes.pop(index % len(self.wakes))
            for _ in range(copies):
                self.drain(pair, nonce)

    @rule(pair=uploads)
    def rouse(self, pair: Pair, forgiven_ms: int = 0) -> None:
        """The sweep looks at one upload, due or not."""
        self.wake(
            pair,
            self.both(lambda world, id_: world.ledger.agenda.rouse(id_, forgiven_ms), pair),
        )

    @rule()
    def sweep(self) -> None:
        """The sweep looks at all that is due, and at the graves."""
        forgiven_ms = self.memory.ledger.agenda.attend()
        assert forgiven_ms == self.redis.ledger.agenda.attend()
        for upload_id in self.memory.ledger.agenda.due():
            self.rouse(self.pair_of(upload_id), forgiven_ms)
        for upload_id in self.memory.ledger.agenda.graves():
            self.both(
                lambda world, id_: world.ledger.agenda.forget_grave(id_), self.pair_of(upload_id)
            )

    @rule(seconds=spans)
    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.both(lambda world, _: world.advance(seconds))

    def pair_of(self, upload_id: str) -> Pair:
        """The upload that has this id in memory."""
        return next(pair for pair in self.pairs if pair[1] == upload_id)

    # --- what must hold after each step -------------------------------------------------------

    @invariant()
    def both_stand_alike(self) -> None:
        """Snapshots, sessions, receipts, news, the agenda and the workers' own fields."""
        for pair in self.pairs:
            self.both(lambda world, id_: world.get(id_), pair)
            self.both(lambda world, id_: world.get(id_).session, pair)
            self.both(lambda world, id_: world.ledger.leases.stored_parts(id_), pair)
            self.both(
                lambda world, id_: [
                    (event.state, event.received, event.stored, event.length, event.error)
                    for event in world.ledger.records.events(id_, "0")
                ],
                pair,
            )
            entry = self.book.find(pair[1])
            work = self.redis.hash(keys.work(pair[0]))
            assert (work and hidden(work)) == ((entry and hidden_of(entry)) or {})
        for path in "ab":
            self.both(partial(find, path))
        assert self.scores(keys.due) == self.named(self.book.due)
        assert self.scores(keys.graves) == self.named(self.book.graves)
        assert self.scores(keys.telling) == self.named(self.book.telling)
        assert self.scores(keys.joins) == self.named(self.book.joins)
        assert self.scores(keys.partials) == self.named(self.book.partials)
        self.both(lambda world, _: sorted(map(self.plain, world.ledger.records.list_uploads())))
        self.both(lambda world, _: backlog(world))

    @invariant()
    def what_has_not_ended_is_due_exactly_once(self) -> None:
        """I1 of the protocol."""
        living = {
            pair[0] for pair in self.pairs if (found := self.state(pair)) and found not in TERMINAL
        }
        assert {self.names[id_] for id_ in living} == set(self.scores(keys.due))

    @invariant()
    def work_is_never_forgotten(self) -> None:
        """W1 of the protocol: whoever has work has a wake-up on its way, or a holder."""
        for pair in self.pairs:
            intake = self.redis.hash(keys.intake(pair[0]))
            work = self.redis.hash(keys.work(pair[0]))
            ripe = int(intake.get("received", "0")) >= int(work.get("ripe_at", "1"))
            if self.state(pair) in _WORKED_ON or (self.state(pair) is State.RECEIVING and ripe):
                assert work["scheduled"] == "1" or work["owner"]

    @invariant()
    def stored_bytes_were_received_and_stay_stored(self) -> None:
        """``stored`` never decreases, and never overtakes ``received``."""
        for pair in self.pairs:
            entry = self.book.find(pair[1])
            if entry:
                assert self.stored.get(pair, 0) <= entry.stored <= entry.received
                self.stored[pair] = entry.stored

    def state(self, pair: Pair) -> State | None:
        """The state in Redis; None for a forgotten upload."""
        text = self.redis.hash(keys.intake(pair[0])).get("state")
        return None if text is None else State(text)

    def scores(self, key: Callable[[int], str]) -> dict[str, int]:
        """A sorted set over all shards."""
        found = [
            (member.decode(), int(score))
            for shard in range(self.redis.settings.shards)
            for member, score in cast(
                "list[tuple[bytes, float]]",
                self.redis.client.zrange(key(shard), 0, -1, withscores=True),
            )
        ]
        assert len(dict(found)) == len(found)
        return self.named(dict(found))

    def named(self, moments: dict[str, int]) -> dict[str, int]:
        """The same with the names that both worlds share."""
        return {self.names[upload_id]: moment for upload_id, moment in moments.items()}


def tell(nonce: str, span: int, after: str, world: World, upload_id: str) -> object:
    """Take the turn, and perhaps note something and let it go."""
    telling = world.ledger.telling
    turn = telling.begin(upload_id, nonce, timedelta(seconds=span))
    if turn is None:
        return None
    noted = telling.note(turn, f"{nonce}{span}", timedelta(seconds=span)) if after else None
    ended = None
    if after in {"over", "pause"}:
        pause = None if after == "over" else timedelta(seconds=span)
        ended = telling.end(turn, nonce, pause)
    return asdict(turn), noted, ended


def seconds(span: float) -> timedelta:
    """A span of time."""
    return timedelta(seconds=span)


def find(path: str, world: World, _: str) -> object:
    """The newest upload to a path."""
    return world.ledger.records.find("default", path)


def backlog(world: World) -> object:
    """What all uploads add up to, without the order in which their errors were met."""
    found = asdict(world.ledger.health.backlog())
    return {**found, "failed": sorted(found["failed"].items())}


#: What no snapshot shows, and the moves depend on.
_HIDDEN: Final = (
    "owner",
    "lease_until",
    "ripe_at",
    "deaths",
    "retry_at",
    "rewakes",
    "wanted_since",
)


def hidden(work: dict[str, str]) -> dict[str, str]:
    """From the hash in Redis."""
    fields = {name: work[name] for name in _HIDDEN}
    return {**fields, "scheduled": work["scheduled"], "failed": work.get("failed_until", "0")}


def hidden_of(entry: Entry) -> dict[str, str]:
    """From the entry in memory."""
    fields = {name: str(getattr(entry, name)) for name in _HIDDEN}
    return {
        **fields,
        "scheduled": str(int(entry.scheduled)),
        "failed": str(entry.failed_until),
    }


@pytest.mark.parametrize("kind", ["single", "cluster"])
def test_redis_and_memory_are_twins(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is done to them, in whatever order."""
    small_batches(monkeypatch)
    url = request.getfixturevalue(f"{kind}_url")
    with contextlib.closing(
        RedisWorld(url, small_settings(on_complete="package:function"))
    ) as ours:
        monkeypatch.setattr(Twins, "redis", ours, raising=False)
        run_state_machine_as_test(
            Twins,
            settings=settings(
                max_examples=60,
                stateful_step_count=50,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
