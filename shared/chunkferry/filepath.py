"""``check_filepath``: which names an upload may have. Pure; knows no store.

The rules are the strictest of all stores, so that a path that is accepted once works on every
one of them: an S3 key has up to 1024 bytes, a file name up to 255.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from typing import Final

from chunkferry.errors import InvalidPath

#: Most bytes of a filepath in UTF-8 (S3 keys).
MAX_BYTES: Final = 1024
#: Most bytes of one component in UTF-8 (POSIX ``NAME_MAX``).
MAX_COMPONENT_BYTES: Final = 255
#: First component that belongs to chunkferry itself: unfinished files live there.
RESERVED: Final = ".chunkferry"

#: How the paths of partial uploads begin: their objects wait there to be joined with others.
PARTIALS: Final = ".partials/"

_PARTIAL: Final = re.compile(re.escape(PARTIALS) + "[0-9a-f]{32}")
_DRIVE: Final = re.compile(r"[A-Za-z]:")
#: Neither is a character, and XML, hence an S3 listing, cannot carry them.
_NOT_CHARACTERS: Final = frozenset("\ufffe\uffff")


def check_filepath(filepath: str) -> str:
    """``filepath`` itself, if it is a relative, normal path with ``/`` between components.

    Raises:
        InvalidPath: it is not; the message says why.
    """
    if reason := _fault(filepath):
        raise InvalidPath(filepath, reason)
    return filepath


def check_destination(filepath: str) -> str:
    """``filepath`` itself, if an upload of its own may go there.

    Raises:
        InvalidPath: as ``check_filepath``; or partial uploads' objects are there.
    """
    if check_filepath(filepath).partition("/")[0].casefold() == PARTIALS.rstrip("/"):
        raise InvalidPath(filepath, f"must not start with {PARTIALS!r}, which is reserved")
    return filepath


def new_partial() -> str:
    """A fresh, unguessable path for the object of a partial upload."""
    return f"{PARTIALS}{secrets.token_hex(16)}"


def is_partial(filepath: str) -> bool:
    """True if ``filepath`` may come from ``new_partial``."""
    return _PARTIAL.fullmatch(filepath) is not None


def is_filepath(text: str) -> bool:
    """True if ``check_filepath`` accepts ``text``."""
    return not _fault(text)


def _fault(filepath: str) -> str:
    """What is wrong with ``filepath``; empty if nothing is."""
    # In this order: the later checks encode the text, which needs it to be Unicode.
    checks = (_text_fault, _length_fault, _root_fault)
    fault = next(filter(None, (check(filepath) for check in checks)), "")
    return fault or next(filter(None, map(_component_fault, filepath.split("/"))), "")


def _text_fault(filepath: str) -> str:
    if not filepath:
        return "is empty"
    if any(unicodedata.category(c) in {"Cc", "Cs"} or c in _NOT_CHARACTERS for c in filepath):
        return "holds control characters or is not Unicode text"
    if "\\" in filepath:
        return "holds a backslash; components are separated by '/'"
    return ""


def _length_fault(filepath: str) -> str:
    return f"is longer than {MAX_BYTES} bytes" if len(filepath.encode()) > MAX_BYTES else ""


def _root_fault(filepath: str) -> str:
    if filepath.startswith("/") or _DRIVE.match(filepath):
        return "must be relative"
    # Some file systems take .ChunkFerry for the same folder.
    if filepath.partition("/")[0].casefold() == RESERVED:
        return f"must not start with {RESERVED!r}, which is reserved"
    return ""


def _component_fault(component: str) -> str:
    if component in {"", ".", ".."}:
        return f"holds the component {component!r}"
    if len(component.encode()) > MAX_COMPONENT_BYTES:
        return f"holds a component longer than {MAX_COMPONENT_BYTES} bytes"
    return ""
