"""Where ``up`` listens: the address as people write it, and who may be let in there."""

from __future__ import annotations

import socket

import click
import pytest

from chunkferry import config
from chunkferry.config import Settings
from chunkferry.errors import ConfigError
from chunkferry_worker.cli import listener
from chunkferry_worker.cli.listener import Address

#: Where others could get in: each, all of them, and what may mean them.
OPEN = ["0.0.0.0", "192.0.2.1", "example.org", "", "0", "*", "::", "::ffff:0.0.0.0", "2001:db8::1"]  # noqa: S104 - refused


@pytest.fixture
def settings() -> Settings:
    """Without anybody who has to say who they are."""
    return config.load()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:8080", ("::1", 8080)),
        (":9000", ("127.0.0.1", 9000)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),  # noqa: S104 - only parsed
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, address: tuple[str, int]) -> None:
    """Without a host it is loopback."""
    assert Address().convert(text, None, None) == address


@pytest.mark.parametrize(
    "text", ["", "8080", "localhost", "localhost:", "a:b", "a:65536", "a:-1", "a:²", "unix:/tmp/x"]
)
def test_anything_else_is_refused(text: str) -> None:
    """With what was expected."""
    with pytest.raises(click.BadParameter, match=r"no address such as 127\.0\.0\.1:8080"):
        Address().convert(text, None, None)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost"])
def test_loopback_needs_no_auth(settings: Settings, host: str) -> None:
    """Only people of this machine get there."""
    with listener.listen(settings, (host, 0)) as listening:
        assert listening.getsockname()[1] > 0


@pytest.mark.parametrize("host", OPEN)
def test_others_are_not_let_in_without_auth(settings: Settings, host: str) -> None:
    """They could send, read and remove uploads."""
    with pytest.raises(ConfigError, match="CHUNKFERRY_HTTP_TOKENS"):
        listener.listen(settings, (host, 0))


def test_with_tokens_anybody_may_come(settings: Settings) -> None:
    """They have to say who they are."""
    guarded = settings.changed(http_tokens={"ann": "a token"})
    with listener.listen(guarded, ("0.0.0.0", 0)) as listening:  # noqa: S104 - for a moment
        assert listener.url(listening) == f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("host", [".", "a..b", "x" * 64])
def test_what_is_no_name_is_told(settings: Settings, host: str) -> None:
    """The resolver does not even take it."""
    guarded = settings.changed(http_tokens={"ann": "a token"})
    with pytest.raises(ConfigError, match="is no name"):
        listener.listen(guarded, (host, 0))


def test_a_taken_address_is_told(settings: Settings) -> None:
    """Whoever names it wants that one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen at 127.0.0.1:{port}"):
            listener.listen(settings, ("127.0.0.1", port))


def test_a_taken_default_is_no_obstacle(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make run` works alone on any machine."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(listener, "_PORT", port)
        with listener.listen(settings, None) as listening:
            assert listening.getsockname()[1] not in {0, port}


def test_the_url_of_ipv6_has_brackets(settings: Settings) -> None:
    """As browsers need it."""
    try:
        listening = listener.listen(settings, ("::1", 0))
    except ConfigError:
        pytest.skip("this machine has no IPv6")
    with listening:
        assert listener.url(listening) == f"http://[::1]:{listening.getsockname()[1]}"
