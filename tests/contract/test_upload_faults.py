"""Whole uploads with a fault in each of their requests, of each kind, on every server.

A worker's drain takes each upload to its end, over the ledger in memory. After any fault that
passes, the upload ends as it would have; the object is whole, and nothing is left.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from tests import storing
from tests.proxied import FAULTS, Proxies, Subject, World, on_azurite, on_gcs, on_s3
from tests.servers.http_proxy import Rule
from tests.servers.proxy import ProxyProcess
from tests.storing import PART, new_upload

from chunkferry.state import State

PATH = "folder/file.bin"
CONTENT = storing.content(2 * PART + 7)
#: What happens to one request and its repeats. Three in a row are one more than an SDK makes for
#: one call: what that does not bridge is for the next turn, and there it does.
WAYS = {
    "refused": ["500", "503", "reset"],
    "silent": ["stall", "reset", "503"],
    "unheard": ["lose", "lose", "lose"],
    "unheard once": ["lose"],
}


# --- lives of uploads, each up to where its requests begin to be broken ---------------------------


def in_parts(world: World) -> str:
    """All of its bytes are there to be stored."""
    return world.begin(PATH, CONTENT, len(CONTENT))


def whole(world: World) -> str:
    """So few that one request takes them."""
    return world.begin(PATH, CONTENT[:1000], 1000)


def taken_over(world: World) -> str:
    """The worker before has sent the first part, and did not hear that it arrived."""
    upload_id = world.begin(PATH, CONTENT[: PART + 7], PART + 7)
    first, operation = (2, "PUT comp=block") if is_azure(world) else (1, "PUT partNumber")
    count = world.subject.attempts
    world.aim(Rule(how="lose", operation=operation, occurrence=first, count=count))
    world.answer()
    return upload_id


def cancelled(world: World) -> str:
    """Its first part is stored."""
    upload_id = world.begin(PATH, CONTENT[:PART], 2 * PART)
    world.answer()
    world.manager.cancel(upload_id)
    return upload_id


def ended(world: World) -> str:
    """A late request of a dead worker opens a session that nobody knows."""
    upload_id = whole(world)
    world.settle(upload_id)
    world.subject.store.chunk_file_service().initialize_chunk(new_upload(PATH, 1000))
    return upload_id


def is_azure(world: World) -> bool:
    return world.subject.name == "azurite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One life of an upload at one kind of store."""

    prepare: Callable[[World], str]
    #: Its requests from then on, a space between a request's words and a comma after it.
    requests: str
    #: Which of them are broken, counted from 0; all if empty.
    aims: tuple[int, ...] = ()
    size: int = len(CONTENT)
    end: State = State.COMPLETE

    @property
    def name(self) -> str:
        return self.prepare.__name__

    @property
    def trace(self) -> list[str]:
        return self.requests.split(", ")

    def aimed(self) -> Iterator[tuple[str, int]]:
        """Operations to break, and which of its kind each one is."""
        for index in self.aims or range(len(self.trace)):
            operation = self.trace[index]
            yield operation, self.trace[: index + 1].count(operation)


S3 = [
    Life(
        prepare=in_parts,
        requests="POST uploads, PUT partNumber, PUT partNumber, PUT partNumber, POST uploadId, "
        "HEAD, GET uploads",
    ),
    Life(prepare=whole, requests="HEAD, HEAD, PUT, GET uploads", aims=(0, 1, 2), size=1000),
    Life(
        prepare=taken_over,
        requests="GET uploadId, GET uploadId, PUT partNumber, POST uploadId, HEAD, GET uploads",
        aims=(0,),
        size=PART + 7,
    ),
    Life(
        prepare=cancelled,
        requests="DELETE uploadId, GET uploads, HEAD, HEAD, GET uploads",
        aims=(0, 1, 2, 3),
        end=State.CANCELLED,
    ),
    Life(prepare=ended, requests="GET uploads, DELETE uploadId", size=1000),
]
#: What has checksums of whole objects: only the requests that go with them differ.
AWS = [replace(S3[0], aims=(3, 4, 5)), replace(S3[1], aims=(2,))]
GCS = [
    Life(
        prepare=in_parts,
        requests="POST uploadType=resumable, PUT upload_id, PUT upload_id, PUT upload_id, "
        "PUT upload_id, POST uploadType=multipart, PUT upload_id, GET, PUT upload_id, GET, DELETE, "
        "DELETE, GET, GET",
        aims=(0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11),
    ),
    Life(
        prepare=whole,
        requests="GET, GET, POST uploadType=multipart, DELETE, GET, GET",
        aims=(0, 2),
        size=1000,
    ),
    Life(
        prepare=cancelled,
        requests="DELETE upload_id, DELETE, GET, GET, GET, GET, DELETE, GET, GET",
        aims=(0, 1, 2, 4),
        end=State.CANCELLED,
    ),
]
AZURE = [
    Life(
        prepare=in_parts,
        requests="PUT comp=block, PUT comp=block, PUT comp=block, PUT comp=block, HEAD, "
        "GET comp=blocklist, PUT comp=blocklist, HEAD",
    ),
    Life(prepare=whole, requests="HEAD, PUT", size=1000),
    Life(
        prepare=taken_over,
        requests="GET comp=blocklist, GET comp=blocklist, PUT comp=block, HEAD, "
        "GET comp=blocklist, PUT comp=blocklist, HEAD",
        aims=(0,),
        size=PART + 7,
    ),
    Life(
        prepare=cancelled,
        requests="HEAD, GET comp=blocklist, PUT comp=block, PUT comp=blocklist, HEAD, DELETE, HEAD",
        end=State.CANCELLED,
    ),
]

MakeSubject = Callable[[pytest.FixtureRequest, Proxies, str], Subject]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One kind of server, and what uploads ask it for."""

    make: MakeSubject
    lives: list[Life]
    marks: list[pytest.MarkDecorator] = field(default_factory=list)


#: Google's SDK does not close answers of 5xx to a GET before it repeats it; their sockets are
#: closed once they are collected: at the end of the module, which is why this server is the last.
LETS_GO = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
SERVERS = {
    "ceph": Server(make=partial(on_s3, fixture="rgw"), lives=S3, marks=[pytest.mark.s3]),
    "moto": Server(make=partial(on_s3, fixture="moto_s3"), lives=AWS),
    "azurite": Server(make=on_azurite, lives=AZURE, marks=[pytest.mark.azure]),
    "gcs": Server(make=on_gcs, lives=GCS, marks=[LETS_GO]),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """One request of one life."""

    server: Server
    life: Life
    operation: str
    #: Which of its kind; 1 is the first.
    number: int


LIVES = [
    pytest.param(server, life, id=f"{name}-{life.name}", marks=server.marks)
    for name, server in SERVERS.items()
    for life in server.lives
]
AIMS = [
    pytest.param(
        Aim(server=server, life=life, operation=operation, number=number),
        id=f"{name}-{life.name}-{operation} {number}",
        marks=server.marks,
    )
    for name, server in SERVERS.items()
    for life in server.lives
    for operation, number in life.aimed()
]

#: A world at a server, whose requests will be broken in some way.
MakeWorld = Callable[[Server, str], World]


@pytest.fixture(scope="module")
def proxies() -> Iterator[Proxies]:
    with ProxyProcess() as process:
        yield Proxies(process)
    gc.collect()


@pytest.fixture
def world_at(request: pytest.FixtureRequest, proxies: Proxies) -> MakeWorld:
    return lambda server, fault: World(server.make(request, proxies, fault))


def live(world: World, life: Life, *rules: Rule) -> None:
    """Take an upload through its life and hold what is left against that."""
    subject = world.subject
    upload_id = life.prepare(world)
    world.forget()
    for rule in rules:
        world.aim(rule)
    state = world.settle(upload_id)
    world.look_after_graves()
    subject.process.calm(subject.name)
    assert (life.end, "") == (state, world.manager.get(upload_id).error)
    if state is State.COMPLETE:
        assert CONTENT[: life.size] == storing.read(subject.store, PATH)
    else:
        assert not subject.store.exists(PATH)


@pytest.mark.parametrize(("server", "life"), LIVES)
def test_the_requests_of_an_upload_are_known(
    world_at: MakeWorld, server: Server, life: Life
) -> None:
    """Without faults these are all: what the tests of faults aim at."""
    world = world_at(server, "")
    live(world, life)
    assert life.trace == world.requests()
    assert world.subject.leftovers() == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("aim", AIMS)
def test_an_upload_survives_any_fault(world_at: MakeWorld, aim: Aim, way: str) -> None:
    """What the SDK does not bridge by its own repeats is for the next turn: never for both."""
    world = world_at(aim.server, way)
    faults = WAYS[way]
    rules = [
        Rule(how=how, operation=aim.operation, occurrence=aim.number, amount=FAULTS[how])
        for how in faults
    ]
    live(world, aim.life, *rules)
    fates = [how for turn in world.turns for found, how in turn if found == aim.operation]
    broken = list(filter(None, fates))
    assert fates[aim.number - 1] == faults[0]
    # A repeat of what had its effect may not be needed.
    assert broken == (faults[: len(broken)] if "lose" in faults else faults)
    assert max(sum(1 for _, how in turn if how) for turn in world.turns) <= world.subject.attempts
    if world.subject.repeats and len(faults) == 1:
        assert world.deferrals == 0
    is_unknown_session = (aim.operation, faults[0]) == ("POST uploadType=resumable", "lose")
    if world.subject.finds_sessions or not is_unknown_session:
        assert world.subject.leftovers() == []
