"""The socket of the front door: bound once by ``up``, shared by all processes that serve it.

While one of them is started again, connections wait in the socket instead of being refused.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from contextlib import suppress
from typing import Any, Final

import click

from chunkferry.config import Settings
from chunkferry.errors import ConfigError, MissingExtra

#: Where it listens unless told otherwise.
_HOST: Final = "127.0.0.1"
_PORT: Final = 8080
DEFAULT: Final = f"{_HOST}:{_PORT}"
#: What this machine is called by its own browsers.
_LOOPBACK: Final = ("localhost", _HOST, "::1")
#: Connections that may wait to be accepted.
_BACKLOG: Final = 2048


class Address(click.ParamType[tuple[str, int]]):
    """A host and a port: ``127.0.0.1:8080``, ``[::]:80``, ``:8080`` for loopback."""

    name = "address"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """The host and the port."""
        if isinstance(value, tuple):
            return value
        host, separator, port = str(value).rpartition(":")
        # Other scripts have digits that are no number.
        is_number = port.isascii() and port.isdigit()
        if not separator or not is_number or int(port) > 65535:  # noqa: PLR2004 - 16 bits
            self.fail(f"{value!r} is no address such as {DEFAULT}", param, ctx)
        return host.strip("[]") or _HOST, int(port)


def listen(settings: Settings, address: tuple[str, int] | None) -> socket.socket:
    """A listening socket at ``address``; at the default one, or else at any free port.

    Raises:
        ConfigError: the address cannot be had, or is open to others while nobody has to say who
            they are.
        MissingExtra: the front door is not installed.
    """
    host, port = address or (_HOST, _PORT)
    _require_safe(settings, host)
    try:
        return _bound(host, port)
    except OSError as exc:
        if address is None and exc.errno == errno.EADDRINUSE:
            return _bound(host, 0)
        raise ConfigError(f"cannot listen at {host}:{port}: {exc.strerror or exc}") from exc
    except UnicodeError as exc:
        raise ConfigError(f"cannot listen at {host}:{port}: {host!r} is no name") from exc


def guarded(settings: Settings, listening: socket.socket) -> Settings:
    """``settings``, in which only this machine's own names lead to a front door without guards.

    Else a page of another site, opened in a browser here, could have its own name lead to it.
    """
    if needs_credentials(settings):
        return settings
    address = listening.getsockname()[0]
    return settings.changed(http_hosts=[*_LOOPBACK, address, *settings.http_hosts])


def needs_credentials(settings: Settings) -> bool:
    """True if whoever comes has to say who they are.

    Raises:
        ConfigError: the hooks that are named cannot be had.
        MissingExtra: the front door is not installed.
    """
    if settings.http_tokens or not settings.http_hooks:
        return bool(settings.http_tokens)
    try:
        from chunkferry.tus.asgi import named_hooks  # noqa: PLC0415 - Starlette is optional
    except ImportError as exc:
        raise MissingExtra("the front door", "serve") from exc
    return named_hooks(settings.http_hooks).authorize is not None


def url(listening: socket.socket) -> str:
    """The URL of what is served there, for a browser on this machine."""
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = _HOST
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _require_safe(settings: Settings, host: str) -> None:
    if host == "localhost" or needs_credentials(settings):
        return
    with suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    raise ConfigError(
        f"listening at {host} lets others send, read and remove uploads: set CHUNKFERRY_HTTP_TOKENS"
        f" (or CHUNKFERRY_HTTP_HOOKS with authorize), or listen at {_HOST}"
    )


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, place = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(place)
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening
