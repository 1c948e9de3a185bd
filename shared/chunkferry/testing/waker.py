"""``RecordingWaker``: keeps wake-ups instead of sending them; can lose and double them."""

from __future__ import annotations


class RecordingWaker:
    """A ``Waker`` that a test drains by hand. Thread-safe."""

    def __init__(self) -> None:
        #: Uploads somebody asked to wake, in order.
        self.asked: list[str] = []
        #: Wake-ups that arrived, in order: what a worker would see.
        self.arrived: list[str] = []
        #: How often each wake-up arrives from now on: 0 loses it, 2 doubles it.
        self.copies = 1
        #: Requests to join uploads that arrived, in order.
        self.joins: list[str] = []

    def wake(self, upload_id: str) -> bool:
        """Keep the wake-up."""
        self.asked.append(upload_id)
        self.arrived.extend([upload_id] * self.copies)
        return True

    def join(self, upload_id: str) -> bool:
        """Keep the request to join."""
        self.joins.extend([upload_id] * self.copies)
        return True

    def take_joins(self) -> list[str]:
        """The requests to join that arrived since the last call."""
        taken = list(self.joins)
        del self.joins[: len(taken)]
        return taken

    def take(self) -> list[str]:
        """The wake-ups that arrived since the last call."""
        taken = list(self.arrived)
        del self.arrived[: len(taken)]
        return taken
