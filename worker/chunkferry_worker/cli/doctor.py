"""``doctor``: says what is wrong with an installation, and what to change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click
from rich.table import Table
from rich.text import Text

from chunkferry.config import Settings
from chunkferry.errors import UnknownService
from chunkferry.storage import Stores
from chunkferry_worker.cli import abilities, checks, receivers
from chunkferry_worker.cli.checks import Finding, Verdict
from chunkferry_worker.cli.output import Exit, Output, printable
from chunkferry_worker.cli.session import Session, option, with_session

_MARKS = {
    Verdict.GOOD: ("✓", "ok", "green"),
    Verdict.WARNING: ("!", "!", "yellow"),
    Verdict.BAD: ("✗", "x", "bold red"),
}


@click.command()
@option("--service", envvar="CHUNKFERRY_SERVICE", help="Only this store; default: all.")
@with_session
def doctor(session: Session, service: str | None) -> int:
    """Check Redis, broker, workers and stores; say what to change.

    Ends 1 if something is wrong.
    """
    settings = session.settings
    if service is not None and service not in settings.services:
        raise UnknownService(service, list(settings.services))
    services = [service] if service else sorted(settings.services)
    code = Exit.OK
    for finding in _findings(settings, services):
        _tell(session.output, finding)
        if finding.verdict is Verdict.BAD:
            code = Exit.FAILED
    return code


def _findings(settings: Settings, services: Iterable[str]) -> Iterator[Finding]:
    yield from checks.of_redis(settings)
    yield from checks.of_workers(settings)
    yield from receivers.of(settings)
    stores = Stores(settings.services)
    for service in services:
        yield checks.of_store(stores, service, settings.chunk_size_limit)
        yield from abilities.of_store(stores, service)


def _tell(output: Output, finding: Finding) -> None:
    mark, ascii_mark, style = _MARKS[finding.verdict]
    # A grid, so that long sentences fold beside the mark and not under it.
    row = Table.grid(padding=(0, 1))
    row.add_column(no_wrap=True)
    row.add_column(overflow="fold")
    shown = ascii_mark if output.out.options.ascii_only else mark
    text = Text.assemble((f"{finding.check}: ", "bold"), printable(finding.message))
    if finding.advice:
        text.append(f"\n→ {printable(finding.advice)}" if shown == mark else f"\n{finding.advice}")
    row.add_row(Text(shown, style=style), text)
    output.result(
        {
            "check": finding.check,
            "verdict": finding.verdict.value,
            "message": finding.message,
            "advice": finding.advice,
        },
        row,
    )
