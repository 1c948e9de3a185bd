"""A thief of wake-ups: takes messages off the workers' queue, and loses or doubles them."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter

import redis

from chunkferry.wakeup import DRAIN


class Thief:
    """One more consumer of the queue, in a thread of its own, at work when told to."""

    def __init__(self, broker: redis.Redis, seed: int) -> None:
        self._broker = broker
        self._dice = random.Random(f"thief/{seed}")
        self._until = {"dropped": 0.0, "doubled": 0.0}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.counts = Counter[str]()
        self._thread.start()

    def drop(self, seconds: float) -> None:
        """Lose what is caught, for some seconds."""
        self._until["dropped"] = time.monotonic() + seconds

    def double(self, seconds: float) -> None:
        """Put what is caught back twice, for some seconds."""
        self._until["doubled"] = time.monotonic() + seconds

    def close(self) -> None:
        """Stop."""
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._ended.wait(0.05):
            now = time.monotonic()
            ways = [way for way, until in self._until.items() if now < until]
            if ways:
                # A broker that is down just now has nothing to steal.
                with contextlib.suppress(redis.RedisError):
                    self._steal(self._dice.choice(ways))

    def _steal(self, way: str) -> None:
        found = self._broker.blpop([DRAIN], timeout=0.1)
        if not found:
            return
        message = found[1]
        self.counts[way] += 1
        if way == "doubled":
            self._broker.rpush(DRAIN, message, message)
