"""The tables: what was measured, as medians over the rounds."""

from __future__ import annotations

import platform
import shlex
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import sched_getaffinity

from bench.latency import Appends, Delays
from rich.console import Console
from rich.table import Table

#: In the order of the columns.
ROLES = ("producer", "redis", "worker", "sink")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One file sent one way."""

    way: str
    round: int
    #: Bytes per second.
    speed: float
    #: CPU seconds per GiB by role.
    cpu: Mapping[str, float]
    #: What the worker's memory grew by at its peak, in parts; None where it had no part.
    peak: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The speeds of one way in terms of another's, round by round."""

    way: str
    base: str
    by_round: Sequence[float]


@dataclass(slots=True, kw_only=True)
class Findings:
    """All that was measured."""

    facts: Mapping[str, str]
    runs: list[Run] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    delays: list[Delays] = field(default_factory=list)
    appends: list[Appends] = field(default_factory=list)

    def compare(self, beside: Mapping[str, Sequence[str]]) -> None:
        """Take the ratios of the ways in ``beside`` to those that it names."""
        self.ratios = [
            Ratio(way=way, base=base, by_round=self._ratio(way, base))
            for way, bases in beside.items()
            for base in bases
            if base in beside
        ]

    def _ratio(self, way: str, base: str) -> list[float]:
        bases = {run.round: run.speed for run in self.runs if run.way == base}
        return [run.speed / bases[run.round] for run in self.runs if run.way == way]


def show(found: Findings) -> None:
    """Print tables."""
    # Nothing is folded on its way into a pipe.
    console = Console(width=None if sys.stdout.isatty() else 160)
    for name, text in found.facts.items():
        console.print(f"{name:>8}  {text}", highlight=False, soft_wrap=True)
    if found.runs:
        console.print(_ways(found.runs))
    if found.ratios:
        console.print(_ratios(found.ratios))
    if found.delays:
        console.print(_small(found.delays, found.appends))


def facts(redis: str, module: str = "bench.throughput") -> dict[str, str]:
    """What was run, and on what."""
    return {
        "command": shlex.join(["python", "-m", module, *sys.argv[1:]]),
        "cores": str(len(sched_getaffinity(0))),
        "python": platform.python_version(),
        "redis": redis,
        "system": platform.platform(),
    }


def _ways(runs: Sequence[Run]) -> Table:
    table = Table(title="CPU in seconds per GiB; worker peak above rest, in parts (P)")
    table.add_column("way")
    for name in ("MB/s", "least", "most", *ROLES, "all but sink", "peak / P"):
        table.add_column(name, justify="right")
    for way in dict.fromkeys(run.way for run in runs):
        of = [run for run in runs if run.way == way]
        speeds = [run.speed / 1e6 for run in of]
        cpu = {role: statistics.median(run.cpu[role] for run in of) for role in ROLES}
        ours = sum(cpu.values()) - cpu["sink"]
        cells = [f"{value:.0f}" for value in (statistics.median(speeds), min(speeds), max(speeds))]
        cells += [f"{value:.2f}" for value in (*cpu.values(), ours)]
        peaks = [run.peak for run in of if run.peak is not None]
        table.add_row(way, *cells, f"{statistics.median(peaks):.1f}" if peaks else "")
    return table


def _ratios(found: Sequence[Ratio]) -> Table:
    table = Table(title="Speed beside boto3's, in the same round")
    for name in ("way", "beside"):
        table.add_column(name)
    for name in ("median", "by round"):
        table.add_column(name, justify="right")
    for each in found:
        rounds = " ".join(f"{value:.2f}" for value in each.by_round)
        table.add_row(each.way, each.base, f"{statistics.median(each.by_round):.2f}", rounds)
    return table


def _small(delays: Sequence[Delays], appends: Sequence[Appends]) -> Table:
    table = Table(title="Small work")
    table.add_column("what")
    table.add_column("measured", justify="right")
    for delay in delays:
        text = f"{delay.p50:.1f} ms p50, {delay.p99:.1f} ms p99"
        table.add_row(f"accepted to upload_part, files of {delay.size} bytes", text)
    for rate in appends:
        text = f"{rate.per_second:.0f} per second"
        table.add_row(f"appends of 64 KiB, {rate.threads} thread(s)", text)
    return table
