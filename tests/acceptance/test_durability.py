"""Durability as a person sees it: what ``doctor`` says of it, and that ``put`` waits for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.acceptance.console import Console
from tests.servers.redis import AT_ONCE, FreshRedis, RedisServer, replica_of
from tests.waiting import wait_until

from chunkferry.parts import MIB
from chunkferry_worker import embedded_redis


def console(folder: Path, server: RedisServer, **settings: str) -> Console:
    """A shell whose commands use that Redis."""
    named = {f"CHUNKFERRY_{name.upper()}": value for name, value in settings.items()}
    return Console(folder, {"CHUNKFERRY_REDIS_URL": server.url, **named})


def said(shell: Console) -> tuple[str, str]:
    """What ``doctor`` says of durability: the verdict and the message."""
    # There are no workers, which is a fault of its own.
    lines = shell.run("doctor", "--json", code=1).lines
    return next(
        (line["verdict"], line["message"]) for line in lines if line["check"] == "durability"
    )


@pytest.mark.parametrize(
    ("durability", "message"),
    [
        ("memory", "what is acknowledged is in the memory of Redis"),
        ("fsynced", "what is acknowledged is on the disk of Redis"),
    ],
)
def test_doctor_says_what_an_acknowledgement_means(
    tmp_path: Path, fresh_redis: FreshRedis, durability: str, message: str
) -> None:
    """And how many replicas there have to be."""
    server = fresh_redis(server=embedded_redis.find_server(), settings=AT_ONCE)
    assert said(console(tmp_path, server, durability=durability)) == ("good", message)
    shell = console(tmp_path, server, durability=durability, replicas="1")
    verdict, missing = said(shell)
    assert (verdict, "0 replicas are connected, and 1 have to" in missing) == ("bad", True)
    replica_of(server, fresh_redis, embedded_redis.find_server())
    assert said(shell) == ("good", f"{message} and 1 of its replicas")


def test_doctor_says_what_keeps_a_server_from_being_durable(
    tmp_path: Path, fresh_redis: FreshRedis
) -> None:
    """As the error of a producer would."""
    verdict, message = said(console(tmp_path, fresh_redis(appendonly=False), durability="fsynced"))
    assert (verdict, "set appendonly yes" in message) == ("bad", True)


def test_put_waits_until_its_bytes_are_safe(tmp_path: Path, fresh_redis: FreshRedis) -> None:
    """It says why, and goes on by itself."""
    server = fresh_redis(settings=AT_ONCE)
    shell = console(tmp_path, server, replicas="1", durability_wait_seconds="0.3")
    error = tmp_path / "stderr"
    with error.open("wb") as stderr:
        process = shell.start(
            "put", shell.file("file", MIB), "--no-wait", stdout=subprocess.DEVNULL, stderr=stderr
        )
    with process:
        try:
            wait_until(lambda: b"0 of 1 replicas have it" in error.read_bytes(), 60, what="told")
            replica_of(server, fresh_redis)
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert b"Traceback" not in error.read_bytes()
