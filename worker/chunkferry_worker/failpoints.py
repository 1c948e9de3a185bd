"""Failpoints: a fault, on request, before or after a dangerous call of a worker. For tests.

Where ``CHUNKFERRY_FAILPOINTS`` names a folder, the calls of ``CALLS`` look there for a fault that
is armed for their upload; without it nothing is wrapped, and nothing is asked. Knows what the
calls are named, and not what they do.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from chunkferry.services import ChunkFileService, ChunkStore, Ledger, Portable, Waker
from chunkferry.storage import Stores
from chunkferry.upload import ChunkUpload

log = logging.getLogger(__name__)

#: Names the folder of the armed faults: one file for each upload, named by its id.
VARIABLE: Final = "CHUNKFERRY_FAILPOINTS"

_OF_LEASES: Final = (
    *("acquire", "record_session", "commit", "begin_complete"),
    *("finish", "release", "defer", "fail"),
)
_OF_AGENDA: Final = ("rouse", "forget_grave")
_OF_INTAKE: Final = ("append", "set_length")
_OF_JOINS: Final = ("linger", "give_up", "discard", "forget")
_OF_SERVICE: Final = (
    *("initialize_chunk", "upload_part", "find_part", "put_whole"),
    *("complete_upload", "find_object", "cleanup"),
)
_OF_WAKER: Final = ("wake", "join")
_OF_TELLING: Final = ("note",)
#: The calls that have a failpoint before and one after them.
CALLS: Final = (
    *(*_OF_LEASES, *_OF_AGENDA, *_OF_INTAKE, *_OF_JOINS),
    *(*_OF_SERVICE, *_OF_WAKER, *_OF_TELLING),
)


class Action(StrEnum):
    """What happens to a process that reaches a failpoint."""

    KILL = "kill"  #: SIGKILL
    STOP = "stop"  #: SIGSTOP, and SIGCONT after ``Fault.seconds``
    RAISE = "raise"  #: ``FaultRaised``
    DELAY = "delay"  #: it sleeps for ``Fault.seconds``


class FaultRaised(Exception):
    """The exception of ``Action.RAISE``: one that nothing in the code foresees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. It happens once."""

    #: A name of ``CALLS`` with ``.before`` or ``.after``.
    point: str
    action: Action
    #: How long, for ``STOP`` and ``DELAY``.
    seconds: float = 0.0


class Failpoints:
    """The armed faults of one folder, shared by all processes that know it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def arm(self, upload_id: str, fault: Fault) -> None:
        """Have ``fault`` happen to the next worker that reaches its point with this upload.

        Raises:
            ValueError: there is no such failpoint.
        """
        call, _, when = fault.point.partition(".")
        if call not in CALLS or when not in {"before", "after"}:
            msg = f"no failpoint {fault.point!r}; expected <call>.before or .after of {CALLS}"
            raise ValueError(msg)
        unfinished = self._folder / f".{upload_id}"
        unfinished.write_text(json.dumps(asdict(fault)))
        unfinished.rename(self._folder / upload_id)

    def is_armed(self, upload_id: str) -> bool:
        """True until the fault has happened."""
        return (self._folder / upload_id).exists()

    def reach(self, point: str, upload_id: str) -> None:
        """Suffer the fault that is armed for this point, if there is one."""
        armed = self._folder / upload_id
        try:
            fault = Fault(**json.loads(armed.read_text()))
            if fault.point != point:
                return
            armed.unlink()
        except FileNotFoundError:
            return  # none, or another process suffers it
        log.warning(
            "A failpoint was reached: %s at %s.",
            fault.action,
            point,
            extra={"action": "failpoint", "upload_id": upload_id},
        )
        _suffer(fault)

    def surround(self, ledger: Ledger, waker: Waker) -> None:
        """Have the calls of these look for faults."""
        self._surround(ledger.leases, _OF_LEASES, _first)
        self._surround(ledger.agenda, _OF_AGENDA, _first)
        self._surround(ledger.intake, _OF_INTAKE, _first)
        self._surround(ledger.joins, _OF_JOINS, _first)
        self._surround(waker, _OF_WAKER, _first)
        self._surround(ledger.telling, _OF_TELLING, lambda turn, *_: turn.upload.upload_id)

    def stores(self, services: Mapping[str, str]) -> Stores:
        """``Stores`` whose services look for faults."""
        return _ArmedStores(services, self._surround_service)

    def _surround_service(self, service: ChunkFileService) -> ChunkFileService:
        if isinstance(service, Portable):
            restore, bound = service.restore, list[str]()

            def bind(upload: ChunkUpload, state: str) -> None:
                bound[:] = [upload.upload_id]
                restore(upload, state)

            vars(service)["restore"] = bind
            self._surround(service, _OF_SERVICE, lambda *_: bound[0])
        return service

    def _surround(
        self, target: object, calls: tuple[str, ...], upload_id: Callable[..., str]
    ) -> None:
        # On the instance, not by a wrapper: what a service can do is asked with isinstance.
        for name in calls:
            if call := getattr(target, name, None):
                vars(target)[name] = self._surrounded(name, call, upload_id)

    def _surrounded(
        self, name: str, call: Callable[..., Any], upload_id: Callable[..., str]
    ) -> Callable[..., Any]:
        @functools.wraps(call)
        def surrounded(*args: Any, **options: Any) -> Any:
            self.reach(f"{name}.before", upload_id(*args))
            answer = call(*args, **options)
            self.reach(f"{name}.after", upload_id(*args))
            return answer

        return surrounded


class _ArmedStores(Stores):
    """Stores whose services are surrounded."""

    def __init__(
        self,
        services: Mapping[str, str],
        surround: Callable[[ChunkFileService], ChunkFileService],
    ) -> None:
        super().__init__(services)
        self._surround = surround

    def __getitem__(self, service: str) -> ChunkStore:
        store = super().__getitem__(service)
        if "chunk_file_service" not in vars(store):
            make = store.chunk_file_service
            vars(store)["chunk_file_service"] = lambda: self._surround(make())
        return store


def from_environment() -> Failpoints | None:
    """The failpoints of ``CHUNKFERRY_FAILPOINTS``; None if it is not set."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return None
    log.warning(
        "Failpoints are on: whatever is armed in %s happens to this worker. For tests only; unset "
        "%s otherwise.",
        folder,
        VARIABLE,
        extra={"action": "failpoint"},
    )
    return Failpoints(Path(folder))


def _first(upload: str | ChunkUpload, *_: object) -> str:
    return upload if isinstance(upload, str) else upload.upload_id


def _suffer(fault: Fault) -> None:
    match fault.action:
        case Action.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case Action.STOP:
            # Nobody who is stopped can continue himself.
            waking = ["/bin/sh", "-c", f"sleep {fault.seconds}; kill -CONT {os.getpid()}"]
            with subprocess.Popen(waking):  # noqa: S603 - numbers only
                os.kill(os.getpid(), signal.SIGSTOP)
        case Action.RAISE:
            raise FaultRaised(fault.point)
        case Action.DELAY:
            time.sleep(fault.seconds)
