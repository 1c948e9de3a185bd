"""Which addresses may be posted to: public ones only, unless the settings allow others.

A name is resolved once and the connection made to what was checked, so that a name whose answer
changes in between (DNS rebinding) leads nowhere else.
"""

from __future__ import annotations

import ipaddress
import socket
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from chunkferry_worker.delivery import DeliveryFailed

#: IPv6 networks whose addresses end with the IPv4 address that is meant (RFC 6052, RFC 4291).
_HOLDING_IPV4: Final = tuple(
    ipaddress.IPv6Network(network) for network in ("64:ff9b::/96", "::ffff:0:0/96")
)
#: 6to4 has it in front (RFC 3056).
_6TO4: Final = ipaddress.IPv6Network("2002::/16")


def resolve(host: str, port: int, *, allow_private: bool) -> str:
    """An address of ``host`` to connect to.

    Raises:
        DeliveryFailed: there is none, or one of them is not public.
    """
    try:
        # As the system does it: 2130706433 and 0177.1 are addresses as well, and are checked.
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise DeliveryFailed("the host's name cannot be resolved") from None
    found = [str(answer[4][0]) for answer in answers]
    if not allow_private and not all(map(is_public, found)):
        raise DeliveryFailed(
            "the host's name leads to an address that is not public; see webhook_allow_private"
        )
    return found[0]


def is_public(text: str) -> bool:
    """True if anybody on the Internet could connect to the address."""
    address = ipaddress.ip_address(text)
    if isinstance(address, IPv6Address):
        if inner := _inner(address):
            return is_public(str(inner))
        if address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _inner(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a gateway would make of it."""
    if address in _6TO4:
        return address.sixtofour
    if any(address in network for network in _HOLDING_IPV4):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None
