"""What commands print: tables and sentences for people, or one JSON object per line; exit codes.

Knows nothing of commands. Results go to stdout, everything else to stderr, so that a pipe gets
results alone.
"""

from __future__ import annotations

import json
import sys
import threading
import unicodedata
from collections.abc import Mapping
from enum import IntEnum
from typing import IO, Final

from rich.console import Console, RenderableType
from rich.text import Text

from chunkferry.errors import (
    ChunkferryError,
    ConfigError,
    InvalidArgument,
    InvalidPath,
    UnknownService,
    UploadNotFound,
)
from chunkferry.upload import ChunkUpload

#: Width of tables where no terminal sets it: nothing is folded on its way into a pipe.
_PIPE_WIDTH: Final = 200

#: Narrower terminals get fewer columns.
WIDE: Final = 110

#: Bidirectional classes of the characters that do nothing but reorder what follows.
_REORDERING: Final = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP: Final = 1024


class Exit(IntEnum):
    """Exit codes; part of the public API."""

    OK = 0  #: done
    FAILED = 1  #: an upload failed or is not whole, or a check found a fault
    USAGE = 2  #: the command line or a setting cannot be used
    NOT_FOUND = 3  #: there is no such upload
    UNAVAILABLE = 4  #: temporarily unavailable: the same command may succeed later
    INTERRUPTED = 130  #: Ctrl-C

    @property
    def meaning(self) -> str:
        """What the code says, as documented."""
        return {
            Exit.OK: "done",
            Exit.FAILED: "an upload failed or is not whole, or a check found a fault",
            Exit.USAGE: "the command line or a setting cannot be used",
            Exit.NOT_FOUND: "no such upload",
            Exit.UNAVAILABLE: "temporarily unavailable; the same command may succeed later",
            Exit.INTERRUPTED: "interrupted by Ctrl-C",
        }[self]


def exit_code(error: ChunkferryError) -> Exit:
    """The code that tells of ``error``."""
    match error:
        case ConfigError() | InvalidPath() | InvalidArgument() | UnknownService():
            return Exit.USAGE
        case UploadNotFound():
            return Exit.NOT_FOUND
    return Exit.UNAVAILABLE if error.retryable else Exit.FAILED


class Output:
    """Where a command's words go. Thread-safe."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.out = _console(sys.stdout)
        # One terminal takes one console: two would not know where the other left the cursor.
        both = self.out.is_terminal and sys.stderr.isatty()
        self.err = self.out if both else _console(sys.stderr)
        self._lock = threading.Lock()

    def result(self, record: Mapping[str, object], text: RenderableType) -> None:
        """One result: ``record`` as a line of JSON, or ``text`` for people."""
        if self.as_json:
            self._write(sys.stdout, record)
        else:
            self.out.print(text, soft_wrap=isinstance(text, str | Text))

    def notice(self, text: str) -> None:
        """Tell people what is going on; programs are not told."""
        if not self.as_json:
            self._say(Text(printable(text), style="dim"))

    def error(self, code: str, message: str, *, retryable: bool = False) -> None:
        """Say on stderr what went wrong."""
        if self.as_json:
            self._write(sys.stderr, error_record(code, message, retryable=retryable))
        else:
            self._say(Text.assemble(("chunkferry: ", "bold red"), printable(message)))

    def failure(self, error: ChunkferryError) -> None:
        """Say on stderr what went wrong."""
        self.error(error.code, str(error), retryable=error.retryable)

    def _say(self, text: Text) -> None:
        # A terminal gets lines folded between words, a file whole ones.
        self.err.print(text, soft_wrap=not self.err.is_terminal)

    def _write(self, stream: IO[str], record: Mapping[str, object]) -> None:
        line = json.dumps(record, default=str)
        with self._lock:
            stream.write(f"{line}\n")
            stream.flush()


def error_record(code: str, message: str, *, retryable: bool = False) -> dict[str, object]:
    """An error as programs read it."""
    return {"code": code, "message": message, "retryable": retryable}


def upload_record(upload: ChunkUpload) -> dict[str, object]:
    """An upload as programs read it."""
    return {
        "upload_id": upload.upload_id,
        "filepath": upload.filepath,
        "service": upload.service,
        "state": upload.state.value,
        "size": upload.length,
        "received": upload.received,
        "stored": upload.stored,
        "part_size": upload.grid.part_size,
        "content_type": upload.content_type,
        "metadata": dict(upload.metadata),
        "created_at": upload.created_at.isoformat(),
        "expiry": upload.expiry.isoformat(),
        "holder": upload.holder,
        "epoch": upload.epoch,
        "attempts": upload.attempts,
        "error": upload.error,
        "error_code": upload.error_code,
    }


def size_text(size: int | None) -> str:
    """Bytes as people say them: ``64.0 MiB``; ``?`` for None."""
    if size is None:
        return "?"
    number, unit = float(size), _UNITS[0]
    for unit in _UNITS:
        if number < _STEP or unit == _UNITS[-1]:
            break
        number /= _STEP
    return f"{size} B" if unit == _UNITS[0] else f"{number:.1f} {unit}"


def printable(text: str) -> str:
    """``text`` without characters that would steer a terminal, or show another order of others."""
    return "".join("�" if _steers(c) and c != "\n" else c for c in text)


def _steers(character: str) -> bool:
    return (
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
        or unicodedata.bidirectional(character) in _REORDERING
    )


def _console(stream: IO[str]) -> Console:
    # The stream's own answer: rich would also count CI systems as terminals.
    terminal = stream.isatty()
    return Console(
        file=stream,
        force_terminal=terminal,
        width=None if terminal else _PIPE_WIDTH,
        markup=False,
        highlight=False,
        emoji=False,
    )
