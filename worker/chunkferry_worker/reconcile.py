"""Reconcile: finds what stores and Redis do not agree on, both ways. Knows ports only.

Orphans at the stores are removed. Of uploads it tells only: sessions that the store has
forgotten, objects that are whole although Redis says otherwise, and complete uploads without one.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from functools import partial
from typing import Final

from chunkferry.config import Settings
from chunkferry.errors import (
    ChunkferryError,
    ConfigError,
    InvalidArgument,
    RedisUnavailable,
    StoreError,
    UploadNotFound,
)
from chunkferry.services import (
    Attesting,
    Auditing,
    ChunkStore,
    HeadService,
    Ledger,
    Portable,
    Waker,
)
from chunkferry.state import State
from chunkferry.storage import Stores
from chunkferry.upload import ChunkUpload
from chunkferry_worker import unforeseen
from chunkferry_worker.findings import Finding, ReconcileReport, Verdict
from chunkferry_worker.orphans import Orphans
from chunkferry_worker.strays import Searchable, Strays

log = logging.getLogger(__name__)

#: States in which an object may be whole without there ever having been a session.
_WITHOUT_SESSION: Final = frozenset({State.COMPLETING, State.FAILED})
#: What is to be known beside the verdict.
_REASONS: Final = {
    Verdict.STORED: "its next turn finds the object; requeue it if it has failed",
    Verdict.WOKEN: "a worker was asked to look at it",
    Verdict.LOST: "its next turn fails if parts were stored: cancel it and send the file again",
    Verdict.MISSING: "no object of its size is at the store",
}


class Reconcile:
    """Searches, for as long as one is asked to. Thread-safe."""

    def __init__(self, ledger: Ledger, stores: Stores, waker: Waker, settings: Settings) -> None:
        self._ledger = ledger
        self._stores = stores
        self._waker = waker
        self._settings = settings
        #: Searches whose time was over, by service; that of the uploads by the empty name.
        self._begun: dict[str, Iterator[Finding]] = {}

    def run(self) -> ReconcileReport:
        """Search everywhere and remove orphans, for about one turn of a drain at the longest.

        What time is left over for is the next run's business, which goes on from there.

        Raises:
            RedisUnavailable: the next run will do it.
        """
        report = ReconcileReport()
        # Each half has its own time: neither a slow store nor many uploads starve the other.
        deadline = time.monotonic() + self._settings.slice_seconds / 2
        services = self._stores.names
        random.shuffle(services)
        for service in services:
            begin = partial(self.orphans, service, remove=True)
            self._go_on(service, begin, deadline, report)
        deadline = time.monotonic() + self._settings.slice_seconds / 2
        self._go_on("", partial(self.uploads, wake=True), deadline, report)
        report.unlisted = self.unlisted(self._stores.names)
        return report

    def orphans(
        self, service: str, *, remove: bool, older_than: timedelta | None = None
    ) -> Iterator[Finding]:
        """Look at all that is left over in the store of ``service``, one by one.

        Args:
            service: whose store.
            remove: remove orphans on the way, instead of telling only.
            older_than: what is younger is left alone; default ``Settings.orphan_age``.

        Raises:
            InvalidArgument: ``older_than`` is shorter than that.
            StoreError, ConfigError: the store cannot be listed.
            RedisUnavailable: nobody can tell what is in use.
        """
        least = self._settings.orphan_age
        age = least if older_than is None else older_than
        if age < least:
            raise InvalidArgument(
                f"what is younger than {least.total_seconds():.0f} s may still be needed: the "
                "longest of incomplete_upload_expiry and failed_upload_expiry, result_ttl and two "
                f"leases; {age.total_seconds():.0f} s is too short"
            )
        return self._orphans(service, self._stores[service], age, remove=remove)

    def _orphans(
        self, service: str, store: ChunkStore, age: timedelta, *, remove: bool
    ) -> Iterator[Finding]:
        records = self._ledger.records
        if isinstance(store, Auditing):
            yield from Orphans(
                records=records, service=service, store=store, older_than=age, remove=remove
            )
        if isinstance(store, Searchable):
            yield from Strays(
                records=records, service=service, store=store, older_than=age, remove=remove
            )

    def uploads(self, services: Collection[str] | None = None, *, wake: bool) -> Iterator[Finding]:
        """Look at all uploads, one by one, that are in ``services``; default: in all of them.

        Args:
            services: whose uploads.
            wake: have workers look at uploads whose object is whole, instead of telling only.

        Raises:
            RedisUnavailable: the uploads cannot be listed.
        """
        wanted = set(self._stores.names if services is None else services)
        for upload in self._ledger.records.list_uploads():
            if upload.service not in wanted:
                continue
            try:
                with unforeseen.of_store(upload.service):
                    finding = self._compared(upload, wake=wake)
                yield finding
            except (StoreError, ConfigError) as exc:
                if exc.retryable:
                    wanted.remove(upload.service)  # it is down: each of the others would wait, too
                yield _finding(Verdict.STUCK, upload, str(exc))

    def unlisted(self, services: Collection[str]) -> list[str]:
        """Those of ``services`` whose stores cannot list what is unfinished."""
        found = []
        for service in services:
            try:
                if not isinstance(self._stores[service], Auditing):
                    found.append(service)
            except ConfigError:
                found.append(service)
        return found

    def _go_on(
        self,
        name: str,
        begin: Callable[[], Iterator[Finding]],
        deadline: float,
        report: ReconcileReport,
    ) -> None:
        """Go on with a search, or begin anew."""
        # Of two runs at once the later one begins anew, which does no harm.
        findings = self._begun.pop(name, None)
        try:
            findings = begin() if findings is None else findings
            for finding in findings:
                report.count(finding)
                if time.monotonic() > deadline:
                    self._begun[name] = findings
                    report.more = True
                    break
        except RedisUnavailable:
            raise
        except ChunkferryError as exc:
            report.stuck += 1
            log.warning(
                "Cannot look for what is left at a store: %s",
                exc,
                extra={"action": "reconcile", "service": name, "error": exc.code},
            )

    def _compared(self, upload: ChunkUpload, *, wake: bool) -> Finding:
        verdict = self._verdict(upload)
        if verdict is Verdict.AGREES or self._has_moved(upload):
            return _finding(Verdict.AGREES, upload)
        # A failed upload waits for a person, whatever is at the store.
        if verdict is Verdict.STORED and wake and upload.state is not State.FAILED:
            self._waker.wake(upload.upload_id)
            verdict = Verdict.WOKEN
        return _finding(verdict, upload, _REASONS[verdict])

    def _verdict(self, upload: ChunkUpload) -> Verdict:
        if upload.state is State.COMPLETE and not upload.is_removed:
            return Verdict.AGREES if self._has_object(upload) else Verdict.MISSING
        if upload.has_ended or upload.holder or upload.state is State.ABORTING:
            return Verdict.AGREES  # nothing is to be there, or a worker is about to see for itself
        return self._verdict_of_session(upload)

    def _verdict_of_session(self, upload: ChunkUpload) -> Verdict:
        service = self._stores[upload.service].chunk_file_service()
        if not isinstance(service, Portable):
            return Verdict.AGREES
        service.restore(upload, upload.session)
        if upload.session:
            is_open = not isinstance(service, Attesting) or service.has_session()
        else:
            is_open = upload.state not in _WITHOUT_SESSION
        if is_open:
            return Verdict.AGREES
        if service.find_object() is not None:
            return Verdict.STORED
        return Verdict.LOST if upload.session else Verdict.AGREES

    def _has_object(self, upload: ChunkUpload) -> bool:
        """True unless the object of a complete upload is known not to be there."""
        store = self._stores[upload.service]
        newest = self._ledger.records.find(upload.service, upload.filepath)
        replaced = newest is not None and newest.upload_id != upload.upload_id
        if replaced or not isinstance(store, HeadService):
            return True
        head = store.head(upload.filepath)
        return head.exists and head.content_length == upload.length

    def _has_moved(self, upload: ChunkUpload) -> bool:
        """True if something happened to the upload while the store was asked."""
        try:
            now = self._ledger.records.get(upload.upload_id)
        except UploadNotFound:
            return True
        return (now.state, now.epoch, now.session) != (upload.state, upload.epoch, upload.session)


def _finding(verdict: Verdict, upload: ChunkUpload, reason: str = "") -> Finding:
    return Finding(
        verdict=verdict,
        service=upload.service,
        filepath=upload.filepath,
        upload_id=upload.upload_id,
        reason=reason,
    )
