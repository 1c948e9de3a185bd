"""Shows what a chaos run came to. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from tests.chaos.round import Outcome


def show(console: Console, outcomes: Sequence[Outcome]) -> None:
    """One table of all rounds, and each complaint."""
    table = Table(title="chaos")
    table.add_column("")
    for outcome in outcomes:
        table.add_column(outcome.name, justify="right")
    _section(table, [outcome.counts for outcome in outcomes])
    _section(table, [outcome.faults for outcome in outcomes], "fault: ")
    _section(table, [outcome.errors for outcome in outcomes], "error seen: ")
    numbers = [str(len(outcome.complaints)) for outcome in outcomes]
    table.add_row("complaints", *numbers, style="bold")
    console.print(table)
    for outcome in outcomes:
        for complaint in outcome.complaints:
            console.print(f"[red]WRONG[/red] {outcome.name}: ", end="")
            console.print(complaint, markup=False, highlight=False)


def _section(table: Table, counts: Sequence[Mapping[str, int]], prefix: str = "") -> None:
    names = dict.fromkeys(name for count in counts for name in count)
    for name in names if not prefix else sorted(names):
        table.add_row(prefix + name, *(str(count.get(name, "")) for count in counts))
    table.add_section()
