"""The front door beside the Node tus server, in one run: ``python -m bench.frontdoor``.

The servers take turns, so that whatever else the machine does meets all of them.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import click
from bench import load, report
from bench.rivals import Rival, chunkferry_granian, chunkferry_up, tus_node_server
from rich.console import Console
from rich.table import Table

from chunkferry.errors import ChunkferryError
from chunkferry_worker.cli.up import Size
from chunkferry_worker.embedded_redis import find_server

_RIVAL: Final = "@tus/server"
_MEGABYTE: Final = 1e6
#: How long storing may take after the last acknowledgement, in seconds.
_PATIENCE: Final = 300.0

Starting = Callable[[Path], AbstractContextManager[Rival]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One load on one server."""

    server: str
    round: int
    #: What was measured, such as ``1 connection``.
    load: str
    #: Acknowledged, in MB/s or in requests/s.
    accepted: float
    #: Whole in the store, in MB/s or in uploads/s.
    stored: float


def servers(processes: int, workers: int) -> dict[str, Starting]:
    """All servers by name."""
    found: dict[str, Starting] = {_RIVAL: tus_node_server}
    for number in sorted({1, processes}):
        text = f"{number} process" + "es" * (number > 1)
        found[f"chunkferry, uvicorn, {text}"] = partial(
            chunkferry_up, processes=number, workers=workers
        )
        found[f"chunkferry, granian, {text}"] = partial(
            chunkferry_granian, processes=number, workers=workers
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What each server is given."""

    connections: Sequence[int]
    #: Bytes over all connections together.
    size: int
    #: How long small uploads are sent.
    seconds: float


def measure(name: str, number: int, start: Starting, plan: Plan) -> list[Turn]:
    """All loads on one server that is started for them."""
    turns: list[Turn] = []
    with (
        tempfile.TemporaryDirectory(prefix="chunkferry-bench-") as folder,
        start(Path(folder)) as rival,
    ):
        files = rival.files
        load.whole(files, 1, 1)  # imports and connections
        for count in plan.connections:
            whole = partial(load.whole, files, count, plan.size // count)
            turns.append(_turn(name, number, f"{_text(count)}, MB/s", rival, whole))
        for count in plan.connections:
            small = partial(load.small, files, count, 1024, plan.seconds)
            turns.append(_turn(name, number, f"{_text(count)}, 1 KiB, requests/s", rival, small))
    return turns


def _text(count: int) -> str:
    return f"{count} connection" + "s" * (count > 1)


def _turn(name: str, number: int, text: str, rival: Rival, send: Callable[[], load.Load]) -> Turn:
    before = rival.stored()
    began = time.monotonic()
    done = send()
    while (stored := rival.stored() - before) < done.size:
        if time.monotonic() - began > _PATIENCE:
            raise ChunkferryError(f"{name}: {stored} of {done.size} bytes are in the store")
        time.sleep(0.02)
    stored_within = time.monotonic() - began
    # Each upload takes two requests.
    amount = done.size / _MEGABYTE if text.endswith("MB/s") else 2 * done.uploads
    return Turn(
        server=name,
        round=number,
        load=text,
        accepted=amount / done.seconds,
        stored=amount / stored_within,
    )


@click.command(context_settings={"show_default": True})
@click.option("--size", type=Size(), default="1GiB", help="Bytes over all connections together.")
@click.option("--rounds", type=click.IntRange(1), default=3, help="How often each server is met.")
@click.option("--connections", type=int, multiple=True, default=(1, 16), help="At a time.")
@click.option("--seconds", default=5.0, help="How long small uploads are sent.")
@click.option("--processes", type=click.IntRange(1), default=2, help="Web processes, beside one.")
@click.option("--workers", type=click.IntRange(1), default=1, help="Processes that store.")
@click.option("--only", default="", help="Only the servers with this text in their names.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def main(
    *,
    size: int,
    rounds: int,
    connections: Sequence[int],
    seconds: float,
    processes: int,
    workers: int,
    only: str,
    as_json: bool,
) -> None:
    """Measure the front door beside the npm package @tus/server with its file store.

    Both take the same uploads from the same client on this machine. "Accepted" is when the client
    has its answer, "stored" when the whole file lies in its folder: the Node server writes there
    at once, chunkferry's worker takes it there out of Redis.
    """
    chosen = {name: start for name, start in servers(processes, workers).items() if only in name}
    plan = Plan(connections=connections, size=size, seconds=seconds)
    turns = [
        turn
        for number in range(1, rounds + 1)
        for name, start in chosen.items()
        for turn in measure(name, number, start, plan)
    ]
    if as_json:
        click.echo(json.dumps([asdict(turn) for turn in turns]))
    else:
        _show(turns)


def _show(turns: Sequence[Turn]) -> None:
    console = Console()
    for name, value in report.facts(find_server().name, "bench.frontdoor").items():
        console.print(f"{name}: {value}", highlight=False)
    for text in dict.fromkeys(turn.load for turn in turns):
        table = Table("server", "accepted", "stored", f"accepted : {_RIVAL}", title=text)
        of_rival = _medians(turns, text, _RIVAL)
        for name in dict.fromkeys(turn.server for turn in turns):
            accepted, stored = _medians(turns, text, name)
            ratio = f"{accepted / of_rival[0]:.2f}" if of_rival[0] else ""
            table.add_row(name, f"{accepted:.0f}", f"{stored:.0f}", ratio)
        console.print(table)


def _medians(turns: Sequence[Turn], text: str, name: str) -> tuple[float, float]:
    found = [turn for turn in turns if turn.load == text and turn.server == name]
    if not found:
        return 0.0, 0.0
    return (
        statistics.median(turn.accepted for turn in found),
        statistics.median(turn.stored for turn in found),
    )


if __name__ == "__main__":
    main()
