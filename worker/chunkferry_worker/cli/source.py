"""What ``put`` reads: files, which can be taken up again in the middle, and stdin, which cannot.

Knows nothing of uploads.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from chunkferry.errors import ChunkferryError, InvalidArgument

#: The argument that means standard input.
STDIN: Final = "-"


class SourceChanged(ChunkferryError):
    """The file is not what it was when its upload began."""

    code = "source_changed"


class SourceUnreadable(ChunkferryError):
    """The file could not be read on."""

    code = "source_unreadable"


class Source(Protocol):
    """Bytes to upload; a context manager that opens and closes them."""

    #: For people.
    name: str
    #: Bytes; None if that shows at the end only.
    size: int | None
    #: Equal for equal content, as far as can be told without reading it.
    identity: str
    #: Whether another process can read it again from the middle.
    resumable: bool

    def seek(self, offset: int) -> None:
        """Go on at ``offset``; raises ``SourceUnreadable`` where that is impossible."""

    def read(self, size: int) -> bytes:
        """The next bytes, ``size`` at most; none at the end."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class FileSource:
    """A regular file. Its identity is its name, size and time of change."""

    def __init__(self, path: Path) -> None:
        """Look at the file.

        Raises:
            InvalidArgument: it is missing, unreadable or no regular file.
        """
        self.name = str(path)
        self._path = path
        self._file = -1
        with self:
            self._facts = os.fstat(self._file)
        self.size: int | None = self._facts.st_size
        told = f"{path.name}\0{self._facts.st_size}\0{self._facts.st_mtime_ns}"
        self.resumable = True
        self.identity = hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        self._at = 0

    def seek(self, offset: int) -> None:
        """Go on at ``offset``."""
        self._at = offset

    def read(self, size: int) -> bytes:
        """The next bytes.

        Raises:
            SourceChanged: the file is not what it was.
            SourceUnreadable: it cannot be read any more.
        """
        wanted = min(size, self._facts.st_size - self._at)
        try:
            data = os.pread(self._file, wanted, self._at)
            now = os.fstat(self._file)
        except OSError as exc:
            raise SourceUnreadable(f"cannot read {self.name}: {exc.strerror}") from exc
        # After the bytes are read and before they are sent: what is sent is one state of it.
        if now.st_size != self._facts.st_size:
            raise SourceChanged(
                f"{self.name} had {self._facts.st_size} bytes and now has {now.st_size}: "
                "it changed while it was read"
            )
        if now.st_mtime_ns != self._facts.st_mtime_ns or len(data) < min(1, wanted):
            raise SourceChanged(f"{self.name} changed while it was read")
        self._at += len(data)
        return data

    def __enter__(self) -> Self:
        try:
            # O_NONBLOCK: opening a FIFO must not hang; regular files do not know it.
            self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as exc:
            raise InvalidArgument(f"cannot read {self.name}: {exc.strerror}") from exc
        mode = os.fstat(self._file).st_mode
        if not stat.S_ISREG(mode):
            os.close(self._file)
            hint = os.strerror(errno.EISDIR) if stat.S_ISDIR(mode) else "not a regular file"
            raise InvalidArgument(f"cannot read {self.name}: {hint}; `-` reads a pipe")
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._file)


class StdinSource:
    """Standard input: read once, of unknown length."""

    def __init__(self) -> None:
        self.name = "stdin"
        self.size: int | None = None
        self.resumable = False
        # Its own, because no other process can take this upload up.
        self.identity = f"stdin-{secrets.token_hex(8)}"
        self._at = 0

    def seek(self, offset: int) -> None:
        """Refused, unless it is where the reading stands."""
        if offset != self._at:
            raise SourceUnreadable(
                f"stdin cannot be read again from byte {offset}: start anew with --restart"
            )

    def read(self, size: int) -> bytes:
        """The next bytes; fewer than ``size`` only at the end."""
        pieces, missing = list[bytes](), size
        # Not sys.stdin: a thread waiting inside its buffer would end Python with a fatal error.
        try:
            while missing and (piece := os.read(0, missing)):
                pieces.append(piece)
                missing -= len(piece)
        except OSError as exc:
            raise SourceUnreadable(f"cannot read stdin: {exc.strerror}") from exc
        self._at += size - missing
        return b"".join(pieces)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass


def source_of(argument: str) -> Source:
    """The source that an argument of ``put`` names; raises ``InvalidArgument``."""
    return StdinSource() if argument == STDIN else FileSource(Path(argument))
