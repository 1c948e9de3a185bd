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

from chunkferry_worker.cli.output import WIDE, Output, printable, size_text

#: Between two plain lines of one upload, in seconds.
_LINE_EVERY: Final = 1.0
#: Longest name in a row, and in a row of a narrow terminal.
_NAME: Final = 40
_SHORT_NAME: Final = 20


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
        wide = output.err.width >= WIDE
        self._progress = Progress(
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(
                    no_wrap=True, overflow="ellipsis", max_width=_NAME if wide else _SHORT_NAME
                ),
            ),
            _TwoHalves(table_column=Column(ratio=1, min_width=6, no_wrap=True)),
            _Bytes(wide=wide),
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
        self._lock = threading.Lock()
        self._ended = False

    def move(self, received: int, stored: int, size: int | None) -> None:
        with self._lock:
            if not self._ended:
                self._progress.update(self._task, completed=stored, total=size, received=received)

    def end(self) -> None:
        # News may still come in after the end.
        with self._lock:
            if not self._ended:
                self._ended = True
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
    """Both halves in numbers; on narrow terminals the bar alone tells what is received."""

    def __init__(self, *, wide: bool) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._wide = wide

    def render(self, task: Task) -> Text:
        stored, received = int(task.completed), int(task.fields.get("received", 0))
        total = None if task.total is None else int(task.total)
        if total:
            done, half = f"{100 * stored // total:3}%", f"{100 * received // total:3}%"
            rest = f" of {size_text(total)}"
        else:
            done, half, rest = size_text(stored), size_text(received), ""
        text = f"stored {done}{f' received {half}' if self._wide else ''}{rest}"
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
