"""What the kernel knows of other processes: CPU time, memory, children. Linux only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_KIB: Final = 1024
#: Where CPU times begin in ``/proc/<pid>/stat`` behind the name: utime stime cutime cstime.
_TIMES: Final = slice(11, 15)


def cpu_seconds(pid: int) -> float:
    """CPU time that a process and the children it has waited for have used so far."""
    # The name, in parentheses, may hold anything; nothing behind it has a parenthesis.
    fields = _proc(pid, "stat").rpartition(")")[2].split()
    return sum(map(int, fields[_TIMES])) / _TICKS


def children(pid: int) -> list[int]:
    """The processes that a process has started, from whichever thread."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def memory(pid: int) -> int:
    """Resident bytes of a process."""
    return _status(pid, "VmRSS")


def peak_memory(pid: int) -> int:
    """The most resident bytes of a process since ``forget_peak_memory``."""
    return _status(pid, "VmHWM")


def forget_peak_memory(pid: int) -> None:
    """Begin ``peak_memory`` anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status(pid: int, name: str) -> int:
    lines = _proc(pid, "status").splitlines()
    return next(int(line.split()[1]) * _KIB for line in lines if line.startswith(f"{name}:"))


def _proc(pid: int, file: str) -> str:
    return Path(f"/proc/{pid}/{file}").read_text()
