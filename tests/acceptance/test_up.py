"""``chunkferry up``: comes up, proves that it works, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.acceptance.console import MARK, QUICK, Console, sha256
from tests.servers.s3 import S3Server
from tests.waiting import wait_until

from chunkferry.parts import MIB

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return Console(tmp_path)


def worker_main(console: Console) -> int:
    """The worker's main process: the one that is no other worker's child."""
    workers = console.alive(command="chunkferry_worker worker")
    return min(workers)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_all_it_started(console: Console, number: signal.Signals) -> None:
    """After SIGTERM or Ctrl-C it ends with 0, and no process is left."""
    with console.up("--workers", "2") as up:
        assert len(console.alive()) >= 6  # up, redis, beat, worker and its pool
        assert up.end(number) == 0
        assert console.alive() == []
    assert not (console.folder / "data/run/up.json").exists()


def test_nothing_survives_its_sudden_death(console: Console) -> None:
    """After SIGKILL of ``up`` the kernel ends everything it started."""
    with console.up("--workers", "2") as up:
        up.end(signal.SIGKILL)
        wait_until(lambda: not console.alive(), what="all are gone")


def test_it_can_start_again_after_its_sudden_death(console: Console) -> None:
    """What a killed ``up`` left in the data folder is in nobody's way, and its uploads are kept."""
    file = console.file("file", MIB)
    with console.up() as up:
        console.json("put", file)
        up.end(signal.SIGKILL)
    assert "no `chunkferry up` runs" in console.run("ls", code=2).err
    with console.up():
        assert console.json("show", "file")["state"] == "complete"


def test_it_ends_with_its_parent(console: Console) -> None:
    """With --exit-with-parent, the death of the parent stops it in order."""
    script = (
        "import subprocess, sys\n"
        "argv = [sys.executable, '-m', 'chunkferry_worker', 'up', '--exit-with-parent']\n"
        "print(subprocess.Popen(argv, stdout=subprocess.PIPE).stdout.readline(), flush=True)\n"
        "input()\n"
    )
    environment = {**os.environ, **QUICK, MARK: console.mark}
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=console.folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        assert b"ready" in parent.stdout.readline()
        parent.kill()
    wait_until(lambda: not console.alive(), 30, what="all are gone")
    assert not (console.folder / "data/run/up.json").exists()


def test_where_nobody_signs_in_it_answers_to_no_other_name(console: Console) -> None:
    """A page of another site can have its own name lead here, but may not read along."""
    console.environment["CHUNKFERRY_HTTP_HOSTS"] = '["uploads.test"]'
    with console.up("--listen", "127.0.0.1:0", "--workers", "1") as up:
        url = re.findall(r"http://\S+", up.out.read_text())[0]
        found = [
            httpx.get(f"{url}/api/uploads", headers={"Host": host}).status_code
            for host in ("localhost:1", url.removeprefix("http://"), "uploads.test", "evil.example")
        ]
    assert found == [200, 200, 200, 421]


def test_a_second_one_is_refused(console: Console) -> None:
    """Two of them cannot share a data folder; the first goes on."""
    with console.up():
        error = console.run("up", code=2).err
        assert "another `chunkferry up` runs in" in error
        console.run("ls")


def test_a_killed_worker_is_replaced(console: Console) -> None:
    """When the worker is killed in the middle of an upload, another one ends it."""
    file = console.file("file", 60 * MIB)
    with console.up("--workers", "2") as up, console.start("put", file) as put:
        wait_until(lambda: list((console.folder / "data/objects").glob(".chunkferry/*")), 30)
        killed = worker_main(console)
        os.kill(killed, signal.SIGKILL)
        assert put.wait(60) == 0
        wait_until(lambda: "worker killed by SIGKILL; starting it again" in up.err.read_text())
        wait_until(lambda: console.alive(command="chunkferry_worker worker"), 20)
        assert killed not in console.alive()
        assert sha256(console.folder / "data/objects/file") == sha256(file)


def test_a_killed_redis_is_replaced(console: Console) -> None:
    """When Redis is killed, it comes back on the same port with what was received."""
    file = console.file("file", MIB)
    with console.up() as up:
        console.json("put", file)
        os.kill(console.alive(command="-server ")[0], signal.SIGKILL)
        wait_until(lambda: "redis ended; starting it again" in up.err.read_text())
        assert console.json("put", file, "--as", "again")["state"] == "complete"
        assert console.json("show", "file")["state"] == "complete"


def test_a_worker_that_cannot_start_is_given_up(console: Console) -> None:
    """A child that only ever ends makes ``up`` end, and say which one and why."""
    broker = ("--broker-url", "no-such-transport://")
    error = console.run("up", "--json", *broker, code=1, tracebacks=True).err.splitlines()
    assert json.loads(error[-1])["code"] == "child_keeps_ending"
    assert console.alive() == []


def test_the_password_is_in_no_command_line(console: Console) -> None:
    """Other users cannot read it: it is in files of mode 0600 and in environments only."""
    with console.up():
        file = console.folder / "data/run/up.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        url = json.loads(file.read_text())["redis_url"]
        password = url.partition("://:")[2].partition("@")[0].encode()
        lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in console.alive()]
        assert len(password) > 20
        assert [line for line in lines if password in line] == []
        assert password.decode() not in (console.folder / "up.out").read_text()


def test_the_demonstration_proves_an_equal_object(console: Console) -> None:
    """--demo stores a generated file, shows equal digests, stays up; older files go."""
    stale = console.folder / "data/demo/old.bin"
    stale.parent.mkdir(parents=True)
    stale.touch()
    with console.up("--demo", "6MiB", "--json") as up:
        wait_until(lambda: any('"proof"' in line for line in up.said()), 30, what="the proof")
        proof = json.loads(up.said()[-1])
        (source,) = (console.folder / "data/demo").iterdir()
        assert source.stat().st_size == 6 * MIB
        stored = console.folder / "data/objects/demo" / source.name
        assert proof == {
            "event": "proof",
            "source": sha256(source),
            "object": sha256(stored),
            "verdict": "equal",
        }
        assert up.process.poll() is None
        assert up.end() == 0


@pytest.mark.s3
def test_the_demonstration_works_with_s3(
    console: Console, ceph_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CHUNKFERRY_SERVICES alone sends the object to S3; put and doctor work with it, too."""
    ceph_server.export_credentials(monkeypatch)
    url = ceph_server.url(f"up-{console.mark}")
    console.environment["CHUNKFERRY_SERVICES"] = json.dumps({"default": url})
    file = console.file("file", 11 * MIB)
    with console.up("--demo", "12MiB", "--json") as up:
        wait_until(lambda: any('"proof"' in line for line in up.said()), 60, what="the proof")
        assert json.loads(up.said()[-1])["verdict"] == "equal"
        assert console.json("put", file, "--content-type", "text/plain")["state"] == "complete"
        console.run("doctor")
        key = f"up-{console.mark}/file"
        found = ceph_server.client().get_object(Bucket=ceph_server.bucket, Key=key)
        assert found["ContentType"] == "text/plain"
        assert found["Body"].read() == file.read_bytes()


def test_a_second_ctrl_c_hurries(console: Console) -> None:
    """Whoever presses Ctrl-C twice does not wait for a worker that hangs."""
    with console.up("--workers", "1") as up:
        for pid in console.alive(command="chunkferry_worker worker"):
            os.kill(pid, signal.SIGSTOP)
        up.process.send_signal(signal.SIGINT)
        wait_until(lambda: "Ctrl-C again to hurry" in up.err.read_text())
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(5) == 0
        wait_until(lambda: not console.alive(), what="all are gone")


def test_a_demonstration_that_fails_ends_with_1(console: Console) -> None:
    """Where the store refuses the object, there is no proof and the exit code says so."""
    console.environment["CHUNKFERRY_SERVICES"] = '{"default": "file:///dev/null/objects"}'
    error = console.run("up", "--demo", "1MiB", "--json", code=1).err.splitlines()
    assert json.loads(error[-1])["code"] == "init_failed"
    assert console.alive() == []


def test_it_works_with_a_redis_of_others(console: Console, tmp_path: Path) -> None:
    """With --redis-url it starts no Redis, and refuses one that does not answer."""
    answer = console.run("up", "--redis-url", "redis://127.0.0.1:1/0", "--json", code=4)
    assert json.loads(answer.err)["code"] == "redis_unavailable"
    assert console.alive() == []


def doctor(console: Console) -> tuple[int, bytes]:
    """Its exit code, and what it says."""
    with console.start("doctor", stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        out, _ = process.communicate(timeout=60)
    return process.returncode, out


def test_what_it_leaves_in_its_folder_holds_no_secret(console: Console) -> None:
    """Payload and password are in Redis' own files, in the object, and in what only we can read."""
    marker = b"<payload-of-up>"
    (console.folder / "file").write_bytes(marker * MIB)
    with console.up() as up:
        running = json.loads((console.folder / "data/run/up.json").read_text())
        password = running["redis_url"].partition("://:")[2].partition("@")[0].encode()
        (redis,) = console.alive(command="valkey-server") or console.alive(command="redis-server")
        put = console.start("put", "file", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        with put:
            wait_until(
                lambda: "receiving" in console.run("ls", "--json").out or put.poll() == 0, 30
            )
            os.kill(redis, signal.SIGKILL)
            said, _ = put.communicate(timeout=90)
        said += console.run("show", "file", "--json").out.encode()
        # The worker has lost its broker, too, and takes a moment to find it again.
        wait_until(lambda: doctor(console)[0] == 0, 60, what="doctor is content")
        said += doctor(console)[1]
        up.end()
    data = console.folder / "data"
    theirs = {data / "objects", data / "redis" / "appendonlydir"}
    files = [
        path
        for path in [*data.rglob("*"), up.out, up.err]
        if path.is_file() and not theirs & set(path.parents)
    ]
    assert {path.name for path in files} >= {"redis.log", "lock", "up.out", "up.err"}
    texts = {path.name: path.read_bytes() for path in files} | {"the commands": said}
    assert [name for name, text in texts.items() if marker in text or password in text] == []
    for name in ("run", "redis"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o700
