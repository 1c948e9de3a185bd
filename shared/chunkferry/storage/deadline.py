"""``Deadline``: the end of one call to a store, whatever its server does. Knows no store.

An SDK bounds each silence of a server, but not the sum of them: a body that trickles goes on for
ever. So a call with a deadline runs in a thread of its own, and is left alone when its time is up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, TypeVar

from chunkferry.errors import InvalidArgument, StoreUnavailable

T = TypeVar("T")


def check_timeout(timeout: timedelta) -> timedelta:
    """``timeout`` if a call can have it.

    Raises:
        InvalidArgument: it is not above zero.
    """
    if timeout <= timedelta(0):
        msg = f"a timeout must be above zero, not {timeout.total_seconds():g} s"
        raise InvalidArgument(msg)
    return timeout


class Deadline:
    """When one call has to be over; never, without a ``timeout``."""

    def __init__(self, action: str, timeout: timedelta | None = None) -> None:
        """Begin now. ``action`` begins the text of the error."""
        self._action: Final = action
        self._timeout: Final = timeout
        self._end: Final = time.monotonic() + timeout.total_seconds() if timeout else None
        #: What ends the calls under way; see ``cutting``.
        self._cuts: Final = set[Callable[[], object]]()

    def check(self) -> None:
        """Do nothing while there is time.

        Raises:
            StoreUnavailable: the time is up.
        """
        if self._timeout is not None and self._remaining() == 0:
            msg = f"{self._action}: not done within {self._timeout.total_seconds():g} s"
            raise StoreUnavailable(msg)

    def wait_for(self, future: Future[T]) -> T:
        """What ``future`` comes to.

        Raises:
            StoreUnavailable: it did not in time. It goes on, and nobody looks at it any more.
        """
        if not wait([future], self._remaining()).done:
            for cut in list(self._cuts):
                cut()
        self.check()
        return future.result()

    @contextmanager
    def cutting(self, cut: Callable[[], object]) -> Iterator[None]:
        """Have ``cut`` called if the time is up while the block runs in another thread.

        It ends what the block waits for, so that no thread waits for it for ever.
        """
        self._cuts.add(cut)
        try:
            yield
        finally:
            self._cuts.discard(cut)

    def run(self, call: Callable[[], T]) -> T:
        """What ``call`` returns.

        Without a timeout it runs in this thread; with one, what it does must ``check`` wherever
        it touches what is the caller's.

        Raises:
            StoreUnavailable: it did not return in time.
        """
        return call() if self._end is None else self.wait_for(spawn(call))

    def _remaining(self) -> float | None:
        return None if self._end is None else max(0.0, self._end - time.monotonic())


def spawn(call: Callable[[], T]) -> Future[T]:
    """Run ``call`` in a thread that does not keep the process from ending."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as exc:
            # Whoever waits for it gets it.
            future.set_exception(exc)

    threading.Thread(target=run, name="chunkferry-transfer", daemon=True).start()
    return future
