"""``put``: files into a store, several at a time, each taken up where it stopped."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

import click

from chunkferry import ChunkManager
from chunkferry.errors import ChunkferryError, UnknownService
from chunkferry.filepath import check_filepath
from chunkferry_worker.cli import progress
from chunkferry_worker.cli.output import Exit, Output, error_record, exit_code, printable, size_text
from chunkferry_worker.cli.patience import Interrupted, Patience
from chunkferry_worker.cli.session import Session, option, with_session
from chunkferry_worker.cli.source import STDIN, Source, source_of
from chunkferry_worker.cli.transfer import Order, Transfer

#: How often the main thread looks whether all is done, in seconds: how soon Ctrl-C is noticed.
_LOOK: Final = 0.1
#: How long unfinished transfers may take to notice Ctrl-C, in seconds.
_STOP: Final = 3.0


@click.command()
@option(
    "--as",
    "target",
    metavar="PATH",
    envvar="CHUNKFERRY_PUT_AS",
    help="Where it goes; with `/` at its end, a folder.",
)
@option("--service", envvar="CHUNKFERRY_SERVICE", default="default", help="The store it goes to.")
@option("--parallel", type=click.IntRange(1, 64), default=4, help="Files at a time.")
@option("--content-type", default="", help="MIME type of the objects.")
@option("--metadata", metavar="NAME=VALUE", multiple=True, help="Kept with the objects.")
@option("--restart", is_flag=True, help="Replace an unfinished upload to the same path.")
@option("--wait/--no-wait", default=True, help="Stay until the objects are complete.")
@option("--timeout", type=click.FloatRange(0), help="Seconds without movement to bear.")
@option(
    "--progress",
    "json_progress",
    is_flag=True,
    envvar="CHUNKFERRY_PUT_PROGRESS",
    help="With --json: also progress lines.",
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@with_session
def put(
    session: Session,
    *,
    files: tuple[str, ...],
    target: str | None,
    service: str,
    parallel: int,
    content_type: str,
    metadata: tuple[str, ...],
    restart: bool,
    wait: bool,
    timeout: float | None,
    json_progress: bool,
) -> int:
    """Store FILES; `-` is standard input.

    The same command goes on where it was interrupted. Without --as, a file goes to its own name.
    """
    sources = [source_of(argument) for argument in files]
    paths = _paths(files, target)
    if service not in session.settings.services:
        raise UnknownService(service, list(session.settings.services))
    notes = _metadata(metadata)
    jobs = [
        _Job(
            source=source,
            order=Order(
                filepath=path,
                service=service,
                content_type=content_type,
                metadata=notes,
                restart=restart,
                wait=wait,
            ),
        )
        for source, path in zip(sources, paths, strict=True)
    ]
    # A Redis that is not there at the start is more likely a mistake than an outage.
    pool = _Pool(session.manager, session.output, timeout, json_progress=json_progress)
    return pool.run(jobs, parallel)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    source: Source
    order: Order


class _Pool:
    """Threads that work through the files, and the thread that prints what became of them."""

    def __init__(
        self, manager: ChunkManager, output: Output, timeout: float | None, *, json_progress: bool
    ) -> None:
        self._manager = manager
        self._output = output
        self._timeout = timeout
        self._board = progress.board(output, json_progress=json_progress)
        self._stop = threading.Event()
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._codes: list[Exit] = []

    def run(self, jobs: Sequence[_Job], parallel: int) -> int:
        """Do all of it; return the exit code."""
        for job in jobs:
            self._jobs.put(job)
        # Daemons: one that waits for stdin must not keep the process.
        threads = [
            threading.Thread(target=self._work, name=f"chunkferry-put-{n}", daemon=True)
            for n in range(min(parallel, len(jobs)))
        ]
        with self._board:
            for thread in threads:
                thread.start()
            try:
                while any(thread.is_alive() for thread in threads):
                    time.sleep(_LOOK)
            except KeyboardInterrupt:
                self._stop.set()
                for thread in threads:
                    thread.join(_STOP)
        if self._stop.is_set():
            self._say_how_to_go_on(jobs)
            return Exit.INTERRUPTED
        if len(self._codes) < len(jobs):
            # A thread ended by a fault of ours: what it had to do is not done.
            return Exit.FAILED
        return max(self._codes, key=_gravity)

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            self._codes.append(self._do(job))

    def _do(self, job: _Job) -> Exit:
        started = time.monotonic()
        meter = self._board.meter(job.order.filepath)
        patience = Patience(self._stop, self._timeout, self._output.notice)
        transfer = Transfer(self._manager, job.source, job.order, meter, patience)
        code, error = Exit.OK, None
        try:
            transfer.run()
            meter.end()
        except Interrupted:
            # The board ends as a whole; its rows are left to it.
            code, error = Exit.INTERRUPTED, error_record("interrupted", "interrupted")
            transfer.refresh()
        except ChunkferryError as exc:
            meter.end()
            code = exit_code(exc)
            error = error_record(exc.code, str(exc), retryable=exc.retryable)
            self._output.failure(exc)
            if not exc.retryable:
                transfer.refresh()
        self._tell(job, transfer, time.monotonic() - started, error)
        return code

    def _tell(
        self,
        job: _Job,
        transfer: Transfer,
        seconds: float,
        error: dict[str, object] | None,
    ) -> None:
        upload = transfer.upload
        record: dict[str, object] = {
            "upload_id": upload.upload_id if upload else None,
            "filepath": job.order.filepath,
            "service": job.order.service,
            "state": upload.state.value if upload else None,
            "size": upload.length if upload else job.source.size,
            "stored": upload.stored if upload else 0,
            "seconds": round(seconds, 3),
        }
        if error is not None:
            record["error"] = error
        elif upload is not None and not self._output.as_json:
            speed = size_text(int((upload.length or 0) / max(seconds, 0.001)))
            self._output.result(
                {},
                f"{printable(job.order.filepath)}  {upload.state}  {size_text(upload.length)} "
                f"in {seconds:.1f} s ({speed}/s)",
            )
        if self._output.as_json:
            self._output.result(record, "")

    def _say_how_to_go_on(self, jobs: Sequence[_Job]) -> None:
        piped = not all(job.source.resumable for job in jobs)
        self._output.error(
            "interrupted",
            "interrupted; what was received is kept: the same command goes on where it stopped"
            + (" (stdin only from its beginning, with --restart)" if piped else ""),
        )


def _gravity(code: Exit) -> int:
    """Which of several codes to end with: the one that people have to do most about."""
    return (Exit.OK, Exit.UNAVAILABLE, Exit.NOT_FOUND, Exit.USAGE, Exit.FAILED).index(code)


def _paths(files: Sequence[str], target: str | None) -> list[str]:
    """Where each file goes."""
    if target is not None and not target.endswith("/"):
        if len(files) > 1:
            raise click.UsageError("--as with several files names a folder: end it with '/'")
        return [check_filepath(target)]
    if STDIN in files:
        raise click.UsageError("standard input has no name: give the whole path with --as")
    paths = [check_filepath(f"{target or ''}{PurePath(file).name}") for file in files]
    twice = [path for path, count in Counter(paths).items() if count > 1]
    if twice:
        raise click.UsageError(f"several files would go to {', '.join(twice)}")
    return paths


def _metadata(pairs: Sequence[str]) -> dict[str, str]:
    notes = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not (separator and name):
            raise click.UsageError(f"--metadata takes NAME=VALUE, not {pair!r}")
        notes[name] = value
    return notes
