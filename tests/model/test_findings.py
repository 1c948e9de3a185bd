"""What the model found in the code: each trace once more, with the real drain and sweep.

The ledger and the store are the in-memory twins.
"""

from __future__ import annotations

import copy
import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from unittest import mock

from tests.faults import FaultyStore

from chunkferry import ChunkManager, State
from chunkferry.config import load
from chunkferry.errors import StoreUnavailable
from chunkferry.parts import MIB
from chunkferry.services import Heartbeat, Part, StoredObject
from chunkferry.storage import Stores
from chunkferry.storage.local import LocalStore
from chunkferry.testing import (
    ManualClock,
    MemoryFileService,
    MemoryLedger,
    MemoryObject,
    MemoryStore,
    RecordingWaker,
)
from chunkferry.upload import ChunkUpload
from chunkferry_worker.drain import Drain
from chunkferry_worker.sweep import Sweep

PART: Final = 5 * MIB
#: Three parts, the last of them short.
CONTENT: Final = random.Random(3).randbytes(2 * PART + 7)
PATH: Final = "a/b"


class OneStore(Stores):
    """A single store under the name "default"."""

    def __init__(self, store: Any) -> None:
        super().__init__({"default": "memory://unused"})
        self._store = store

    def __getitem__(self, service: str) -> Any:
        return self._store


class World:
    """The code over its twins, with a clock that a test moves."""

    def __init__(self, store: Any) -> None:
        settings = load(chunk_size_limit=PART, services={"default": "memory://unused"})
        self.store = store
        self.clock = ManualClock()
        self.waker = RecordingWaker()
        self.ledger = MemoryLedger(settings, clock=self.clock)
        self.manager = ChunkManager(settings=settings, ledger=self.ledger, waker=self.waker)
        stores = OneStore(store)
        self.drain = Drain(self.ledger, stores, self.waker, settings, worker="w").run
        self.sweep = Sweep(self.ledger, stores, self.waker, settings).run
        self._remembered: Any = None

    def upload(self, content: bytes, received: int | None = None) -> str:
        """Begin an upload and send its first bytes; all of them unless told."""
        upload_id = self.manager.create(PATH, len(content)).upload_id
        self.manager.append(upload_id, 0, content[:received])
        return upload_id

    def pass_lease(self) -> None:
        """Sleep for longer than a lease."""
        self.clock.advance(timedelta(seconds=40))

    def settle(self) -> None:
        """Let time pass, sweep and drain until nothing more happens."""
        for _ in range(10):
            self.pass_lease()
            self.sweep()
            for upload_id in self.waker.take():
                self.drain(upload_id)

    def replicate(self) -> None:
        """What a Redis that fails over will remember is what it knows now."""
        book = self.ledger._book
        self._remembered = copy.deepcopy((book._entries, book.due, book.graves))

    def fail_over(self) -> None:
        """Redis comes back as it was."""
        book = self.ledger._book
        book._entries, book.due, book.graves = copy.deepcopy(self._remembered)

    @contextmanager
    def around(
        self, move: str, *, before: Callable[[], object] | None = None, after: Any = None
    ) -> Iterator[None]:
        """Have something happen before or after the first call of a worker's move."""
        real = getattr(self.ledger.leases, move)
        first = [True]

        def call(*args: Any, **options: Any) -> Any:
            now, first[0] = first[0], False
            if now and before:
                before()
            answer = real(*args, **options)
            if now and after:
                after()
            return answer

        with mock.patch.object(self.ledger.leases, move, call):
            yield


class PuttingStore(MemoryStore):
    """A ``MemoryStore`` that takes whole objects on a condition, as S3 does."""

    def __init__(self) -> None:
        super().__init__()
        self.before_put: list[Callable[[], object]] = []

    def chunk_file_service(self) -> MemoryFileService:
        return _PuttingService(self)

    def place(self, data: bytes, upload_id: str = "") -> MemoryObject:
        """Make an object; its etag is the MD5 of its bytes."""
        etag = hashlib.md5(data).hexdigest()
        made = MemoryObject(
            data=data, etag=etag, last_modified=datetime.now(UTC), upload_id=upload_id
        )
        self.contents[PATH] = made
        return made

    def etag(self) -> str:
        """Of what is there now; empty for nothing."""
        return self.contents[PATH].etag if PATH in self.contents else ""


class _PuttingService(MemoryFileService):
    """Looks, and puts on the condition of what it saw: as ``S3FileService`` does."""

    def __init__(self, store: PuttingStore) -> None:
        super().__init__(store)
        self._putting = store

    def can_put_whole(self, length: int) -> bool:
        return True

    def put_whole(
        self, upload: ChunkUpload, part: Part, heartbeat: Heartbeat
    ) -> StoredObject | None:
        condition = self._putting.etag()
        if condition:
            return self.find_object()
        if self._putting.before_put:
            self._putting.before_put.pop()()
        if self._putting.etag() != condition:
            raise StoreUnavailable("PreconditionFailed")
        made = self._putting.place(bytes(part.data), upload.upload_id)
        return StoredObject(size=len(made.data), etag=made.etag)


def test_a_late_put_shows_no_cancelled_upload() -> None:
    """A worker sleeps before it puts the whole object; the upload is cancelled meanwhile."""
    store = PuttingStore()
    world = World(store)
    upload_id = world.upload(b"small")

    def meanwhile() -> None:
        world.manager.cancel(upload_id)
        world.pass_lease()
        world.drain(upload_id)

    store.before_put.append(meanwhile)
    world.drain(upload_id)
    world.settle()
    is_complete = world.manager.get(upload_id).state is State.COMPLETE
    assert is_complete == (PATH in store.contents)


def test_a_whole_object_replaces_no_other() -> None:
    """The bytes that a worker saw at the path could come back before its request lands."""
    store = PuttingStore()
    world = World(store)
    store.place(b"version 1")
    upload_id = world.upload(b"version 2")
    store.before_put.append(lambda: None)
    world.drain(upload_id)
    assert store.before_put, "it was put"
    assert world.manager.get(upload_id).state is State.COMPLETE
    assert store.contents[PATH].data == b"version 2"


def test_a_failover_before_completing_removes_no_session() -> None:
    """Redis forgets the last bytes just before the direction is fixed."""
    store = FaultyStore()
    world = World(store)
    upload_id = world.upload(CONTENT, 2 * PART)

    def forget_the_rest() -> None:
        world.replicate()
        world.manager.append(upload_id, 2 * PART, CONTENT[2 * PART :])

    store.before("upload_part", lambda: None, forget_the_rest)
    with world.around("begin_complete", before=world.fail_over):
        world.drain(upload_id)
    world.manager.append(upload_id, 2 * PART, CONTENT[2 * PART :])
    world.settle()
    assert world.manager.get(upload_id).state is State.COMPLETE


def test_a_failover_during_a_turn_fails_nothing() -> None:
    """Redis forgets bytes that the worker was about to read."""
    store = FaultyStore()
    world = World(store)
    upload_id = world.upload(CONTENT, PART)

    def forget_the_rest() -> None:
        world.replicate()
        world.manager.append(upload_id, PART, CONTENT[PART:])

    store.before("upload_part", forget_the_rest)
    with world.around("commit", after=world.fail_over):
        world.drain(upload_id)
    assert world.manager.get(upload_id).state is State.RECEIVING


def test_a_part_of_a_forgotten_session_does_not_count() -> None:
    """Redis forgets the session while its first part is on its way to the store."""
    store = FaultyStore()
    world = World(store)
    upload_id = world.upload(CONTENT, PART)
    store.after("upload_part", world.fail_over)
    with world.around("record_session", before=world.replicate):
        world.drain(upload_id)
    world.manager.append(upload_id, PART, CONTENT[PART:])
    world.settle()
    assert world.manager.get(upload_id).state is State.COMPLETE


def test_a_worker_that_wakes_up_late_leaves_no_session() -> None:
    """It opens a session long after its upload was cancelled and looked after."""
    store = FaultyStore()
    world = World(store)
    upload_id = world.upload(CONTENT)

    def meanwhile() -> None:
        world.manager.cancel(upload_id)
        world.pass_lease()
        world.settle()

    store.before("initialize_chunk", meanwhile)
    world.drain(upload_id)
    world.settle()
    assert store.sessions == {}


def test_a_late_file_is_reaped_beside_the_next_upload(tmp_path: Path) -> None:
    """Not found by the model, whose sessions share their path: local files do not."""
    world = World(LocalStore(tmp_path))
    first = world.upload(CONTENT)
    held = world.ledger.records.get(first)
    world.manager.cancel(first)
    world.drain(first)
    late = world.store.chunk_file_service()
    late.restore(held, "")
    late.initialize_chunk(held)
    second = world.upload(CONTENT)
    world.pass_lease()
    world.pass_lease()
    world.sweep()
    world.drain(second)
    world.settle()
    assert list((tmp_path / ".chunkferry").iterdir()) == []
