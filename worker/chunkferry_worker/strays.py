"""Strays: objects of partial uploads that no upload leads to any more. Knows ports only.

First the store's listing, then Redis, then the object: their paths are never used twice, so it
does not matter how long ago the listing was.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable

from chunkferry.errors import StoreError
from chunkferry.filepath import PARTIALS, is_partial
from chunkferry.services import HeadService, ListService, Records, Service
from chunkferry_worker import unforeseen
from chunkferry_worker.findings import Finding, Verdict

log = logging.getLogger(__name__)


@runtime_checkable
class Searchable(ListService, HeadService, Service, Protocol):
    """A store that can be searched for strays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strays:
    """The strays of one service, judged one by one."""

    records: Records
    service: str
    store: Searchable
    #: Whatever is younger is left alone, by this computer's clock.
    older_than: timedelta
    #: True to remove them, False to tell only.
    remove: bool

    def __iter__(self) -> Iterator[Finding]:
        """Each object that no upload leads to; old ones are removed on the way.

        Raises:
            StoreError: the store cannot be listed.
            RedisUnavailable: nobody can tell what is needed.
        """
        with unforeseen.of_store(self.service):
            for found in self.store.objects(PARTIALS):
                # What does not look like ours is another program's.
                if not is_partial(found.filepath):
                    continue
                if self.records.find(self.service, found.filepath) is None:
                    yield self._judge(found.filepath)

    def _judge(self, filepath: str) -> Finding:
        try:
            with unforeseen.of_store(self.service):
                head = self.store.head(filepath)
                if head.last_modified is None:
                    return self._finding(Verdict.AGREES, filepath)
                age, size = datetime.now(UTC) - head.last_modified, head.content_length
                if age < self.older_than:
                    return self._finding(Verdict.YOUNG, filepath, age)
                if not self.remove:
                    return self._finding(Verdict.ORPHAN, filepath, age, size)
                self.store.delete(filepath)
        except StoreError as exc:
            # One that can never be removed must not keep the others.
            return self._finding(Verdict.STUCK, filepath, reason=str(exc))
        log.info(
            "Removed the object of a partial upload that nobody knows, %d bytes.",
            size,
            extra={"action": "reconcile", "service": self.service, "filepath": filepath},
        )
        return self._finding(Verdict.REMOVED, filepath, age, size)

    def _finding(
        self,
        verdict: Verdict,
        filepath: str,
        age: timedelta = timedelta(0),
        size: int = 0,
        reason: str = "",
    ) -> Finding:
        return Finding(
            verdict=verdict,
            service=self.service,
            filepath=filepath,
            age=age,
            size=size,
            reason=reason,
        )
