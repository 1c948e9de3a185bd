"""``Fields``: the header fields of one message, and what those of RFC 9651 mean. Pure.

Knows no protocol. A field that is not of the type that is asked for counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

import http_sf

#: Most digits of a Content-Length that is believed.
_MAX_DIGITS: Final = 19
#: A parameter and its token or quoted string (RFC 6266, section 4.1). Python's own reader of
#: them raises TypeError on some.
_PARAMETER: Final = re.compile(r';\s*([^\s;="]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;\s"]*)', re.DOTALL)


class Fields:
    """The fields of one message, all lines of a name as one (RFC 9110, section 5.3)."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        """Take the names and values of an ASGI scope's ``headers``."""
        lines: dict[str, list[bytes]] = {}
        for name, value in raw:
            lines.setdefault(name.decode("latin-1").lower(), []).append(value)
        self._values = {name: b", ".join(values) for name, values in lines.items()}

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._values

    def text(self, name: str) -> str | None:
        """The whole value; None without one."""
        value = self._values.get(name.lower())
        return None if value is None else value.decode("latin-1").strip()

    def integer(self, name: str) -> int | None:
        """The value of an Item that is a non-negative Integer (RFC 9651, section 3.3.1)."""
        value = self._item(name)
        # In Python a Boolean is an integer, too.
        return value if type(value) is int and value >= 0 else None

    def boolean(self, name: str) -> bool | None:
        """The value of an Item that is a Boolean (RFC 9651, section 3.3.6)."""
        value = self._item(name)
        return value if isinstance(value, bool) else None

    def byte_sequences(self, name: str) -> Mapping[str, bytes] | None:
        """The members of a Dictionary of Byte Sequences (RFC 9651, sections 3.2 and 3.3.5)."""
        members = self._parsed(name, "dictionary")
        if not isinstance(members, dict):
            return None
        # Each is a value with its parameters.
        values = {key: member[0] for key, member in members.items() if isinstance(member, tuple)}
        found = {key: value for key, value in values.items() if isinstance(value, bytes)}
        return found if len(found) == len(members) else None

    def content_length(self) -> int | None:
        """Bytes of the content, where the message says so and has no transfer coding."""
        value = self.text("content-length")
        if value is None or "transfer-encoding" in self or len(value) > _MAX_DIGITS:
            return None
        return int(value) if value.isascii() and value.isdigit() else None

    def media_type(self) -> str:
        """``Content-Type`` in lower case without its parameters; empty without one."""
        return (self.text("content-type") or "").partition(";")[0].strip().lower()

    def filename(self) -> str:
        """The file's name of ``Content-Disposition`` (RFC 6266, section 4.3); may be empty.

        It is what a client chose to send: nothing to make a path of.
        """
        value = _as_text(self._values.get("content-disposition", b""))
        found = {name.lower(): content for name, content in _PARAMETER.findall(value)}
        # The encoded one is the better of two.
        return _decoded(found.get("filename*", "")) or _unquoted(found.get("filename", ""))

    def _item(self, name: str) -> object:
        item = self._parsed(name, "item")
        return item[0] if isinstance(item, tuple) else None

    def _parsed(self, name: str, kind: str) -> object:
        value = self._values.get(name.lower())
        if value is None:
            return None
        try:
            return http_sf.parse(value, tltype=kind)
        except http_sf.StructuredFieldError:
            return None


def _as_text(value: bytes) -> str:
    """``value`` as today's clients mean it, or as RFC 9110 once had it."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _unquoted(content: str) -> str:
    return re.sub(r"\\(.)", r"\1", content[1:-1]) if content.startswith('"') else content


def _decoded(content: str) -> str:
    """An extended value (RFC 8187, section 3.2.1); empty if it is none."""
    charset, _, rest = content.partition("'")
    if charset.lower() not in {"utf-8", "iso-8859-1"}:
        return ""
    try:
        return unquote_to_bytes(rest.partition("'")[2]).decode(charset)
    except UnicodeDecodeError:
        return ""
