"""The parts of the command line that need no server: entry point, output, files, lock, sizes."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from chunkferry import errors
from chunkferry_worker.cli import runfile
from chunkferry_worker.cli.output import Exit, exit_code, printable, size_text
from chunkferry_worker.cli.patience import Interrupted, Patience, Stalled
from chunkferry_worker.cli.source import FileSource, SourceChanged
from chunkferry_worker.cli.supervisor import ChildKeepsEnding, Signals, Supervisor
from chunkferry_worker.cli.up import Size

RUNNING = runfile.Running(
    pid=1, started_at=2.5, redis_url="redis://:secret@h/0", broker_url="", services={"a": "b"}
)


@pytest.mark.parametrize("module", ["click", "rich"])
def test_a_missing_extra_is_named(module: str) -> None:
    """Without the packages of the command line, one sentence says what to install."""
    script = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from chunkferry_worker.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode()) == (
        2,
        "chunkferry: the command line needs more packages: pip install 'chunkferry[worker]'\n",
    )


def test_the_console_script_is_installed() -> None:
    """``chunkferry`` is a command."""
    script = Path(sys.executable).with_name("chunkferry")
    done = subprocess.run([script, "--version"], capture_output=True, check=True)
    assert done.stdout.startswith(b"chunkferry 0.")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), Exit.USAGE),
        (errors.MissingExtra("x", "s3"), Exit.USAGE),
        (errors.UnknownService("x", []), Exit.USAGE),
        (errors.InvalidPath("x", "y"), Exit.USAGE),
        (errors.UploadNotFound("x"), Exit.NOT_FOUND),
        (errors.RedisUnavailable("x"), Exit.UNAVAILABLE),
        (errors.Backpressure(0, 1), Exit.UNAVAILABLE),
        (errors.UploadError("x"), Exit.FAILED),
        (errors.UploadClosed("x", "failed"), Exit.FAILED),
    ],
)
def test_errors_have_exit_codes(error: errors.ChunkferryError, code: Exit) -> None:
    """The kind of an error decides how a command ends."""
    assert exit_code(error) is code


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "?"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**40 * 2000, "2000.0 TiB")],
)
def test_sizes_read_well(size: int | None, text: str) -> None:
    """Sizes are shown in the largest unit that fits."""
    assert size_text(size) == text


def test_output_cannot_steer_the_terminal() -> None:
    """Control characters of paths and errors are not passed on."""
    assert printable("a\x1b[31mb\x07\nc") == "a�[31mb�\nc"


@pytest.mark.parametrize(
    ("text", "size"), [("64MiB", 2**26), ("1G", 2**30), ("5", 5), ("2kb", 2048)]
)
def test_sizes_are_understood(text: str, size: int) -> None:
    """A size may carry a unit."""
    assert Size().convert(text, None, None) == size


# --- the run folder ---------------------------------------------------------------------------


def test_a_running_up_is_found_and_a_dead_one_is_not(tmp_path: Path) -> None:
    """While the lock is held its file is read; the same file without a holder is stale."""
    with runfile.claim(tmp_path):
        with pytest.raises(runfile.StillStarting):
            runfile.find(tmp_path)
        runfile.publish(tmp_path, RUNNING)
        assert runfile.find(tmp_path) == RUNNING
        stale = (tmp_path / "run/up.json").read_bytes()
        assert (tmp_path / "run/up.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "run/up.json").write_bytes(stale)
    with pytest.raises(runfile.NotRunning):
        runfile.find(tmp_path)


def test_what_is_known_of_an_up_shows_no_secret() -> None:
    """Its text may end up anywhere."""
    assert "secret" not in repr(RUNNING)


def test_a_file_that_others_could_have_written_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names code to load: a folder of somebody else's must not run it as us."""
    with runfile.claim(tmp_path):
        runfile.publish(tmp_path, RUNNING)
        file = tmp_path / "run/up.json"
        file.chmod(0o620)
        with pytest.raises(errors.ConfigError, match="somebody else"):
            runfile.find(tmp_path)
        file.chmod(0o600)
        assert runfile.find(tmp_path) == RUNNING
        if os.geteuid() == 0:
            os.chown(file, 12345, -1)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(errors.ConfigError, match="somebody else"):
            runfile.find(tmp_path)


def test_a_claimed_folder_cannot_be_claimed_again(tmp_path: Path) -> None:
    """One folder, one process."""
    with runfile.claim(tmp_path), pytest.raises(runfile.AlreadyRunning), runfile.claim(tmp_path):
        pass


def _die_holding(folder: Path) -> None:
    with runfile.claim(folder):
        os._exit(0)


def test_a_dead_holder_leaves_the_folder_free(tmp_path: Path) -> None:
    """The lock goes with its process, however it ends."""
    process = multiprocessing.get_context("spawn").Process(target=_die_holding, args=(tmp_path,))
    process.start()
    process.join()
    with runfile.claim(tmp_path):
        pass


def test_a_folder_that_cannot_be_used_is_a_configuration_error(tmp_path: Path) -> None:
    """A file in the folder's place is told, not raised as an OSError."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(errors.ConfigError, match="cannot be used"),
        runfile.claim(tmp_path / "file"),
    ):
        pass


# --- sources ----------------------------------------------------------------------------------


def test_a_file_is_known_again_by_name_size_and_time(tmp_path: Path) -> None:
    """The identity survives a process, and changes with the file."""
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    identity = FileSource(file).identity
    assert FileSource(file).identity == identity
    os.utime(file, ns=(0, 1))
    assert FileSource(file).identity != identity


@pytest.mark.parametrize("change", ["grow", "shrink", "touch"])
def test_a_changed_file_is_noticed_before_its_bytes_are_sent(tmp_path: Path, change: str) -> None:
    """Whatever changes between two reads ends the reading."""
    file = tmp_path / "file"
    file.write_bytes(b"abcdef")
    with FileSource(file) as source:
        assert source.read(2) == b"ab"
        match change:
            case "grow":
                file.write_bytes(b"abcdefg")
            case "shrink":
                file.write_bytes(b"ab")
            case "touch":
                os.utime(file, ns=(0, 1))
        with pytest.raises(SourceChanged, match="changed"):
            source.read(2)


def test_a_file_is_read_on_in_the_middle(tmp_path: Path) -> None:
    """Seeking decides where the next bytes come from."""
    file = tmp_path / "file"
    file.write_bytes(b"abcdef")
    with FileSource(file) as source:
        source.seek(4)
        assert (source.read(10), source.read(10)) == (b"ef", b"")


# --- waiting ----------------------------------------------------------------------------------


def test_patience_ends_with_what_was_waited_for() -> None:
    """When the time is over, the error is that of the last try; without one it is ``Stalled``."""
    notices: list[str] = []
    patience = Patience(threading.Event(), 0.0, notices.append)
    cause = errors.RedisUnavailable("gone")
    with pytest.raises(errors.RedisUnavailable):
        patience.pause(0, cause)
    with pytest.raises(Stalled):
        patience.pause(0)


def test_patience_ends_when_the_user_wants_to_stop() -> None:
    """A stop is noticed during a pause, and between two."""
    stop = threading.Event()
    patience = Patience(stop, None, lambda _: None)
    patience.pause(0)
    stop.set()
    with pytest.raises(Interrupted):
        patience.pause(60)
    with pytest.raises(Interrupted):
        patience.check()


# --- supervision ------------------------------------------------------------------------------


class Dying:
    """A child that ends as soon as it is started."""

    name = "dying"

    def __init__(self) -> None:
        self.starts = 0

    def start(self) -> None:
        self.starts += 1

    def ended(self) -> str:
        return "ended with 1"

    def stop(self, hurried: object) -> None:
        pass


def test_a_child_that_only_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five ends in a row are enough, each pause twice as long as the one before."""
    monkeypatch.setattr("chunkferry_worker.cli.supervisor._PAUSE", 0.001)
    said: list[str] = []
    child = Dying()
    supervisor = Supervisor(Signals(), said.append)
    supervisor.start(child)
    with pytest.raises(ChildKeepsEnding, match=r"dying ended with 1, 5 times"):
        supervisor.run(lambda: False)
    assert (child.starts, len(said)) == (5, 4)
    assert "starting it again in 0.008 s" in said[-1]
