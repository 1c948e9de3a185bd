"""``wait_until``: the one way a test waits for another process. No test sleeps by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Between two looks: short beside any process start, long beside a Redis round trip.
POLL_SECONDS = 0.02


def wait_until(predicate: Callable[[], object], timeout: float = 10.0, *, what: str = "") -> None:
    """Return as soon as ``predicate()`` is true.

    Args:
        predicate: Asked again and again; must not raise while the time for it has not come.
        timeout: Seconds after which the test fails.
        what: The fact waited for, for the failure's text.

    Raises:
        AssertionError: It did not become true in time.
    """
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            msg = f"after {timeout:g} s still not: {what or predicate}"
            raise AssertionError(msg)
        time.sleep(POLL_SECONDS)
