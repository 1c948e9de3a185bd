"""The chaos run: ``make chaos``, ``make chaos MINUTES=30 SEED=7``.

Rounds of faults against real processes, until the time is over; the whole follows from one seed.
Ends with 1 if a promise of chunkferry was broken, and names the folder with all logs.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from tests.chaos import report
from tests.chaos.round import LEASE, STRICT_LEASE, Outcome, run
from tests.chaos.site import Plan
from tests.servers import ceph, faketime
from tests.servers.s3 import S3Server

#: Of ``make chaos`` in CI: the same faults each time.
SEED = 20261122
#: Seconds from one fault to the next.
EVERY = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of round."""

    s3: bool
    fsync: str
    #: Without faults that leave two holders at once.
    gentle: bool


#: In turn. The first two are what a short run has time for.
ROUNDS = (
    Kind(s3=True, fsync="everysec", gentle=False),
    Kind(s3=False, fsync="always", gentle=True),
    Kind(s3=True, fsync="always", gentle=False),
    Kind(s3=False, fsync="everysec", gentle=False),
    Kind(s3=True, fsync="always", gentle=True),
)


def main() -> int:
    """Run, report, and say how it went."""
    arguments = _arguments()
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"seed {arguments.seed}; again: {_command(arguments)}")
    missing = _missing()
    if missing and os.environ.get("CI"):
        console.print(f"[red]not installed: {', '.join(missing)}[/red]")
        return 1
    folder = Path(tempfile.mkdtemp(prefix="chunkferry-chaos-"))
    with _gateway(console, folder) as gateway:
        outcomes = list(_rounds(console, arguments, gateway, folder))
    report.show(console, outcomes)
    if any(outcome.complaints for outcome in outcomes):
        console.print(f"[red]broken promises[/red]; logs and records: {folder}", soft_wrap=True)
        return 1
    if not arguments.keep:
        shutil.rmtree(folder)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--minutes", type=float, default=2.0, help="of the whole run, about")
    parser.add_argument("--every", type=float, default=EVERY, help="seconds between two faults")
    parser.add_argument("--round", type=int, help="only this kind of round, from 0")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    return parser.parse_args()


def _command(arguments: argparse.Namespace) -> str:
    """What repeats this run."""
    text = f"make chaos SEED={arguments.seed} MINUTES={arguments.minutes:g}"
    further = [] if arguments.every == EVERY else [f"--every {arguments.every:g}"]
    further += [] if arguments.round is None else [f"--round {arguments.round}"]
    return f'{text} CHAOS_ARGS="{" ".join(further)}"' if further else text


def _missing() -> list[str]:
    missing = ceph.missing_programs()
    if shutil.which("redis-server") is None:
        missing.append("redis-server")
    if faketime.library() is None:
        missing.append("libfaketime")
    return missing


@contextlib.contextmanager
def _gateway(console: Console, folder: Path) -> Iterator[S3Server | None]:
    """A gateway with a bucket; None, with a notice, where Ceph is not installed."""
    if faketime.library() is None:
        console.print("[yellow]NOTICE: libfaketime is not installed: no clock is moved[/yellow]")
    if missing := ceph.missing_programs():
        console.print(
            f"[yellow]NOTICE: not installed: {', '.join(missing)}; all rounds use a folder"
            " instead of S3[/yellow]"
        )
        yield None
        return
    (folder / "ceph").mkdir()
    with ceph.CephServer(folder / "ceph") as started:
        server = S3Server(
            endpoint=started.endpoint,
            access_key=started.access_key,
            secret_key=started.secret_key,
        )
        os.environ["AWS_ACCESS_KEY_ID"] = server.access_key
        os.environ["AWS_SECRET_ACCESS_KEY"] = server.secret_key
        server.client().create_bucket(Bucket=server.bucket)
        yield server


def _rounds(
    console: Console, arguments: argparse.Namespace, gateway: S3Server | None, folder: Path
) -> Iterator[Outcome]:
    """Two rounds in two minutes; further ones while there is time."""
    deadline = time.monotonic() + arguments.minutes * 60
    chosen = ROUNDS if arguments.round is None else ROUNDS[arguments.round : arguments.round + 1]
    least = min(2, len(chosen))
    # Half of a round goes into starting, settling and looking.
    seconds = max(20.0, min(120.0, arguments.minutes * 60 / least / 2.4))
    for number, kind in enumerate(itertools.cycle(chosen)):
        if number >= least and time.monotonic() + seconds * 2 > deadline:
            return
        s3 = kind.s3 and gateway is not None
        plan = Plan(
            seed=arguments.seed + number,
            gateway=gateway if s3 else None,
            fsync=kind.fsync,
            lease=STRICT_LEASE if kind.gentle else LEASE,
        )
        name = f"{number} {'s3' if s3 else 'local'}, {kind.fsync}"
        name += ", strict" if kind.gentle else ""
        console.print(f"round {name}: faults for {seconds:.0f} s")
        outcome = run(
            plan,
            name,
            folder / f"round{number}",
            seconds,
            every=arguments.every,
            gentle=kind.gentle,
        )
        console.print(f"round {name}: {len(outcome.complaints)} complaints")
        if not (outcome.complaints or arguments.keep):
            shutil.rmtree(outcome.folder)
        yield outcome


if __name__ == "__main__":
    sys.exit(main())
