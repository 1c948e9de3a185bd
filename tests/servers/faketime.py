"""A Redis server whose clock a test moves: Debian's libfaketime under the real program."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from tests.servers.redis import RedisServer, server_program


def library() -> Path | None:
    """The library of the package ``libfaketime``; None if it is not installed."""
    return next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)


class SkewedRedis(RedisServer):
    """A server with a clock of its own; ``skew`` moves it. Needs ``library()``."""

    def __init__(self, data_dir: Path, **options: Any) -> None:
        super().__init__(data_dir, **options)
        data_dir.mkdir(parents=True)
        self._offset = data_dir / "offset"
        self.skew(0)
        program = data_dir / "redis-with-own-clock"
        # libc first among the allocators: the library asks jemalloc for memory before that is
        # ready, which asks the library for the time.
        preload = f"{library()} libc.so.6"
        program.write_text(
            "#!/bin/sh\n"
            f"export LD_PRELOAD={shlex.quote(preload)}\n"
            f"export FAKETIME_TIMESTAMP_FILE={shlex.quote(str(self._offset.absolute()))}\n"
            "export FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1\n"
            f'exec {shlex.quote(str(server_program()))} "$@"\n'
        )
        program.chmod(0o755)
        self._server = program

    def skew(self, seconds: float) -> None:
        """Put the server's clock so far ahead of the real one, at once; negative: behind."""
        # One write: the server reads it at any moment.
        new = self._offset.with_suffix(".new")
        new.write_text(f"{seconds:+.3f}\n")
        new.replace(self._offset)


def prove(server: SkewedRedis, seconds: float = 60.0) -> None:
    """Raise ``AssertionError`` unless the server's ``TIME`` follows ``skew``, both ways."""
    client = server.client()
    before = client.time()[0]
    server.skew(seconds)
    ahead = client.time()[0] - before
    server.skew(0)
    back = client.time()[0] - before
    assert seconds - 1 <= ahead <= seconds + 10, f"{seconds:g} s ahead made TIME {ahead} s later"
    assert -1 <= back <= 10, f"put back, TIME is {back} s later"
