"""``PerProcess``: what each process makes for itself when it first asks, such as a client."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, Generic, TypeVar

MadeT = TypeVar("MadeT")


class PerProcess(Generic[MadeT]):
    """Clients of SDKs are safe to share among threads; sockets are not among processes.

    So a forked child gets one of its own. There is no lock, which a fork could leave locked for
    ever: of two threads that make one at once, both use the one that came first.
    """

    def __init__(self, make: Callable[[], MadeT]) -> None:
        self._make: Final = make
        self._made: Final[dict[int, MadeT]] = {}

    def __call__(self) -> MadeT:
        """That of this process; raises what making it raises."""
        process = os.getpid()
        if process not in self._made:
            self._made.setdefault(process, self._make())
        return self._made[process]
