"""``reconcile``: shows what stores and Redis do not agree on, and removes orphans if told to."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from datetime import timedelta
from typing import Final

import click
from pydantic import TypeAdapter, ValidationError
from rich.table import Table
from rich.text import Text

from chunkferry import config, wakeup
from chunkferry.errors import (
    ChunkferryError,
    ConfigError,
    RedisUnavailable,
    StoreError,
    UnknownService,
)
from chunkferry.storage import Stores
from chunkferry_worker.cli.inspect import span_text
from chunkferry_worker.cli.output import Exit, Output, exit_code, printable, size_text
from chunkferry_worker.cli.session import Session, option, with_session
from chunkferry_worker.findings import WRONG, Finding, ReconcileReport, Verdict
from chunkferry_worker.reconcile import Reconcile

#: What is only counted.
_SILENT: Final = frozenset({Verdict.AGREES, Verdict.YOUNG, Verdict.IN_USE})
_COLOURS: Final = {
    Verdict.ORPHAN: "yellow",
    Verdict.REMOVED: "green",
    Verdict.STORED: "yellow",
    Verdict.WOKEN: "green",
    Verdict.STUCK: "red",
    Verdict.LOST: "red",
    Verdict.MISSING: "red",
}


def _span(_: click.Context, __: click.Parameter, value: str | None) -> timedelta | None:
    """A span of time, as settings take it."""
    try:
        return None if value is None else TypeAdapter(config.Span).validate_python(value)
    except ValidationError as exc:
        raise click.BadParameter(f"{value!r} is neither seconds nor such as P2D") from exc


@click.command()
@option("--service", envvar="CHUNKFERRY_SERVICE", help="Only this store; default: all.")
@option(
    "--remove",
    is_flag=True,
    envvar="CHUNKFERRY_RECONCILE_REMOVE",
    help="Remove orphans; without it they are only shown.",
)
@option(
    "--older-than",
    callback=_span,
    metavar="SPAN",
    envvar="CHUNKFERRY_RECONCILE_OLDER_THAN",
    help="Leave alone what is younger; seconds, or such as P2D. Default and least: the longest "
    "time that an upload lives without its producer, and its record after it.",
)
@with_session
def reconcile(
    session: Session, service: str | None, remove: bool, older_than: timedelta | None
) -> int:
    """Show what stores and Redis do not agree on; remove what no upload knows.

    Ends 1 if something is left that asks for attention.
    """
    settings = session.settings
    if service is not None and service not in settings.services:
        raise UnknownService(service, list(settings.services))
    services = [service] if service else sorted(settings.services)
    waker = wakeup.ProducerWaker(settings.broker)
    search = Reconcile(session.used_ledger, Stores(settings.services), waker, settings)
    teller = _Teller(session.output, ReconcileReport(unlisted=search.unlisted(services)))
    try:
        for name in services:
            with teller.progress(f"looking at what is unfinished in {name}"):
                try:
                    teller.tell(search.orphans(name, remove=remove, older_than=older_than))
                except (StoreError, ConfigError) as exc:
                    teller.fail(exc)
        with teller.progress("looking at uploads"):
            teller.tell(search.uploads(services, wake=remove))
    except (RedisUnavailable, KeyboardInterrupt):
        # What was removed so far is told all the same.
        teller.report.more = True
        teller.conclude()
        raise
    teller.conclude()
    return teller.code


class _Teller:
    """Tells what a search finds."""

    def __init__(self, output: Output, report: ReconcileReport) -> None:
        self.report = report
        self.code = Exit.OK
        self._output = output
        self._table = Table(box=None, pad_edge=False, header_style="bold")
        self._table.add_column("WHAT", no_wrap=True)
        self._table.add_column("SERVICE", no_wrap=True)
        self._table.add_column("PATH", overflow="fold", min_width=12)
        self._table.add_column("AGE", justify="right", no_wrap=True)
        self._table.add_column("SIZE", justify="right", no_wrap=True)
        self._table.add_column("", overflow="fold")

    def progress(self, text: str) -> AbstractContextManager[object]:
        """Say on a terminal what is being done."""
        if self._output.as_json or not self._output.err.is_terminal:
            return nullcontext()
        return self._output.err.status(Text(f"{printable(text)} …"))

    def tell(self, findings: Iterable[Finding]) -> None:
        """Tell of each finding that is worth it."""
        for finding in findings:
            self.report.count(finding)
            if finding.verdict in WRONG:
                self.code = self.code or Exit.FAILED
            if finding.verdict not in _SILENT:
                self._add(finding)

    def fail(self, error: ChunkferryError) -> None:
        """A store cannot be looked at."""
        self._output.failure(error)
        self.report.stuck += 1
        self.code = self.code or exit_code(error)

    def conclude(self) -> None:
        """Tell what came of it all."""
        if self._table.row_count:
            self._output.result({}, self._table)
        for service in self.report.unlisted:
            self._output.notice(f"the store of {service!r} cannot list what is unfinished in it")
        if self.report.foreign:
            self._output.notice(
                "foreign: perhaps another program's, hence never removed; see docs/stores/index.md"
            )
        self._output.result({"event": "report", **asdict(self.report)}, self._summary())

    def _add(self, finding: Finding) -> None:
        if self._output.as_json:
            age = None if finding.age is None else finding.age.total_seconds()
            record = {**asdict(finding), "age": age}
            self._output.result({"event": "finding", **record}, "")
            return
        self._table.add_row(
            Text(finding.verdict, style=_COLOURS.get(finding.verdict, "")),
            printable(finding.service),
            printable(finding.filepath),
            "" if finding.age is None else span_text(finding.age),
            size_text(finding.size) if finding.size else "",
            printable(finding.reason),
        )

    def _summary(self) -> str:
        report = self.report
        freed = "freed" if report.removed else "to be freed"
        return (
            f"unfinished: {report.unfinished}, orphans: {report.orphans}, "
            f"removed: {report.removed}, {freed}: {size_text(report.size)}; "
            f"uploads: {report.uploads}, at odds: {report.lost + report.stored + report.missing}"
        )
