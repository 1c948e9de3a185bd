"""Keeps children running until it is told to stop, then ends them in order.

A child that ends is started again, later and later; one that does nothing but end is given up.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from typing import Final

from chunkferry.errors import ChunkferryError
from chunkferry_worker.cli.children import Child

#: A child that ran for so long is well; what came before is forgotten, in seconds.
_WELL: Final = 30.0
#: The first pause before a new start, in seconds; each further one is twice as long.
_PAUSE: Final = 0.5
#: Ends in a row after which a child is given up.
_ENDS: Final = 5
#: Between two looks, in seconds.
_LOOK: Final = 0.05


class ChildKeepsEnding(ChunkferryError):
    """A process that ``up`` needs does not stay."""

    code = "child_keeps_ending"

    def __init__(self, name: str, how: str) -> None:
        super().__init__(f"{name} {how}, {_ENDS} times in a row; what it said stands above")


class Signals:
    """Counts the requests to stop. Handlers only count: anything else could deadlock in them."""

    def __init__(self) -> None:
        self._stops = 0
        self._interrupts = 0

    def install(self) -> None:
        """Handle SIGINT, SIGTERM and SIGHUP from now on."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._count)

    def stopping(self) -> bool:
        """Whether anybody wants it to end."""
        return self._stops > 0

    def hurried(self) -> bool:
        """Whether somebody pressed Ctrl-C again."""
        # Others may send SIGTERM after Ctrl-C on their own way out: no reason to hurry.
        return self._interrupts > 1

    def _count(self, number: int, frame: object) -> None:
        del frame
        self._stops += 1
        self._interrupts += number == signal.SIGINT


class Supervisor:
    """Several children, each started again whenever it ends."""

    def __init__(self, signals: Signals, say: Callable[[str], None]) -> None:
        self._signals = signals
        self._say = say
        self._kept: list[_Kept] = []

    def start(self, child: Child) -> None:
        """Start a child and keep it from now on."""
        self._kept.append(_Kept(child, self._say))
        child.start()

    def run(self, until: Callable[[], bool]) -> bool:
        """Tend the children until ``until()`` or a signal; True if it was ``until()``.

        Raises:
            ChildKeepsEnding: one of them was given up.
        """
        while not self._signals.stopping():
            if until():
                return True
            self.tend()
            time.sleep(_LOOK)
        return False

    def tend(self) -> None:
        """Start again what has ended and waited long enough."""
        for kept in self._kept:
            kept.tend()

    def stop(self, order: Sequence[str]) -> None:
        """End all children, by name in this ``order``."""
        self._kept.sort(key=lambda kept: order.index(kept.child.name))
        while self._kept:
            self._kept.pop(0).child.stop(self._signals.hurried)


class _Kept:
    """One child and its history."""

    def __init__(self, child: Child, say: Callable[[str], None]) -> None:
        self.child = child
        self._say = say
        self._started = time.monotonic()
        self._ends = 0
        self._again_at: float | None = None

    def tend(self) -> None:
        now = time.monotonic()
        if self._again_at is not None:
            if now >= self._again_at:
                self._again_at = None
                self._started = now
                self.child.start()
            return
        if not (how := self.child.ended()):
            return
        if now - self._started > _WELL:
            self._ends = 0
        self._ends += 1
        if self._ends >= _ENDS:
            raise ChildKeepsEnding(self.child.name, how)
        pause = _PAUSE * 2 ** (self._ends - 1)
        self._again_at = now + pause
        self._say(f"{self.child.name} {how}; starting it again in {pause:g} s")
