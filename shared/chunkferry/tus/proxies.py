"""``Forwarded`` (RFC 7239) and ``X-Forwarded-…``: what a proxy says of the request it passes on.

Pure. Believed only where the connection comes from a trusted network, and only if well formed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

Network = IPv4Network | IPv6Network

_PAIR: Final = re.compile(r'([\w!#$%&*+.^`|~-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))')
#: A host name or an address, and maybe a port; nothing that could break out of a URL.
HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_PREFIX: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")


def is_trusted(client: object, trusted: Sequence[Network]) -> bool:
    """True if ``client``, an ASGI (host, port), is in one of ``trusted``.

    A server behind a Unix socket knows no client address: nobody is trusted then.
    """
    if not trusted or not isinstance(client, (tuple, list)):
        return False
    return _is_in(str(client[0]), trusted)


def forwarded(scope: Scope, trusted: Sequence[Network]) -> Scope:
    """``scope`` as the client's request was before its proxies."""
    headers = Headers(scope=scope)
    said = _standard(headers) or _customary(headers)
    changed = {**scope}
    if said.get("proto") in {"http", "https"}:
        changed["scheme"] = said["proto"]
    host = said.get("host", "")
    if HOST.fullmatch(host):
        others = [(name, value) for name, value in scope["headers"] if name != b"host"]
        changed["headers"] = [*others, (b"host", host.encode("ascii"))]
        # The list to which the server adds what follows the body.
        changed["chunkferry.wire"] = scope["headers"]
    prefix = _list(headers, "x-forwarded-prefix").rpartition(",")[2].strip()
    if prefix and _PREFIX.fullmatch(prefix):
        changed["root_path"] = prefix.rstrip("/") + scope.get("root_path", "")
        changed["path"] = prefix.rstrip("/") + scope["path"]
    client = _client(headers, trusted)
    if client:
        changed["client"] = (client, 0)
    return changed


def _standard(headers: Headers) -> dict[str, str]:
    """What the nearest proxy says in ``Forwarded``: its last element."""
    elements = _list(headers, "forwarded").split(",")
    return {
        match[1].lower(): re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
        for match in _PAIR.finditer(elements[-1])
    }


def _customary(headers: Headers) -> dict[str, str]:
    """The same of ``X-Forwarded-Proto``, ``-Host`` and ``-Port``."""
    said = {
        name: _list(headers, f"x-forwarded-{name}").rpartition(",")[2].strip()
        for name in ("proto", "host", "port")
    }
    if said["host"] and said["port"].isdigit() and ":" not in said["host"]:
        said["host"] += f":{said['port']}"
    return said


def _client(headers: Headers, trusted: Sequence[Network]) -> str:
    """The nearest address that is no trusted proxy: whatever is further away could be made up."""
    for hop in reversed(_list(headers, "x-forwarded-for").split(",")):
        address = hop.strip().strip("[]")
        if not _is_address(address):
            return ""
        if not _is_in(address, trusted):
            return address
    return ""


def _list(headers: Headers, name: str) -> str:
    """All lines of a field as one (RFC 9110, section 5.3).

    Some proxies, HAProxy among them, add a line of their own behind what the client sent.
    """
    return ",".join(headers.getlist(name))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_in(host: str, networks: Sequence[Network]) -> bool:
    return _is_address(host) and any(ipaddress.ip_address(host) in network for network in networks)
