"""The teller: whom it tells when, what it remembers, and when it gives up."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta

import pytest
from tests.ledgers import DATA, MemoryWorld
from tests.waiting import wait_until

from chunkferry.errors import ConfigError
from chunkferry.upload import ChunkUpload
from chunkferry.webhooks import COMPLETE, Event
from chunkferry_worker import callback
from chunkferry_worker.callback import Callback
from chunkferry_worker.delivery import DeliveryFailed
from chunkferry_worker.sinks import Sink
from chunkferry_worker.slots import Slots
from chunkferry_worker.teller import Teller, TellReport

CREATED, RECEIVED = "upload.created", "upload.received"


class Ear:
    """A receiver that fails as it is told."""

    def __init__(self, name: str = "ear") -> None:
        self.name = self.shown = name
        self.span = timedelta(seconds=1)
        self.heard: list[tuple[str, str]] = []
        self.trouble: Callable[[Event], Exception | None] = lambda _: None

    def takes(self, event: Event) -> bool:
        """All."""
        del event
        return True

    def deliver(self, event: Event) -> None:
        """Hear it, and fail or not."""
        self.heard.append((event.upload.filepath, event.kind))
        if error := self.trouble(event):
            raise error

    @property
    def kinds(self) -> list[str]:
        """What it heard."""
        return [kind for _, kind in self.heard]


@pytest.fixture
def ear() -> Ear:
    """One that hears."""
    return Ear()


@pytest.fixture
def world(memory_world: MemoryWorld) -> MemoryWorld:
    """One where somebody is to be told."""
    memory_world.change(on_complete="somebody:listens", backoff_max_seconds=300.0)
    return memory_world


def tell(world: MemoryWorld, *sinks: Sink) -> TellReport:
    """One turn."""
    return Teller(world.ledger, sinks, Slots(1), world.settings).run()


def fails(kind: str, **how: object) -> Callable[[Event], Exception | None]:
    """Fail for events of one kind."""
    return lambda event: DeliveryFailed("no", **how) if event.kind == kind else None  # type: ignore[arg-type]  # what it takes


def pause(world: MemoryWorld, ear: Ear) -> float:
    """How many seconds pass until it is tried again."""
    count, seconds = len(ear.heard), 0.0
    while len(ear.heard) == count:
        world.advance(0.25)
        seconds += 0.25
        tell(world, ear)
    return seconds


# --- order and places -------------------------------------------------------------------------


def test_each_event_is_told_once(world: MemoryWorld, ear: Ear) -> None:
    """And then nothing is due."""
    world.complete()
    assert tell(world, ear) == TellReport(uploads=1, told=3)
    assert ear.kinds == [CREATED, RECEIVED, COMPLETE]
    assert tell(world, ear) == TellReport()


def test_what_follows_a_failure_waits_for_it(world: MemoryWorld, ear: Ear) -> None:
    """In the order in which it happened."""
    ear.trouble = fails(RECEIVED)
    world.complete()
    tell(world, ear)
    assert ear.kinds == [CREATED, RECEIVED]
    ear.trouble = lambda _: None
    world.advance(2)
    tell(world, ear)
    assert ear.kinds == [CREATED, RECEIVED, RECEIVED, COMPLETE]


def test_what_follows_a_failure_waits_however_short_the_pause(world: MemoryWorld, ear: Ear) -> None:
    """It may be over before the failure is even noted."""
    world.change(backoff_seconds=1e-9)
    ear.trouble = fails(CREATED)
    world.complete()
    turns = iter(range(3))
    Teller(
        world.ledger, [ear], Slots(1), world.settings, should_stop=lambda: not next(turns, 0)
    ).run()
    assert set(ear.kinds) == {CREATED}


def test_one_receiver_waits_for_no_other(world: MemoryWorld, ear: Ear) -> None:
    """Each has its own place, and is told of nothing twice because of another."""
    deaf = Ear("deaf")
    deaf.trouble = fails(CREATED)
    world.begun(8)
    for _ in range(3):
        tell(world, deaf, ear)
        world.advance(10)
    world.append(world.ledger.records.find("default", "a").upload_id, 8, DATA[8:24])  # type: ignore[union-attr]  # it is there
    tell(world, deaf, ear)
    assert ear.kinds == [CREATED, RECEIVED]
    assert deaf.kinds == [CREATED] * 4


def test_a_callable_is_told_of_complete_uploads_only(world: MemoryWorld) -> None:
    """It gets the upload."""
    upload_id = world.complete()
    shown = list[str]()
    sink = Callback("builtins:print", timedelta(seconds=1))
    sink._call = lambda upload: shown.append(upload.upload_id)
    assert tell(world, sink).told == 1
    assert shown == [upload_id]


# --- another try ------------------------------------------------------------------------------


def test_pauses_double_up_to_a_bound(world: MemoryWorld, ear: Ear) -> None:
    """Between half of it and all of it, so that not all come back together."""
    ear.trouble = fails(CREATED)
    world.begin(expiry=timedelta(days=1))
    tell(world, ear)
    pauses = [pause(world, ear) for _ in range(10)]
    for number, seconds in enumerate(pauses):
        longest = min(2.0 ** (number + 1), 300.0)
        assert longest / 2 - 0.5 <= seconds <= longest + 0.5


def test_a_receiver_may_ask_for_a_longer_pause(world: MemoryWorld, ear: Ear) -> None:
    """As by ``Retry-After``; a shorter one is not granted."""
    ear.trouble = fails(CREATED, retry_after=timedelta(seconds=60))
    world.begin(expiry=timedelta(days=1))
    tell(world, ear)
    assert 59.5 <= pause(world, ear) <= 60.5


def test_it_gives_up_when_a_change_is_too_old(world: MemoryWorld, ear: Ear) -> None:
    """And tells what follows."""
    ear.trouble = fails(CREATED)
    world.complete()
    tell(world, ear)
    world.advance(3 * 86400 - 10)
    tell(world, ear)
    assert world.ledger.letters.dead() == []
    world.advance(20)
    assert tell(world, ear).dead == 1
    (letter,) = world.ledger.letters.dead()
    assert (letter.kind, letter.sink, letter.error, letter.attempts) == (CREATED, "ear", "no", 3)
    assert ear.kinds == [CREATED] * 3 + [RECEIVED, COMPLETE]


def test_an_old_change_gets_three_tries(world: MemoryWorld, ear: Ear) -> None:
    """Workers may have been down for longer than anybody tries."""
    ear.trouble = fails(CREATED)
    world.complete()
    world.advance(3 * 86400 + 1)
    reports = []
    for _ in range(3):
        reports.append(tell(world, ear))
        world.advance(5)
    assert [report.dead for report in reports] == [0, 0, 1]


def test_a_final_failure_is_not_repeated(world: MemoryWorld, ear: Ear) -> None:
    """The letter is written at once."""
    ear.trouble = fails(RECEIVED, is_final=True)
    world.complete()
    assert tell(world, ear) == TellReport(uploads=1, told=2, dead=1)
    assert world.ledger.telling.due() == []


def test_an_unforeseen_error_is_not_repeated_without_end(world: MemoryWorld, ear: Ear) -> None:
    """It counts as any failure, and a letter that meets it is dead again."""
    world.begin()
    ear.trouble = lambda _: KeyError("secret-7f3a91")
    for _ in range(3):
        world.advance(3 * 86400)
        tell(world, ear)
    letters = world.ledger.letters
    (dead,) = letters.dead()
    assert (dead.error, dead.attempts) == ("KeyError", 3)
    letters.send_again(dead)
    tell(world, ear)
    assert ([dead.attempts for dead in letters.dead()], letters.waiting()) == ([4], [])


def test_a_letter_can_be_told_later(world: MemoryWorld, ear: Ear) -> None:
    """Also when its upload is long forgotten."""
    ear.trouble = fails(RECEIVED, is_final=True)
    world.complete()
    tell(world, ear)
    ear.trouble = lambda _: None
    world.advance(7 * 86400)
    letters = world.ledger.letters
    letters.send_again(*letters.dead())
    ear.heard.clear()
    assert tell(world, ear).told == 1
    assert (ear.heard, letters.dead(), letters.waiting()) == ([("a", RECEIVED)], [], [])


def test_a_letter_for_nobody_is_dead_again(world: MemoryWorld, ear: Ear) -> None:
    """Its receiver is no longer in the settings."""
    ear.trouble = fails(RECEIVED, is_final=True)
    world.complete()
    tell(world, ear)
    world.ledger.letters.send_again(*world.ledger.letters.dead())
    tell(world, Ear("another"))
    assert [letter.error for letter in world.ledger.letters.dead()] == [
        "ear is not configured here"
    ]


# --- who is there -----------------------------------------------------------------------------


def test_a_receiver_that_is_gone_holds_nothing_up(world: MemoryWorld, ear: Ear) -> None:
    """What failed for it before is nobody's any more."""
    deaf = Ear("deaf")
    deaf.trouble = fails(CREATED)
    world.complete()
    tell(world, deaf, ear)
    world.advance(10)
    tell(world, ear)
    world.advance(3600)
    assert world.ledger.telling.due() == []


def test_where_nobody_is_known_news_wait(world: MemoryWorld, ear: Ear) -> None:
    """A worker whose settings are older drops nothing."""
    world.complete()
    tell(world)
    assert world.ledger.telling.due() == []
    world.advance(60)
    tell(world, ear)
    assert ear.kinds == [CREATED, RECEIVED, COMPLETE]


def test_an_unforeseen_error_hides_no_other_upload(
    world: MemoryWorld, ear: Ear, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged without its text; the upload is tried again later."""
    first = world.begin(filepath="a")
    world.begin(filepath="b")
    ear.trouble = lambda event: (
        KeyError("secret-7f3a91") if event.upload.upload_id == first else None
    )
    tell(world, ear)
    assert sorted(ear.heard) == [("a", CREATED), ("b", CREATED)]
    assert "KeyError" in caplog.text
    assert "secret-7f3a91" not in caplog.text
    assert world.ledger.telling.due() == []
    world.advance(12)
    assert world.ledger.telling.due() == [first]


def test_a_turn_that_another_took_ends(world: MemoryWorld, ear: Ear) -> None:
    """What is told then is told by the other one."""
    upload_id = world.complete()

    def too_long(event: Event) -> None:
        if event.kind == CREATED:
            world.advance(60)
            assert world.ledger.telling.begin(upload_id, "other", timedelta(seconds=5))

    ear.trouble = too_long
    tell(world, ear)
    assert ear.kinds == [CREATED]


# --- slots ------------------------------------------------------------------------------------


def test_no_slot_no_delivery(world: MemoryWorld, ear: Ear) -> None:
    """The next sweep sends another message."""
    world.begin()
    slots = Slots(1)
    with slots.one() as free:
        assert free
        report = Teller(world.ledger, [ear], slots, world.settings).run()
    assert (report.outcome, ear.heard) == ("busy", [])


def test_there_are_as_many_slots_as_told() -> None:
    """For threads of one process."""
    slots = Slots(2)
    with slots.one() as first, slots.one() as second, slots.one() as third:
        assert (first, second, third) == (True, True, False)
    with slots.one() as again:
        assert again


def test_processes_share_slots_and_death_frees_them() -> None:
    """As those of a pool, which are forked."""
    slots = Slots(1)
    pid = os.fork()
    if not pid:
        slots._take()
        signal.pause()
        os._exit(0)

    def is_taken() -> bool:
        with slots.one() as free:
            return not free

    try:
        wait_until(is_taken, what="the child has taken it")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert not is_taken()


# --- callables --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "",
        "print",
        "builtins",
        "builtins:",
        "no_such_module_7f3a91:x",
        "builtins:no_such",
        "os:name",
    ],
)
def test_what_names_no_function_is_refused(name: str) -> None:
    """With the name that was given."""
    with pytest.raises(ConfigError, match="CHUNKFERRY_ON_COMPLETE"):
        callback.load(name)


async def coroutine(_: object) -> None:
    """What cannot be called here."""


def test_a_coroutine_function_is_refused() -> None:
    """Nobody would await it."""
    with pytest.raises(ConfigError, match="no plain function"):
        callback.load(f"{__name__}:coroutine")


def test_a_callable_that_exits_is_a_failure(world: MemoryWorld) -> None:
    """It does not take the worker with it."""
    upload = world.get(world.complete())
    sink = Callback("sys:exit", timedelta(seconds=1))
    (*_, event) = [
        Event(event_id="e", kind=COMPLETE, index=1, time=upload.created_at, upload=upload)
    ]
    with pytest.raises(DeliveryFailed, match="on_complete raised SystemExit"):
        sink.deliver(event)


def failing(upload: ChunkUpload) -> None:
    """An application's code that quotes what it was given."""
    raise ValueError("secret-" + upload.filepath)


def test_what_a_callable_raises_is_not_shown(
    world: MemoryWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in a log nor in a dead letter: where and of which type is all that is told."""
    world.complete("7f3a91")
    world.advance(3 * 86400 + 1)
    sink = Callback(f"{__name__}:failing", timedelta(seconds=1))
    while not world.ledger.letters.dead():
        tell(world, sink)
        world.advance(10)
    (letter,) = world.ledger.letters.dead()
    assert letter.error == "on_complete raised ValueError"
    assert "ValueError" in caplog.text
    assert "in failing" in caplog.text
    assert "secret-7f3a91" not in caplog.text
