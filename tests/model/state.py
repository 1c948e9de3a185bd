"""Everything there is at one moment: Redis, the broker, the store, and every process. Pure data.

Knows no rules. A part is one unit of bytes, a session a small number, a clock does not exist:
whether a lease has run out or a producer has gone silent is a fact like any other.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

from chunkferry.state import State

_T = TypeVar("_T")

#: Owner of an upload that nobody holds.
NOBODY: Final = 0
#: Owner of an upload whose holder is dead, or has stopped without letting go.
DEAD: Final = 9


class Upload(NamedTuple):
    """What Redis knows of one upload."""

    state: State | None = None  #: None before ``create``
    received: int = 0
    stored: int = 0
    owner: int = NOBODY  #: nonce of the lease: the number of the worker
    leased: bool = False  #: the lease has not run out
    scheduled: bool = False
    session: int = 0
    resting: bool = False  #: put off after an error
    deaths: int = 0
    due: bool = False
    grave: bool = False


class Session(NamedTuple):
    """One open session at the store."""

    upload: int
    parts: int = 0  #: bit n is set once part n is there


class Object(NamedTuple):
    """What is visible under the path."""

    upload: int  #: -1 if it was there before
    etag: int  #: of its bytes: the same for the same bytes


class Request(NamedTuple):
    """A call to the store."""

    verb: str
    upload: int
    session: int = 0
    part: int = 0
    condition: int = 0  #: etag that has to be there; 0 for "nothing"


class Worker(NamedTuple):
    """A worker process: where its drain stands, and what it believes."""

    at: str = "idle"
    upload: int = 0
    received: int = 0
    stored: int = 0
    sealed: bool = False  #: all bytes are received, and their number known
    removing: bool = False
    session: int = 0
    listed: tuple[int, ...] = ()
    condition: int = 0


class Sweeper(NamedTuple):
    """The sweep looking after one grave."""

    at: str = "idle"
    upload: int = 0
    listed: tuple[int, ...] = ()


IDLE: Final = Worker()


class World(NamedTuple):
    """One state of the model."""

    uploads: tuple[Upload, ...]
    #: Wake-ups on their way, of each upload.
    messages: tuple[int, ...]
    #: Whether each upload's producer still sends.
    producing: tuple[bool, ...]
    workers: tuple[Worker, ...]
    #: By id, from 1; None once closed. Ids are never used again.
    sessions: tuple[Session | None, ...] = ()
    object: Object | None = None
    sweeper: Sweeper = Sweeper()
    #: Requests of killed workers that may land later, or never.
    flying: tuple[Request, ...] = ()
    #: How many more things may go wrong.
    faults: int = 0
    cancels: int = 0
    requeues: int = 0
    rollbacks: int = 0
    #: What a Redis that fails over will remember.
    snapshot: tuple[Upload, ...] | None = None

    def with_upload(self, index: int, upload: Upload) -> World:
        """The world with another upload in that place."""
        return self._replace(uploads=changed(self.uploads, index, upload))

    def with_worker(self, index: int, worker: Worker) -> World:
        """The world with another worker in that place."""
        return self._replace(workers=changed(self.workers, index, worker))

    def session(self, session: int) -> Session | None:
        """The open session of that id."""
        return self.sessions[session - 1] if session else None

    def told(self, upload: int) -> World:
        """The world with one more wake-up on its way; more than two make no difference."""
        count = min(2, self.messages[upload] + 1)
        return self._replace(messages=changed(self.messages, upload, count))


def changed(items: tuple[_T, ...], index: int, item: _T) -> tuple[_T, ...]:
    """``items`` with another one in that place."""
    return (*items[:index], item, *items[index + 1 :])
