"""Throughput of chunkferry beside plain boto3, in one run: ``python -m bench.throughput``.

The ways take turns, so that whatever else the machine does meets all of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click
from bench import latency, processes, report
from bench.deployment import LATE, LOCAL, NOTED, ROOT, S3, S3_CRC32C, Deployment
from bench.report import Run

from chunkferry.errors import ChunkferryError
from chunkferry.parts import MIB
from chunkferry_worker import tether
from chunkferry_worker.cli.up import Size

_GIB: Final = 1024 * MIB

DIRECT, SINGLE = "boto3", "boto3, one stream, no CRC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way for the file."""

    name: str
    #: The command of ``bench.clients``, without the source.
    command: Sequence[str]
    #: The way to compare with, by name.
    beside: Sequence[str] = ()


def ways(deployment: Deployment, seconds: float) -> list[Way]:
    """All ways, the latency in their names."""
    found: list[Way] = []
    for suffix, text in ("", ""), (LATE, f", {seconds * 1000:g} ms"):
        direct = ["direct", deployment.endpoint(suffix)]
        beside = [DIRECT + text, SINGLE + text]
        found += [
            Way(name=DIRECT + text, command=direct),
            Way(name=SINGLE + text, command=[*direct, "--single"]),
            Way(name="chunkferry to s3" + text, command=["ferry", S3 + suffix], beside=beside),
            Way(
                name="chunkferry to s3, crc32c" + text,
                command=["ferry", S3_CRC32C + suffix],
                beside=beside,
            ),
        ]
    plain = "plain write and fsync"
    found.append(Way(name=plain, command=["copy", str(deployment.objects / "copy")]))
    found.append(Way(name="chunkferry to a folder", command=["ferry", LOCAL], beside=[plain]))
    return found


class Bench:
    """Sends one file all ways, and measures."""

    def __init__(self, deployment: Deployment, source: Path) -> None:
        self._deployment = deployment
        self._source = source
        self._size = source.stat().st_size
        self._part = deployment.manager(S3).chunk_size
        self._rest = 0

    def warm_up(self, ways: Sequence[Way]) -> None:
        """Have the worker import and connect all it needs; its memory then is its rest."""
        one = self._source.with_name("one")
        one.write_bytes(b"x")
        for way in ways:
            self._client(way, one)
        self._rest = processes.memory(self._deployment.pool_process)

    def run(self, way: Way, number: int) -> Run:
        """Send the file once."""
        pool = self._deployment.pool_process
        processes.forget_peak_memory(pool)
        before = self._deployment.cpu_seconds()
        took = self._client(way, self._source)
        after = self._deployment.cpu_seconds()
        for left in self._deployment.objects.glob("*"):
            if left.is_file():
                left.unlink()
        spent = {role: after[role] - before[role] for role in after}
        spent["producer"] = took["cpu"]
        ferried = way.command[0] == "ferry"
        return Run(
            way=way.name,
            round=number,
            speed=self._size / took["seconds"],
            cpu={role: spent[role] * _GIB / self._size for role in report.ROLES},
            peak=(processes.peak_memory(pool) - self._rest) / self._part if ferried else None,
        )

    def _client(self, way: Way, source: Path) -> dict[str, float]:
        command, *arguments = way.command
        process = tether.spawn(
            [sys.executable, "-m", "bench.clients", command, source, *arguments],
            stdout=subprocess.PIPE,
            env=self._deployment.environment,
            cwd=ROOT,
        )
        answer, _ = process.communicate()
        if process.returncode:
            raise ChunkferryError(f"{way.name}: the client failed")
        found: dict[str, float] = json.loads(answer)
        return found


def _write_source(path: Path, size: int) -> None:
    """Make a file of ``size`` random bytes."""
    with path.open("wb") as file:
        for start in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size - start)))


def _settings(_: click.Context, __: click.Parameter, lines: Sequence[str]) -> dict[str, str]:
    found = dict(line.partition("=")[::2] for line in lines)
    if not all(found.values()):
        raise click.BadParameter("expected NAME=VALUE")
    return found


@click.command(context_settings={"show_default": True})
@click.option("--size", type=Size(), default="1GiB", help="Size of the file that is sent.")
@click.option("--rounds", type=click.IntRange(1), default=3, help="How often each way is gone.")
@click.option("--latency", "late", default=0.025, help="Seconds by which the distant S3 is late.")
@click.option("--only", default="", help="Only the ways with this text in their names.")
@click.option("--small/--no-small", default=True, help="Also measure small uploads and appends.")
@click.option("--pool", type=click.Choice(["prefork", "threads"]), default="prefork")
@click.option(
    "--redis",
    multiple=True,
    callback=_settings,
    metavar="NAME=VALUE",
    help="A line of Redis' configuration, such as appendonly=no; repeatable.",
)
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where files are put and removed, instead of the system's folder for that.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def main(
    *,
    size: int,
    rounds: int,
    late: float,
    only: str,
    small: bool,
    pool: str,
    redis: dict[str, str],
    folder: Path | None,
    as_json: bool,
) -> None:
    """Measure chunkferry beside plain boto3 on this machine, in one run.

    Starts a Redis, a Celery worker with one process, and S3 servers that throw bodies away; sends
    a file of random bytes through all of it, and directly; removes everything. CHUNKFERRY_...
    variables count as ever: CHUNKFERRY_CHUNK_SIZE_LIMIT=16777216 measures parts of 16 MiB.

    \b
    python -m bench.throughput --size 256MiB --rounds 1         a quick look
    python -m bench.throughput --only s3 --redis appendonly=no  what the append-only file costs
    python -m bench.throughput --no-small --json > before.json  to compare with later
    """  # noqa: D301 - \b keeps click from filling the lines
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix="chunkferry-bench-") as name,
        Deployment(Path(name), latency=late, redis_settings=redis, pool=pool) as deployment,
    ):
        found = report.Findings(facts=report.facts(deployment.redis_version()))
        chosen = [way for way in ways(deployment, late) if only in way.name]
        if chosen:
            source = Path(name) / "source"
            _write_source(source, size)
            bench = Bench(deployment, source)
            bench.warm_up(chosen)
            for number in range(1, rounds + 1):
                found.runs += [bench.run(way, number) for way in chosen]
            found.compare({way.name: way.beside for way in chosen})
        if small:
            measure_small(deployment, found)
    click.echo(json.dumps(asdict(found))) if as_json else report.show(found)


def measure_small(deployment: Deployment, found: report.Findings) -> None:
    """Delays and rates."""
    part = deployment.manager(NOTED).chunk_size
    latency.delays(deployment, 1, 3)  # imports and connections
    found.delays = [latency.delays(deployment, size, 50) for size in (1, part)]
    found.appends = [latency.appends(deployment, threads, 800) for threads in (1, 4)]


if __name__ == "__main__":
    main()
