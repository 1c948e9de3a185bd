"""``tether``: what becomes of a child when its parent ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.waiting import wait_until

from chunkferry_worker import tether

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends orphans")


def is_running(pid: int) -> bool:
    """Whether the process exists and is not merely waiting to be reaped."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def test_the_child_is_the_program_itself() -> None:
    """The returned pid is that of the program, not of a wrapper around it."""
    with tether.spawn(["sh", "-c", "echo $$"], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.pid == int(child.stdout.read())


def test_a_missing_program_ends_with_127_and_says_so() -> None:
    """A program that cannot be started is reported on stderr, like a shell does."""
    with tether.spawn(["/does/not/exist"], stderr=subprocess.PIPE) as child:
        _, err = child.communicate()
    assert (
        child.returncode,
        err,
    ) == (127, b"cannot start /does/not/exist: No such file or directory\n")


@linux_only
def test_a_killed_parent_takes_its_child_along() -> None:
    """SIGKILL of the parent, which it cannot handle, ends the child too."""
    script = (
        "import sys\n"
        "from chunkferry_worker import tether\n"
        "child = tether.spawn(['sleep', '600'])\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.kill()
    wait_until(lambda: not is_running(child), what="the child ended")


@linux_only
def test_a_parent_that_is_gone_already_is_noticed() -> None:
    """A child whose parent ended before the request was made ends by itself."""
    script = (
        "from chunkferry_worker import tether\ntether.die_with_parent(1)\nprint('still here')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=False)
    assert (done.returncode, done.stdout) == (-9, b"")
