"""Where ``up`` lets its front door listen, and for whom."""

from __future__ import annotations

from contextlib import closing

import pytest

from chunkferry import config
from chunkferry.config import Settings
from chunkferry.errors import ConfigError
from chunkferry_worker.cli import listener

TOKENS = {"ann": "correct-horse-battery"}
#: For others to reach.
ALL = ("0.0.0.0", 0)  # noqa: S104 - refused, or closed at once


def settings(**fields: object) -> Settings:
    """Settings with these fields."""
    return config.load(**fields)


@pytest.mark.parametrize("hooks", ["", "tests.servers.doormen:creating"])
def test_others_are_not_let_in_without_a_doorman(hooks: str) -> None:
    """Hooks that ask nobody who they are guard nothing."""
    with pytest.raises(ConfigError, match="lets others send"):
        listener.listen(settings(http_hooks=hooks), ALL)


@pytest.mark.parametrize(
    "fields", [{"http_tokens": TOKENS}, {"http_hooks": "tests.servers.doormen:plain"}]
)
def test_others_are_let_in_past_a_doorman(fields: dict[str, object]) -> None:
    """Tokens, or a hook that says who somebody is; by whatever name they come."""
    with closing(listener.listen(settings(**fields), ALL)) as listening:
        assert listener.guarded(settings(**fields), listening).http_hosts == []


def test_hooks_that_are_not_there_are_told_at_once() -> None:
    """Not by a process that ends again and again."""
    with pytest.raises(ConfigError, match="CHUNKFERRY_HTTP_HOOKS"):
        listener.listen(settings(http_hooks="nowhere:hooks"), ALL)


def test_without_a_doorman_the_door_is_for_this_machine() -> None:
    """By its own names, the address it listens at, and those that are named."""
    named = settings(http_hosts=["uploads.test"])
    with closing(listener.listen(named, ("127.0.0.2", 0))) as listening:
        found = listener.guarded(named, listening).http_hosts
    assert found == ["localhost", "127.0.0.1", "::1", "127.0.0.2", "uploads.test"]
