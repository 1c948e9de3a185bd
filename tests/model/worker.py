"""The drain as a program: one step per script and per request to the store.

Between any two steps the process may be killed, or may sleep until long after its lease. Each
step takes the world and the worker's number, and returns the worlds that may come of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from tests.model import store
from tests.model.bounds import Bounds, Guard
from tests.model.moves import Scripts, Violation
from tests.model.state import DEAD, IDLE, Request, Upload, Worker, World

from chunkferry.state import State

Step = Callable[[World, int, Worker], World]

#: Where a worker asks the store something without changing it.
LOOKS: Final = frozenset({"list", "look", "verify", "seek", "head"})


def request(worker: Worker) -> Request | None:
    """What the worker is about to ask of the store that changes it."""
    asked = _REQUESTS.get(worker.at)
    return asked(worker) if asked else None


_REQUESTS: Final[dict[str, Callable[[Worker], Request]]] = {
    "create": lambda worker: Request("create", worker.upload),
    "part": lambda worker: Request("part", worker.upload, worker.session, worker.stored),
    "complete": lambda worker: Request("complete", worker.upload, worker.session),
    "put": lambda worker: Request("put", worker.upload, condition=worker.condition),
    "abort": lambda worker: Request("abort", worker.upload, worker.session),
    "undo": lambda worker: Request("abort", worker.upload, worker.session),
    "purge": lambda worker: Request("abort", worker.upload, worker.listed[0]),
}


def stopped(world: World, index: int) -> World:
    """The worker is gone, or goes on to something else; what it still holds is a dead one's."""

    def orphaned(upload: Upload) -> Upload:
        return upload._replace(owner=DEAD) if upload.owner == index + 1 else upload

    snapshot = world.snapshot and tuple(map(orphaned, world.snapshot))
    return world._replace(
        uploads=tuple(map(orphaned, world.uploads)), snapshot=snapshot
    ).with_worker(index, IDLE)


class Drain:
    """The steps of a worker."""

    def __init__(self, bounds: Bounds, guards: frozenset[Guard], scripts: Scripts) -> None:
        self._bounds = bounds
        self._guards = guards
        self._scripts = scripts
        self._steps: Final[dict[str, Step]] = {
            "acquire": self._acquire,
            "read": self._read,
            "create": self._create,
            "record": self._record,
            "undo": self._undo,
            "fetch": self._fetch,
            "part": self._part,
            "commit": self._commit,
            "begin": self._begin,
            "complete": self._complete,
            "verify": self._verify,
            "seek": self._seek,
            "forget": self._forget,
            "direct": self._direct,
            "head": self._head,
            "put": self._put,
            "abort": self._abort,
            "list": self._list,
            "ask": self._ask,
            "purge": self._purge,
            "look": self._look,
            "finish complete": self._finish,
            "finish adopted": self._finish,
            "finish aborted": self._finish,
            "release": self._release,
            "wake": self._wake,
            "defer": self._defer,
            "fail": self._fail,
            "give up": self._give_up,
        }

    def steps(self, world: World, index: int) -> Iterator[tuple[str, World]]:
        """What the worker may do next."""
        worker = world.workers[index]
        if worker.at == "idle":
            for upload, count in enumerate(world.messages):
                if count:
                    messages = list(world.messages)
                    messages[upload] -= 1
                    taken = world._replace(messages=tuple(messages))
                    yield "takes a wake-up", taken.with_worker(index, Worker("acquire", upload))
            return
        yield worker.at, self._steps[worker.at](world, index, worker)
        if worker.at in {"fetch", "part"}:
            yield f"renews before: {worker.at}", self._renewed(world, index, worker)
        if worker.at == "fetch" and self._bounds.slices:
            yield "ends its slice", world.with_worker(index, worker._replace(at="release"))

    # --- beginning ----------------------------------------------------------------------------

    def _acquire(self, world: World, index: int, worker: Worker) -> World:
        answer, upload = self._scripts.acquire(world.uploads[worker.upload], index + 1)
        after = world.with_upload(worker.upload, upload)
        if answer not in {"acquired", "taken_over"}:
            return after.with_worker(index, IDLE)
        return after.with_worker(index, worker._replace(at="read"))

    def _read(self, world: World, index: int, worker: Worker) -> World:
        """``records.get``: not in the same breath as ``acquire``."""
        upload = world.uploads[worker.upload]
        worker = worker._replace(session=upload.session)
        if upload.state is State.ABORTING:
            return self._remove(world, index, worker)
        worker = self._standing(worker._replace(stored=upload.stored), upload)
        if self._puts_whole(worker):
            return world.with_worker(index, worker._replace(at="head"))
        return self._onward(world, index, worker)

    def _puts_whole(self, worker: Worker) -> bool:
        one = self._bounds.whole and self._bounds.parts == 1
        return one and worker.sealed and not worker.stored and not worker.session

    def _standing(self, worker: Worker, upload: Upload) -> Worker:
        sealed = upload.state in {State.RECEIVED, State.COMPLETING}
        return worker._replace(received=upload.received, sealed=sealed)

    def _onward(self, world: World, index: int, worker: Worker) -> World:
        """What comes next, as far as the worker knows."""
        ready = worker.received if worker.sealed else min(worker.received, self._bounds.parts - 1)
        if not worker.session:
            at = "create"
        elif worker.stored < ready:
            at = "fetch"
        else:
            at = "begin" if worker.sealed else "release"
        return world.with_worker(index, worker._replace(at=at))

    # --- storing ------------------------------------------------------------------------------

    def _create(self, world: World, index: int, worker: Worker) -> World:
        after, _ = self._ask_store(world, worker)
        made = worker._replace(at="record", session=len(after.sessions))
        return after.with_worker(index, made)

    def _record(self, world: World, index: int, worker: Worker) -> World:
        before = world.uploads[worker.upload]
        answer, upload = self._scripts.record_session(before, index + 1, 0, worker.session)
        after = world.with_upload(worker.upload, upload)
        if answer == "recorded":
            return self._onward(after, index, worker)
        if answer == "aborting":
            return self._remove(after, index, worker)
        if Guard.LOSER_ABORTS in self._guards:
            return after.with_worker(index, worker._replace(at="undo"))
        return stopped(after, index)

    def _undo(self, world: World, index: int, worker: Worker) -> World:
        return stopped(self._ask_store(world, worker)[0], index)

    def _fetch(self, world: World, index: int, worker: Worker) -> World:
        """Read the part's bytes from the stream; they are missing to a former holder."""
        upload = world.uploads[worker.upload]
        if upload.stored <= worker.stored < upload.received:
            return world.with_worker(index, worker._replace(at="part"))
        answer, renewed = self._scripts.renew(upload, index + 1)
        after = world.with_upload(worker.upload, renewed)
        if answer == "fenced":
            return stopped(after, index)
        if upload.state is State.ABORTING:
            return self._remove(after, index, worker)
        if upload.received <= worker.stored and Guard.READER_DOUBTS in self._guards:
            return stopped(after, index)
        return after.with_worker(index, worker._replace(at="give up"))

    def _renewed(self, world: World, index: int, worker: Worker) -> World:
        """A heartbeat: the worker learns how the upload stands."""
        answer, upload = self._scripts.renew(world.uploads[worker.upload], index + 1)
        if answer == "fenced":
            return stopped(world, index)
        after = world.with_upload(worker.upload, upload)
        if upload.state is State.ABORTING:
            return self._remove(after, index, worker)
        return after.with_worker(index, self._standing(worker, upload))

    def _part(self, world: World, index: int, worker: Worker) -> World:
        after, answer = self._ask_store(world, worker)
        at = "commit" if answer == "done" else "seek"
        return after.with_worker(index, worker._replace(at=at))

    def _commit(self, world: World, index: int, worker: Worker) -> World:
        before = world.uploads[worker.upload]
        start, session = worker.stored, worker.session
        answer, upload = self._scripts.commit(before, index + 1, start, session)
        after = world.with_upload(worker.upload, upload)
        if answer == "aborting":
            return self._remove(after, index, worker)
        if answer != "committed":
            return stopped(after, index)
        if upload.stored < before.stored:
            raise Violation("stored went back")
        moved = self._standing(worker._replace(stored=worker.stored + 1), upload)
        return self._onward(after, index, moved)

    # --- completing ---------------------------------------------------------------------------

    def _begin(self, world: World, index: int, worker: Worker) -> World:
        return self._directed(world, index, worker, "complete", whole=False)

    def _direct(self, world: World, index: int, worker: Worker) -> World:
        return self._directed(world, index, worker, "put", whole=True)

    def _directed(
        self, world: World, index: int, worker: Worker, then: str, *, whole: bool
    ) -> World:
        before = world.uploads[worker.upload]
        answer, upload = self._scripts.begin_complete(before, index + 1, whole=whole)
        after = world.with_upload(worker.upload, upload)
        if answer == "begun":
            return after.with_worker(index, worker._replace(at=then))
        confused = answer == "closed" and Guard.BEGIN_TELLS not in self._guards
        if answer == "aborting" or confused:
            return self._remove(after, index, worker)
        return stopped(after, index)

    def _complete(self, world: World, index: int, worker: Worker) -> World:
        after, answer = self._ask_store(world, worker)
        at = "give up" if answer == "incomplete" else "verify"
        return after.with_worker(index, worker._replace(at=at))

    def _verify(self, world: World, index: int, worker: Worker) -> World:
        at = "finish complete" if self._is_ours(world, worker) else "give up"
        return world.with_worker(index, worker._replace(at=at))

    def _seek(self, world: World, index: int, worker: Worker) -> World:
        """The session is gone: is the object there?"""
        if self._is_ours(world, worker) and Guard.ADOPT in self._guards:
            at = "finish adopted"
        else:
            at = "give up" if worker.stored else "forget"
        return world.with_worker(index, worker._replace(at=at))

    def _forget(self, world: World, index: int, worker: Worker) -> World:
        before = world.uploads[worker.upload]
        answer, upload = self._scripts.record_session(before, index + 1, worker.session, 0)
        after = world.with_upload(worker.upload, upload)
        if answer == "recorded":
            return after.with_worker(index, worker._replace(at="defer", session=0))
        if answer == "aborting":
            return self._remove(after, index, worker)
        return stopped(after, index)

    def _head(self, world: World, index: int, worker: Worker) -> World:
        if self._is_ours(world, worker):
            return world.with_worker(index, worker._replace(at="finish adopted"))
        there = world.object.etag if world.object else 0
        if there and Guard.PUT_ABSENT in self._guards:
            return world.with_worker(index, worker._replace(at="create"))
        at = "direct" if Guard.PUT_DIRECTION in self._guards else "put"
        return world.with_worker(index, worker._replace(at=at, condition=there))

    def _put(self, world: World, index: int, worker: Worker) -> World:
        after, _ = self._ask_store(world, worker)
        at = "finish adopted" if self._is_ours(after, worker) else "defer"
        return after.with_worker(index, worker._replace(at=at))

    # --- removing -----------------------------------------------------------------------------

    def _remove(self, world: World, index: int, worker: Worker) -> World:
        """Begin to clean up; what is no longer needed is forgotten."""
        at = "abort" if worker.session else "list"
        fresh = Worker(at, worker.upload, session=worker.session, removing=True)
        return world.with_worker(index, fresh)

    def _abort(self, world: World, index: int, worker: Worker) -> World:
        after, _ = self._ask_store(world, worker)
        return after.with_worker(index, worker._replace(at="list", session=0))

    def _list(self, world: World, index: int, worker: Worker) -> World:
        found = store.listed(world)
        at = "look"
        if found:
            at = "ask" if Guard.CLEANUP_ASKS in self._guards else "purge"
        return world.with_worker(index, worker._replace(at=at, listed=found))

    def _ask(self, world: World, index: int, worker: Worker) -> World:
        """Still the holder: then what was listed belongs to nobody who came later."""
        answer, upload = self._scripts.renew(world.uploads[worker.upload], index + 1)
        if answer == "fenced":
            return stopped(world, index)
        after = world.with_upload(worker.upload, upload)
        return after.with_worker(index, worker._replace(at="purge"))

    def _purge(self, world: World, index: int, worker: Worker) -> World:
        after, _ = self._ask_store(world, worker)
        rest = worker.listed[1:]
        at = "purge" if rest else "list"
        return after.with_worker(index, worker._replace(at=at, listed=rest))

    def _look(self, world: World, index: int, worker: Worker) -> World:
        adopted = self._is_ours(world, worker) and Guard.ADOPT in self._guards
        at = "finish adopted" if adopted else "finish aborted"
        return world.with_worker(index, worker._replace(at=at))

    # --- letting go ---------------------------------------------------------------------------

    def _finish(self, world: World, index: int, worker: Worker) -> World:
        ending = worker.at.removeprefix("finish ")
        _, upload = self._scripts.finish(world.uploads[worker.upload], index + 1, ending)
        return stopped(world.with_upload(worker.upload, upload), index)

    def _release(self, world: World, index: int, worker: Worker) -> World:
        answer, upload = self._scripts.release(world.uploads[worker.upload], index + 1)
        after = world.with_upload(worker.upload, upload)
        if answer == "more":
            return after.with_worker(index, Worker("wake", worker.upload))
        return stopped(after, index)

    def _wake(self, world: World, index: int, worker: Worker) -> World:
        return stopped(world.told(worker.upload), index)

    def _defer(self, world: World, index: int, worker: Worker) -> World:
        _, upload = self._scripts.defer(world.uploads[worker.upload], index + 1)
        return stopped(world.with_upload(worker.upload, upload), index)

    def _fail(self, world: World, index: int, worker: Worker) -> World:
        _, upload = self._scripts.fail(world.uploads[worker.upload], index + 1)
        return stopped(world.with_upload(worker.upload, upload), index)

    def _give_up(self, world: World, index: int, worker: Worker) -> World:
        """``fail`` because bytes or the session seem to be lost."""
        answer, _ = self._scripts.fail(world.uploads[worker.upload], index + 1)
        if answer == "failed":
            raise Violation("an upload was given up because something of it was lost")
        return stopped(world, index)

    def _ask_store(self, world: World, worker: Worker) -> tuple[World, str]:
        asked = request(worker)
        assert asked is not None
        return store.applied(world, asked, self._bounds.parts)

    def _is_ours(self, world: World, worker: Worker) -> bool:
        return world.object is not None and world.object.upload == worker.upload
