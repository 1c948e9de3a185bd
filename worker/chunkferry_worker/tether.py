"""Child processes that cannot outlive the process that started them.

It knows nothing of Redis or Celery. On Linux the kernel itself ends the child
(``PR_SET_PDEATHSIG``), so that even ``kill -9`` of the parent leaves nothing behind. Other
systems have no such call: there a child of a killed parent lives on until somebody ends it.

This file is also run as a script, between ``fork`` and the child's own program. Hence it
imports nothing but the standard library.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

#: ``<linux/prctl.h>``.
PR_SET_PDEATHSIG = 1

#: What a child's standard stream is joined to: a file, a descriptor or ``subprocess.PIPE``.
Stream = int | IO[bytes] | None


def die_with_parent(parent: int, death_signal: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send ``death_signal`` to this process when its parent ends.

    The request survives ``exec``. It is bound to the *thread* that started this process: a
    parent that starts children from short-lived threads loses them early.

    Args:
        parent: The process expected to be the parent.
        death_signal: The signal to be ended by.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), "prctl(PR_SET_PDEATHSIG)")
    # A parent that ended before the call above is never reported by the kernel.
    if os.getppid() != parent:
        os.kill(os.getpid(), death_signal)


def spawn(
    argv: Sequence[str | Path],
    *,
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = None,
    stderr: Stream = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    death_signal: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start ``argv`` as a child that dies with this process; call it from a lasting thread.

    The child gets a session of its own: Ctrl-C in the terminal reaches only this process, which
    then ends its children in the right order.

    Args:
        argv: The program and its arguments; a name without a slash is looked up on ``PATH``.
        stdin: The child's standard input.
        stdout: The child's standard output.
        stderr: The child's standard error.
        env: The child's whole environment; a copy of this process' if ``None``.
        cwd: The child's working folder.
        pass_fds: Further descriptors that stay open in the child.
        death_signal: What the child is sent when this process ends.

    Returns:
        The running child: its ``pid`` is that of the program itself. A program that cannot be
        started ends with status 127 and says why on ``stderr``.
    """
    # Not preexec_fn: it runs Python between fork and exec, which can deadlock when other
    # threads exist. This file as a script does the same after an exec, and costs about 20 ms.
    shim = [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(death_signal))]
    return subprocess.Popen(  # noqa: S603 - the arguments are the caller's, and no shell reads them
        [*shim, *map(str, argv)],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=env,
        cwd=cwd,
        pass_fds=pass_fds,
        start_new_session=True,
    )


def _become(parent: int, death_signal: signal.Signals, argv: list[str]) -> None:
    """Tie this process to its parent and turn it into ``argv``."""
    die_with_parent(parent, death_signal)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - replacing this shim is its whole purpose
    except OSError as exc:
        sys.stderr.write(f"cannot start {argv[0]}: {exc.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    _become(int(sys.argv[1]), signal.Signals(int(sys.argv[2])), sys.argv[3:])
