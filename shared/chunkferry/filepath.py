"""``check_filepath``: which names an upload may have. Pure; knows no store.

The rules are the strictest of all stores, so that a path that is accepted once works on every
one of them: an S3 key has up to 1024 bytes, a file name up to 255.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from chunkferry.errors import InvalidPath

#: Most bytes of a filepath in UTF-8 (S3 keys).
MAX_BYTES: Final = 1024
#: Most bytes of one component in UTF-8 (POSIX ``NAME_MAX``).
MAX_COMPONENT_BYTES: Final = 255
#: First component that belongs to chunkferry itself: unfinished files live there.
RESERVED: Final = ".chunkferry"

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
