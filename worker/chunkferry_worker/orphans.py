"""Orphans: what is unfinished at a store, old, and known to no upload that has not ended.

Knows the ports of ledger and store only. First it lists, then it asks Redis, and only then it
removes what it had listed: nothing that begins meanwhile is ever among it.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from chunkferry.errors import StoreError, UploadNotFound
from chunkferry.services import Auditing, Records, Unfinished
from chunkferry_worker import unforeseen
from chunkferry_worker.findings import Finding, Verdict

log = logging.getLogger(__name__)

#: Unfinished things that are listed before Redis is asked which sessions are in use.
_BATCH: Final = 100
#: For so many seconds its answer is good: whoever looks may pause for an hour between two things.
_FRESH: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphans:
    """The orphans of one service, judged one by one."""

    records: Records
    service: str
    store: Auditing
    #: Whatever is younger is left alone.
    older_than: timedelta
    #: True to remove them, False to tell only.
    remove: bool

    def __iter__(self) -> Iterator[Finding]:
        """Each unfinished thing at the store; orphans are removed on the way.

        Raises:
            StoreError: the store cannot be listed.
            RedisUnavailable: nobody can tell what is in use.
        """
        for batch in self._batches():
            in_use, asked_at = set[str](), -_FRESH
            for found in batch:
                if found.age < self.older_than:
                    yield self._finding(Verdict.YOUNG, found)
                elif not found.is_ours:
                    yield self._finding(Verdict.FOREIGN, found)
                else:
                    if time.monotonic() - asked_at >= _FRESH:
                        in_use, asked_at = self._sessions_in_use(), time.monotonic()
                    yield self._judge(found, in_use)

    def _batches(self) -> Iterator[list[Unfinished]]:
        with unforeseen.of_store(self.service):
            listing = self.store.unfinished()
            while batch := list(itertools.islice(listing, _BATCH)):
                yield batch

    def _judge(self, found: Unfinished, in_use: Container[str]) -> Finding:
        if found.name in in_use or self._is_in_use(found):
            return self._finding(Verdict.IN_USE, found)
        try:
            with unforeseen.of_store(self.service):
                size = self.store.weigh(found)
                if not self.remove:
                    return replace(self._finding(Verdict.ORPHAN, found), size=size)
                if not self.store.remove(found):
                    return self._finding(Verdict.AGREES, found)
        except StoreError as exc:
            # One that can never be removed must not keep the others.
            return replace(self._finding(Verdict.STUCK, found), reason=str(exc))
        log.info(
            "Removed what no upload knows, %d bytes.",
            size,
            extra={"action": "reconcile", "service": self.service, "filepath": found.filepath},
        )
        return replace(self._finding(Verdict.REMOVED, found), size=size)

    def _finding(self, verdict: Verdict, found: Unfinished) -> Finding:
        return Finding(
            verdict=verdict,
            service=self.service,
            filepath=found.filepath,
            upload_id=found.upload_id,
            age=found.age,
        )

    def _sessions_in_use(self) -> set[str]:
        # Of all services: one store may lie within another one. An ended upload has none.
        return {upload.session for upload in self.records.list_uploads()} - {""}

    def _is_in_use(self, found: Unfinished) -> bool:
        """True if it may belong to an upload that has not ended, recorded or not."""
        if found.upload_id:
            try:
                return not self.records.get(found.upload_id).has_ended
            except UploadNotFound:
                return False
        newest = self.records.find(self.service, found.filepath)
        return newest is not None and not newest.has_ended
