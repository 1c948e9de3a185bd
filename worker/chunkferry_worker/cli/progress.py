"""Progress of uploads, both halves of it: bytes received by Redis and bytes in the store.

On a terminal one moving row per upload, elsewhere now and then a plain line, for programs JSON or
nothing. All of it goes to stderr, except JSON.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress import Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from chunkferry_worker.cli.output import Output, printable, size_text

#: Between two plain lines of one upload, in seconds.
_LINE_EVERY: Final = 1.0
#: Longest name in a row.
_NAME: Final = 40


class Meter(Protocol):
    """Shows how one upload is getting on. Thread-safe."""

    def move(self, received: int, stored: int, size: int | None) -> None:
        """So many bytes are received, so many stored, of so many."""

    def end(self) -> None:
        """The upload is over, one way or the other."""


class Board(Protocol):
    """Shows several uploads; a context manager."""

    def meter(self, name: str) -> Meter:
        """A meter for one more upload."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def board(output: Output, *, json_progress: bool = False) -> Board:
    """The board that suits the output."""
    if output.as_json:
        return _Lines(output) if json_progress else _Lines(output, silent=True)
    return _Rows(output) if output.err.is_terminal else _Lines(output)


class _Rows:
    """Moving rows at the bottom of a terminal."""

    def __init__(self, output: Output) -> None:
        self._progress = Progress(
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis", max_width=_NAME),
            ),
            _TwoHalves(table_column=Column(ratio=1, min_width=6, no_wrap=True)),
            _Bytes(table_column=Column(no_wrap=True)),
            console=output.err,
            transient=True,
            expand=True,
            refresh_per_second=8,
        )

    def meter(self, name: str) -> Meter:
        return _Row(self._progress, self._progress.add_task(printable(name), total=None))

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()


class _Row:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def move(self, received: int, stored: int, size: int | None) -> None:
        self._progress.update(self._task, completed=stored, total=size, received=received)

    def end(self) -> None:
        self._progress.remove_task(self._task)


class _TwoHalves(ProgressColumn):
    """One bar: stored bytes, then received ones that are not stored yet, then the rest.

    The three differ in shape, not only in colour.
    """

    def render(self, task: Task) -> _Bar:
        return _Bar(int(task.completed), int(task.fields.get("received", 0)), task.total)


class _Bar:
    def __init__(self, stored: int, received: int, total: float | None) -> None:
        self._stored = stored
        self._received = received
        self._total = total

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        # While the length is not known, what is received is all there is.
        whole = max(1, self._received if self._total is None else int(self._total))
        stored = width * min(self._stored, whole) // whole
        received = max(stored, width * min(self._received, whole) // whole)
        if self._total == 0:
            stored = received = width
        full, half, none = ("#", "=", ".") if options.ascii_only else ("█", "▒", "░")
        yield Text.assemble(
            (full * stored, "green"),
            (half * (received - stored), "cyan"),
            (none * (width - received), "dim"),
        )


class _Bytes(ProgressColumn):
    """``stored 12.0 / received 30.5 / 64.0 MiB``, as short as it goes."""

    def render(self, task: Task) -> Text:
        stored, received = int(task.completed), int(task.fields.get("received", 0))
        total = None if task.total is None else int(task.total)
        if total:
            text = f"stored {100 * stored // total:3}% received {100 * received // total:3}%"
            text += f" of {size_text(total)}"
        else:
            text = f"stored {size_text(stored)} received {size_text(received)}"
        return Text(f"{text} {size_text(int(task.speed))}/s" if task.speed else text)


class _Lines:
    """A line now and then."""

    def __init__(self, output: Output, *, silent: bool = False) -> None:
        self._output = output
        self._silent = silent

    def meter(self, name: str) -> Meter:
        return _Line(self._output, name, silent=self._silent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass


class _Line:
    def __init__(self, output: Output, name: str, *, silent: bool) -> None:
        self._output = output
        self._name = name
        self._lock = threading.Lock()
        self._next = 0.0
        self._whole = False
        self._silent = silent

    def move(self, received: int, stored: int, size: int | None) -> None:
        with self._lock:
            now = time.monotonic()
            whole = size is not None and stored == size
            if self._silent or self._whole or not (whole or (received and now >= self._next)):
                return
            self._next, self._whole = now + _LINE_EVERY, whole
        if self._output.as_json:
            record = {"event": "progress", "filepath": self._name}
            self._output.result(
                {**record, "size": size, "received": received, "stored": stored}, ""
            )
        else:
            self._output.notice(
                f"{self._name}: received {size_text(received)}, stored {size_text(stored)} "
                f"of {size_text(size)}"
            )

    def end(self) -> None:
        pass
