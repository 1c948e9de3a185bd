"""The commands that people and scripts use, against a running ``chunkferry up``."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.console import Console, sha256
from tests.servers.redis import FreshRedis
from tests.waiting import wait_until

from chunkferry import ChunkManager
from chunkferry.config import load
from chunkferry.connection import connect
from chunkferry.ledger import RedisLedger
from chunkferry.parts import MIB
from chunkferry.wakeup import NoWaker

#: More than a window holds: without workers, `put` has to wait in the middle of it.
LARGE = 40 * MIB

#: The members of `put --json`'s last line.
RESULT = {"upload_id", "filepath", "service", "state", "size", "stored", "seconds"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A console in the folder of a running ``up``; `broken` is a store that refuses everything."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "wall").touch()
    services = {"default": f"file://{folder}/data/objects", "broken": f"file://{folder}/wall/in"}
    console = Console(folder, {"CHUNKFERRY_SERVICES": json.dumps(services)})
    with console.up("--workers", "2") as up:
        yield console
        up.end()


@pytest.fixture
def idle(tmp_path: Path, fresh_redis: FreshRedis) -> Console:
    """A console with a Redis and no workers: what is received stays there."""
    (tmp_path / "work").mkdir()
    return Console(tmp_path / "work", {"CHUNKFERRY_REDIS_URL": fresh_redis().url})


def objects(console: Console) -> Path:
    return console.folder / "data/objects"


def received(console: Console, filepath: str) -> int:
    """Bytes received of the upload to a path."""
    listed = console.run("ls", "--all", "--json").lines
    return sum(upload["received"] for upload in listed if upload["filepath"] == filepath)


@contextlib.contextmanager
def stuck_put(console: Console, *arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """A `put` of ``LARGE`` bytes that has sent what it can without workers."""
    path = str(arguments[0])
    with console.start(
        "put", *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            wait_until(lambda: received(console, Path(path).name) > 8 * MIB, 30, what="it is stuck")
            yield process
        finally:
            process.kill()


# --- put --------------------------------------------------------------------------------------


def test_put_stores_a_file_and_says_so(served: Console) -> None:
    """The last line of JSON tells what was stored; the object has the file's bytes."""
    file = served.file("report.bin", 12 * MIB + 1)
    result = served.json("put", file, "--as", "reports/2026.bin")
    assert set(result) == RESULT
    assert (result["filepath"], result["state"]) == ("reports/2026.bin", "complete")
    assert (result["size"], result["stored"]) == (file.stat().st_size, file.stat().st_size)
    assert sha256(objects(served) / "reports/2026.bin") == sha256(file)


def test_put_stores_several_files_at_a_time(served: Console) -> None:
    """Each file gets a line of its own and goes to the named folder."""
    files = [served.file(f"part{n}", n * MIB) for n in range(5)]
    lines = served.run("put", *files, "--as", "many/", "--parallel", "3", "--json").lines
    assert sorted(line["filepath"] for line in lines) == [f"many/part{n}" for n in range(5)]
    stored = [sha256(objects(served) / "many" / file.name) for file in files]
    assert stored == [sha256(file) for file in files]


def test_put_stores_an_empty_file(served: Console) -> None:
    """A file of zero bytes is an object of zero bytes."""
    result = served.json("put", served.file("nothing", 0))
    assert (result["state"], result["size"], result["stored"]) == ("complete", 0, 0)
    assert (objects(served) / "nothing").read_bytes() == b""


@pytest.mark.parametrize("size", [0, 1, 11 * MIB])
def test_put_stores_standard_input(served: Console, size: int) -> None:
    """`-` takes a pipe, whose length shows at its end only."""
    data = os.urandom(size)
    result = served.json("put", "-", "--as", f"piped/{size}", stdin=data)
    assert (result["state"], result["size"]) == ("complete", size)
    assert (objects(served) / f"piped/{size}").read_bytes() == data


def test_put_replaces_an_earlier_object(served: Console) -> None:
    """A changed file goes to the same path again."""
    served.json("put", served.file("twice", 1000))
    file = served.file("twice", 2000)
    assert served.json("put", file)["size"] == 2000
    assert sha256(objects(served) / "twice") == sha256(file)


def test_put_for_people_ends_with_a_sentence(served: Console) -> None:
    """Without --json, stdout has one line per file, and nothing but results."""
    finished = served.run("put", served.file("sentence", 1000))
    assert finished.out.startswith("sentence  complete  1000 B in ")


def test_put_tells_programs_its_progress_if_asked(served: Console) -> None:
    """--json --progress adds lines with both halves; the last line stays the result."""
    lines = served.run("put", served.file("told", 9 * MIB), "--json", "--progress").lines
    assert lines[0].keys() == {"event", "filepath", "size", "received", "stored"}
    assert lines[-1].keys() == RESULT


def test_put_without_waiting_ends_when_all_is_received(idle: Console) -> None:
    """--no-wait needs no workers."""
    result = idle.json("put", idle.file("quick", MIB), "--no-wait")
    assert (result["state"], result["stored"]) == ("received", 0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_put_goes_on_where_it_was_stopped(idle: Console, number: signal.Signals) -> None:
    """After SIGKILL or Ctrl-C the same command takes the same upload up: the object is whole."""
    file = idle.file("large", LARGE)
    with stuck_put(idle, file) as put:
        put.send_signal(number)
        _, err = put.communicate(timeout=20)
    if number is signal.SIGINT:
        assert put.returncode == 130
        assert "the same command goes on where it stopped" in err.decode()
    before = idle.json("show", "large")
    assert (before["state"], before["size"]) == ("receiving", LARGE)
    with idle.up("--workers", "1"):
        result = idle.json("put", file)
    assert (result["upload_id"], result["state"]) == (before["upload_id"], "complete")
    assert sha256(objects(idle) / "large") == sha256(file)


def test_put_of_another_file_is_refused_until_told_to_restart(idle: Console) -> None:
    """A path in progress is not mixed with another file; --restart replaces the upload."""
    with stuck_put(idle, idle.file("large", LARGE)) as put:
        put.kill()
    other = idle.file("large", MIB)
    error = idle.json("put", other, code=1)["error"]
    assert error["code"] == "upload_in_progress"
    assert "--restart" in error["message"]
    with idle.up("--workers", "1"):
        assert idle.json("put", other, "--restart")["state"] == "complete"
    assert sha256(objects(idle) / "large") == sha256(other)


def test_put_notices_that_its_file_grows(idle: Console) -> None:
    """A file that changes while it is read is an error, and its upload is cancelled."""
    file = idle.file("large", LARGE)
    with idle.up("--workers", "1"):
        wait_until(lambda: idle.alive(command="chunkferry_worker worker"))
        workers = idle.alive(command="chunkferry_worker worker")
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        with stuck_put(idle, file) as put:
            with file.open("ab") as more:
                more.write(b"more")
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
            _, err = put.communicate(timeout=30)
        assert put.returncode == 1
        assert "changed while it was read" in err.decode()
        wait_until(lambda: idle.json("show", "large")["state"] == "cancelled", 20)


def test_put_waits_for_room_visibly_and_gives_up_when_told_to(idle: Console) -> None:
    """Back-pressure is borne with a notice; --timeout bounds it, as something to try again."""
    file = idle.file("large", LARGE)
    finished = idle.run("put", file, "--timeout", "4", code=4)
    assert "window full" in finished.err
    assert "trying again" in finished.err


def test_put_survives_a_restart_of_redis(tmp_path: Path, fresh_redis: FreshRedis) -> None:
    """While Redis is away `put` waits; then it goes on."""
    server = fresh_redis()
    (tmp_path / "work").mkdir()
    console = Console(tmp_path / "work", {"CHUNKFERRY_REDIS_URL": server.url})
    file = console.file("large", LARGE)
    with stuck_put(console, file) as put:
        server.restart()
        with console.up("--workers", "1"):
            assert put.wait(60) == 0
    assert sha256(objects(console) / "large") == sha256(file)


def test_put_to_a_store_that_refuses_fails(served: Console) -> None:
    """The upload is kept as failed, the reason is told; `requeue` gives it another chance."""
    file = served.file("refused", 1000)
    result = served.json("put", file, "--service", "broken", code=1)
    assert (result["state"], result["error"]["code"]) == ("failed", "init_failed")
    (failed,) = served.run("ls", "--state", "failed", "--json").lines
    assert failed["upload_id"] == result["upload_id"]
    (served.folder / "wall").unlink()
    try:
        assert served.json("requeue", failed["upload_id"])["upload_id"] == failed["upload_id"]
        last = served.json("watch", failed["upload_id"])
        assert (last["code"], last["state"]) == ("Ok", "complete")
        assert sha256(served.folder / "wall/in/refused") == sha256(file)
        assert served.run("requeue", failed["upload_id"], code=1).err != ""
    finally:
        (served.folder / "wall/in/refused").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing"], "No such file"),
        (["."], "Is a directory"),
        (["/dev/null"], "not a regular file"),
        (["-"], "--as"),
        (["present", "present"], "several files would go to present"),
        (["present", "other", "--as", "x"], "end it with '/'"),
        (["present", "--as", "../x"], "holds the component"),
        (["present", "--service", "nope"], "no service named 'nope'"),
        (["present", "--metadata", "x"], "NAME=VALUE"),
        (["present", "--parallel", "0"], "--parallel"),
    ],
)
def test_put_refuses_bad_arguments_before_anything_starts(
    served: Console, arguments: list[str], words: str
) -> None:
    """One bad argument stops all of them, with one sentence and exit code 2."""
    for name in ("present", "other"):
        served.file(name, 10)
    finished = served.run("put", *arguments, "--json", code=2)
    assert words in json.loads(finished.err)["message"]
    listed = served.run("ls", "--all", "--json").lines
    assert [upload for upload in listed if upload["filepath"] in {"present", "other"}] == []


# --- the others -------------------------------------------------------------------------------


@contextlib.contextmanager
def open_put(console: Console, path: str) -> Iterator[subprocess.Popen[bytes]]:
    """A `put` of standard input that has begun and waits for data."""
    with console.start(
        "put", "-", "--as", path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=-1
    ) as process:
        try:
            wait_until(lambda: exists(console, path), 20, what="it has begun")
            yield process
        finally:
            process.kill()


def exists(console: Console, path: str) -> bool:
    return any(line["filepath"] == path for line in console.run("ls", "--json").lines)


def test_ls_show_and_cancel_an_upload(served: Console) -> None:
    """An upload is listed and shown until it is cancelled; then it is gone from the list."""
    with open_put(served, "held") as put:
        (listed,) = (u for u in served.run("ls", "--json").lines if u["filepath"] == "held")
        assert (listed["state"], listed["size"]) == ("receiving", None)
        assert served.json("show", "held") == served.json("show", listed["upload_id"])
        assert "held" in served.run("ls").out
        assert listed["upload_id"] in served.run("show", "held").out
        assert served.json("cancel", "held")["upload_id"] == listed["upload_id"]
        last = served.json("watch", listed["upload_id"], code=1)
        assert (last["code"], last["state"]) == ("Error", "cancelled")
        assert last["error"]["code"] == "upload_closed"
        _, err = put.communicate(b"too late", timeout=20)
        assert (put.returncode, b"cancelled" in err) == (1, True)
    assert "held" not in served.run("ls").out
    assert "held" in served.run("ls", "--all").out
    assert "held" in served.run("ls", "--state", "cancelled").out


def test_watch_replays_what_happened(served: Console) -> None:
    """--after 0 tells everything from the beginning, --after an event only what followed."""
    upload_id = served.json("put", served.file("watched", 12 * MIB))["upload_id"]
    lines = served.run("watch", upload_id, "--after", "0", "--json").lines
    stored = [line["stored"] for line in lines]
    assert stored == sorted(stored)
    assert (lines[0]["received"], lines[-1]["code"]) == (0, "Ok")
    later = served.run("watch", upload_id, "--after", lines[-2]["event_id"], "--json").lines
    assert later == lines[-1:]


def test_acting_on_several_does_what_it_can(served: Console) -> None:
    """One that cannot be cancelled does not keep the others; the exit code tells of it."""
    with open_put(served, "one"), open_put(served, "two"):
        finished = served.run("cancel", "one", "unknown", "two", "--json", code=3)
        assert [line["filepath"] for line in finished.lines] == ["one", "two"]
        assert json.loads(finished.err)["code"] == "upload_not_found"


@pytest.mark.parametrize(
    ("arguments", "code", "name"),
    [
        (["show", "unknown"], 3, "upload_not_found"),
        (["watch", "0-" + "0" * 32], 3, "upload_not_found"),
        (["ls", "--redis-url", "redis://127.0.0.1:1/0"], 4, "redis_unavailable"),
        (["ls", "--redis-url", "nonsense"], 2, "config"),
        (["ls", "--data", "/nowhere"], 2, "not_running"),
        (["ls", "--no-such-option"], 2, "usage"),
        (["no-such-command"], 2, "usage"),
    ],
)
def test_errors_have_codes(served: Console, arguments: list[str], code: int, name: str) -> None:
    """Each kind of error has its exit code, and under --json its name."""
    error = json.loads(served.run(*arguments, "--json", code=code).err)
    assert error.keys() == {"code", "message", "retryable"}
    assert (error["code"], error["retryable"]) == (name, code == 4)
    assert served.run(*arguments, code=code).err.splitlines()[-1].startswith("chunkferry: ")


def test_a_bad_setting_is_named(served: Console) -> None:
    """A variable that cannot be used is an error that names it."""
    console = Console(served.folder, {"CHUNKFERRY_SHARDS": "many"})
    assert "CHUNKFERRY_SHARDS" in console.run("ls", code=2).err


def test_ctrl_c_ends_a_watch_with_130(served: Console) -> None:
    """Interrupting is not failing."""
    with open_put(served, "endless"):
        with served.start("watch", "endless", stdout=subprocess.PIPE, stderr=-1) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
        assert (process.returncode, err.strip()) == (130, b"chunkferry: interrupted")
        served.run("cancel", "endless")


# --- doctor -----------------------------------------------------------------------------------


def verdicts(lines: list[Any]) -> dict[str, str]:
    return {line["check"]: line["verdict"] for line in lines}


def test_doctor_finds_nothing_wrong_with_up(served: Console) -> None:
    """All checks of a running ``up`` are good, and the round trip leaves nothing in the store."""
    lines = served.run("doctor", "--service", "default", "--json").lines
    found = verdicts(lines)
    # Other tests have uploads fail in the same Redis.
    assert found.pop("failed") in {"good", "warning"}
    assert set(found.values()) == {"good"}
    assert {
        "redis",
        "persistence",
        "durability",
        "memory",
        "clock",
        "due",
        "broker",
        "workers",
    } < set(verdicts(lines))
    assert list((objects(served) / ".chunkferry-doctor").iterdir()) == []
    assert "✓" in served.run("doctor", "--service", "default").out


def fail_an_upload(url: str) -> None:
    """Leave one failed upload in that Redis."""
    settings = load(redis_url=url)
    ledger = RedisLedger(connect(url), settings)
    manager = ChunkManager(settings=settings, ledger=ledger, waker=NoWaker())
    upload_id = manager.create("failed", 0).upload_id
    ledger.leases.acquire(upload_id, "nonce", "worker")
    ledger.leases.fail(upload_id, "nonce", "store_refused", "403")


def test_doctor_says_what_to_change(tmp_path: Path, fresh_redis: FreshRedis) -> None:
    """Without workers, persistence, limits and with a store that refuses: all of it is told."""
    url = fresh_redis(appendonly=False).url
    fail_an_upload(url)
    services = {"default": "file:///dev/null/objects"}
    console = Console(
        tmp_path,
        {
            "CHUNKFERRY_REDIS_URL": url,
            "CHUNKFERRY_SERVICES": json.dumps(services),
            "CHUNKFERRY_REPLICAS": "1",
        },
    )
    lines = console.run("doctor", "--json", code=1).lines
    assert verdicts(lines) == {
        "redis": "good",
        "persistence": "warning",
        "durability": "bad",
        "memory": "warning",
        "clock": "good",
        "due": "good",
        "wake-ups": "good",
        "failed": "warning",
        "broker": "good",
        "workers": "bad",
        "store default": "bad",
        "abilities default": "good",
    }
    assert all(bool(line["advice"]) == (line["verdict"] != "good") for line in lines)
    assert "✗ workers" in console.run("doctor", code=1).out


def test_doctor_finds_an_evicting_redis(tmp_path: Path, fresh_redis: FreshRedis) -> None:
    """An eviction policy is a fault: accepted bytes could vanish."""
    url = fresh_redis(policy="allkeys-lru", maxmemory=100 * MIB).url
    lines = Console(tmp_path, {"CHUNKFERRY_REDIS_URL": url}).run("doctor", "--json", code=1).lines
    assert verdicts(lines)["redis"] == "bad"
    assert "noeviction" in lines[0]["message"]


def test_doctor_finds_a_redis_that_is_not_there(tmp_path: Path) -> None:
    """Without Redis the stores are still looked at."""
    console = Console(tmp_path, {"CHUNKFERRY_REDIS_URL": "redis://127.0.0.1:1/0"})
    found = verdicts(console.run("doctor", "--json", code=1).lines)
    assert found == {
        "redis": "bad",
        "broker": "bad",
        "store default": "good",
        "abilities default": "good",
    }


def test_doctor_goes_on_where_redis_refuses(tmp_path: Path, fresh_redis: FreshRedis) -> None:
    """A right that is missing is named; broker, workers and stores are looked at all the same."""
    url = fresh_redis().url
    with connect(url) as client:
        rights = "on >word ~* &* +@all -time -evalsha"
        client.execute_command("ACL", "SETUSER", "poor", *rights.split())
    poor = f"redis://poor:word@{url.rpartition('@')[2]}"
    console = Console(tmp_path, {"CHUNKFERRY_REDIS_URL": poor})
    lines = console.run("doctor", "--json", code=1).lines
    refused = [line["message"] for line in lines if line["verdict"] == "bad"]
    assert "'time'" in refused[0]
    assert verdicts(lines) | {"broker": "good", "store default": "good"} == verdicts(lines)
    assert verdicts(lines)["redis"] == verdicts(lines)["workers"] == "bad"


def test_doctor_finds_settings_of_another_installation(
    tmp_path: Path, fresh_redis: FreshRedis
) -> None:
    """With another number of shards it would look where no upload is, and find all well."""
    url = fresh_redis().url
    fail_an_upload(url)
    console = Console(tmp_path, {"CHUNKFERRY_REDIS_URL": url, "CHUNKFERRY_SHARDS": "8"})
    (found, *_) = console.run("doctor", "--json", code=1).lines
    assert (found["check"], found["verdict"]) == ("redis", "bad")
    assert '"shards": 64' in found["message"]


def test_doctor_names_a_broker_that_is_not_set(tmp_path: Path) -> None:
    """A cluster cannot be one: the reason is told, not the type of an error."""
    console = Console(tmp_path, {"CHUNKFERRY_REDIS_URL": "redis+cluster://127.0.0.1:1/0"})
    lines = console.run("doctor", "--json", code=1).lines
    (broker,) = [line for line in lines if line["check"] == "broker"]
    assert "CHUNKFERRY_BROKER_URL: must be set" in broker["message"]


# --- reconcile --------------------------------------------------------------------------------


@pytest.fixture
def littered(idle: Console) -> Console:
    """A folder with an old unfinished file that nobody knows, and one of an upload that waits."""
    root = idle.folder / "objects"
    idle.environment["CHUNKFERRY_SERVICES"] = json.dumps({"default": f"file://{root}"})
    idle.run("put", idle.file("waiting", MIB), "--no-wait")
    (listed,) = idle.run("ls", "--json").lines
    url = idle.environment["CHUNKFERRY_REDIS_URL"]
    RedisLedger(connect(url), load(redis_url=url)).agenda.attend()
    folder = root / ".chunkferry"
    folder.mkdir(parents=True)
    for name in (listed["upload_id"], f"put-{'0' * 32}", "notes.txt"):
        (folder / name).write_bytes(b"7 bytes")
        os.utime(folder / name, (0, 0))
    return idle


def unfinished(console: Console) -> list[str]:
    return sorted(path.name for path in (console.folder / "objects/.chunkferry").iterdir())


def test_reconcile_shows_orphans_and_removes_nothing(littered: Console) -> None:
    """Without --remove it is a dry run, which ends with 1 as long as there is an orphan."""
    before = unfinished(littered)
    *findings, report = littered.run("reconcile", "--json", code=1).lines
    assert [(f["verdict"], f["filepath"], f["size"]) for f in findings] == [
        ("foreign", ".chunkferry/notes.txt", 0),
        ("orphan", f".chunkferry/put-{'0' * 32}", 7),
    ]
    assert (report["event"], report["orphans"], report["size"]) == ("report", 1, 7)
    assert (report["unfinished"], report["removed"], report["foreign"]) == (3, 0, 1)
    assert before == unfinished(littered)


def test_reconcile_removes_what_no_upload_knows(littered: Console) -> None:
    """Then all is well; what is in use, or not ours, is where it was."""
    report = littered.json("reconcile", "--remove")
    assert (report["removed"], report["orphans"], report["size"]) == (1, 0, 7)
    (upload,) = littered.run("ls", "--json").lines
    assert unfinished(littered) == sorted([upload["upload_id"], "notes.txt"])
    assert littered.json("reconcile")["unfinished"] == 2


def test_reconcile_speaks_to_people(littered: Console) -> None:
    """A table of what was found, and a sentence."""
    finished = littered.run("reconcile", code=1)
    assert "orphan" in finished.out
    assert f".chunkferry/put-{'0' * 32}" in finished.out
    assert finished.out.splitlines()[-1].startswith(
        "unfinished: 3, orphans: 1, removed: 0, to be freed: 7 B"
    )
    assert "another program's" in finished.err


def test_reconcile_leaves_alone_what_is_younger(littered: Console) -> None:
    """--older-than takes seconds or ISO 8601, and nothing shorter than an upload may live."""
    assert littered.json("reconcile", "--older-than", "P99999D")["orphans"] == 0
    assert littered.json("reconcile", "--older-than", "P2D", code=1)["orphans"] == 1
    refused = littered.run("reconcile", "--remove", "--older-than", "3600", code=2)
    assert "3600 s is too short" in refused.err
    assert "neither seconds" in littered.run("reconcile", "--older-than", "soon", code=2).err
    assert len(unfinished(littered)) == 3


def test_reconcile_looks_at_every_store_it_can(littered: Console) -> None:
    """A store at fault is told of, and does not hide the others; --service chooses."""
    (littered.folder / "wall").touch()
    services = json.loads(littered.environment["CHUNKFERRY_SERVICES"])
    services["broken"] = f"file://{littered.folder}/wall/in"
    littered.environment["CHUNKFERRY_SERVICES"] = json.dumps(services)
    finished = littered.run("reconcile", "--remove", "--json", code=1)
    assert json.loads(finished.err.splitlines()[-1])["code"] == "store_refused"
    assert (finished.lines[-1]["removed"], finished.lines[-1]["stuck"]) == (1, 1)
    assert littered.json("reconcile", "--service", "default")["stuck"] == 0
    littered.run("reconcile", "--service", "absent", code=2)


def test_reconcile_refuses_a_redis_that_was_never_used(
    littered: Console, fresh_redis: FreshRedis
) -> None:
    """To a wrong Redis everything would look left over; to look at it makes it no better."""
    littered.environment["CHUNKFERRY_REDIS_URL"] = fresh_redis().url
    for look in ("reconcile", "ls", "metrics"):
        littered.run(look, code=2 if look == "reconcile" else 0)
        refused = littered.run("reconcile", "--remove", code=2)
        assert "no worker has ever swept this Redis" in refused.err
    assert len(unfinished(littered)) == 3


def test_reconcile_needs_redis(littered: Console) -> None:
    """Without it nobody knows what is in use."""
    littered.environment["CHUNKFERRY_REDIS_URL"] = "redis://127.0.0.1:1/0"
    littered.run("reconcile", "--remove", code=4)
    assert len(unfinished(littered)) == 3


#: A store whose Redis is killed between two of its leftovers.
DEADLY_STORE = """
import os, pathlib, signal
from chunkferry.storage.local import LocalStore

class Deadly(LocalStore):
    def remove(self, found):
        done = super().remove(found)
        os.kill(int(os.environ["REDIS_PID"]), signal.SIGKILL)
        return done

def store(options):
    return Deadly(pathlib.Path(options["root"]))
"""


def test_reconcile_tells_what_it_removed_before_redis_went_away(littered: Console) -> None:
    """Code 4, and a report that says that there is more to look at."""
    with connect(littered.environment["CHUNKFERRY_REDIS_URL"]) as client:
        littered.environment["REDIS_PID"] = str(client.info("server")["process_id"])
    (littered.folder / "deadly.py").write_text(DEADLY_STORE)
    root = littered.folder / "objects"
    (root / ".chunkferry" / f"put-{'1' * 32}").write_bytes(b"7 bytes")
    os.utime(root / ".chunkferry" / f"put-{'1' * 32}", (0, 0))
    services = {"default": f"deadly:store?root={root}"}
    littered.environment["CHUNKFERRY_SERVICES"] = json.dumps(services)
    report = littered.json("reconcile", "--remove", code=4)
    assert (report["removed"], report["size"], report["more"]) == (1, 7, True)
    assert len(unfinished(littered)) == 3
