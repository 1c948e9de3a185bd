"""How errors of redis-py become ours: nothing of what they quote gets on."""

from __future__ import annotations

import dataclasses
import traceback

import pytest
from redis import exceptions

from chunkferry import connection
from chunkferry.connection.facts import ServerFacts, _require_usable
from chunkferry.errors import ChunkferryError, ConfigError, RedisFull, RedisRefused

QUOTED = "Command # 1 (XADD key 5-0 d some-payload) of pipeline caused error: "


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (exceptions.ResponseError(f"{QUOTED}WRONGTYPE Operation"), RedisRefused),
        (exceptions.OutOfMemoryError(f"{QUOTED}OOM command not allowed"), RedisFull),
        (exceptions.NoPermissionError(f"{QUOTED}NOPERM this user"), ConfigError),
        (exceptions.DataError("Invalid input: some-payload"), ChunkferryError),
    ],
)
def test_a_refusal_is_shown_without_the_command(
    error: exceptions.RedisError, ours: type[ChunkferryError]
) -> None:
    """Neither in the text nor in the causes below it, which a traceback shows as well."""
    with pytest.raises(ours) as raised, connection.translated():
        raise error
    assert "some-payload" not in "".join(traceback.format_exception(raised.value))


def test_a_lost_connection_says_where_it_went() -> None:
    """Host and port are what an operator needs, and no secret."""
    with pytest.raises(ChunkferryError) as raised, connection.translated():
        raise exceptions.ConnectionError("Error 111 connecting to host:1. Connection refused.")
    assert "host:1" in "".join(traceback.format_exception(raised.value))


def test_a_redis_that_is_too_old_is_refused() -> None:
    """With both versions: the one that came, and the one that is needed."""
    old = ServerFacts(
        version=(6, 2, 14),
        maxmemory=0,
        used_memory=0,
        policy="noeviction",
        aof_enabled=True,
        role="master",
        in_cluster=False,
    )
    with pytest.raises(ConfigError, match=r"6\.2\.14 is too old: 7\.0 or newer is needed"):
        _require_usable(old)
    _require_usable(dataclasses.replace(old, version=(7, 0, 0)))
