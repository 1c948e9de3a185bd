"""Conditional and range requests: what RFC 9110, sections 13 and 14, has a GET answered with.

Pure: knows headers and validators, no store. Several ranges in one request are answered with the
whole, which section 14.2 allows.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from enum import Enum, auto
from typing import Final

from starlette.datastructures import Headers

#: What browsers have to be told of by name: a client may send these, and its script see those.
REQUEST_HEADERS: Final = (
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "If-Unmodified-Since",
    "Range",
)
RESPONSE_HEADERS: Final = ("Accept-Ranges", "Content-Disposition", "Content-Range", "ETag")
#: What an entity tag may hold (section 8.8.3), without the bytes that are no ASCII.
_OPAQUE: Final = re.compile(r"[!#-~]+")
_TAG: Final = re.compile(r'(W/)?"([!#-~\x80-\xff]*)"')
#: One byte range; more digits than any size has are as good as these.
_RANGE: Final = re.compile(r"bytes=[\s,]*([0-9]{0,40})-([0-9]{0,40})[\s,]*", re.IGNORECASE)


class Verdict(Enum):
    """What the preconditions of a request come to."""

    SEND = auto()
    NOT_MODIFIED = auto()  #: 304
    FAILED = auto()  #: 412


class NotSatisfiable(Exception):
    """No byte of what is asked for exists: 416."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validators:
    """What tells one version of an object from another."""

    #: As a header has it, strong and in quotes; empty if there is none.
    etag: str
    #: Whole seconds, UTC; None if it is not known.
    last_modified: datetime | None

    @property
    def last_modified_header(self) -> str:
        """``Last-Modified``; empty if it is not known."""
        return format_datetime(self.last_modified, usegmt=True) if self.last_modified else ""


def validators(etag: str, last_modified: datetime | None) -> Validators:
    """Those of an object whose store knows it by ``etag``, without quotes."""
    if etag and not _OPAQUE.fullmatch(etag):
        etag = hashlib.sha256(etag.encode("utf-8", "surrogatepass")).hexdigest()
    return Validators(
        etag=f'"{etag}"' if etag else "",
        last_modified=last_modified and last_modified.astimezone(UTC).replace(microsecond=0),
    )


def judge(headers: Headers, found: Validators) -> Verdict:
    """What to do about a GET or HEAD, in the order of section 13.2.2."""
    if "if-match" in headers:
        if not _matches(_all(headers, "if-match"), found, weakly=False):
            return Verdict.FAILED
    elif _is_newer(found, headers.get("if-unmodified-since")):
        return Verdict.FAILED
    if "if-none-match" in headers:
        if _matches(_all(headers, "if-none-match"), found, weakly=True):
            return Verdict.NOT_MODIFIED
    elif _is_newer(found, headers.get("if-modified-since")) is False:
        return Verdict.NOT_MODIFIED
    return Verdict.SEND


def span(headers: Headers, found: Validators, size: int) -> tuple[int, int] | None:
    """The bytes [start, finish) that a GET asks for; None for all of them.

    What is no byte range, or not one alone, counts for nothing. So does any range of an object
    without bytes: some clients ask for one always, only to bound the answer.

    Raises:
        NotSatisfiable: they begin behind the end, or there are none.
    """
    asked = _RANGE.fullmatch(_all(headers, "range"))
    if not asked or asked.group(1, 2) == ("", "") or size == 0 or not _applies(headers, found):
        return None
    first, last = asked.group(1, 2)
    if not first:
        if int(last) == 0:
            raise NotSatisfiable
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise NotSatisfiable
    return int(first), min(int(last) + 1, size) if last else size


def _all(headers: Headers, name: str) -> str:
    return ", ".join(headers.getlist(name))


def _matches(tags: str, found: Validators, *, weakly: bool) -> bool:
    """Is the object's tag among ``tags``? A weak one counts only where that is asked for."""
    if tags.strip() == "*":
        return True
    return any(
        f'"{opaque}"' == found.etag and (weakly or not weak) for weak, opaque in _TAG.findall(tags)
    )


def _is_newer(found: Validators, date: str | None) -> bool | None:
    """Was it changed after ``date``? None if nobody can tell."""
    moment = _moment(date)
    return None if moment is None or found.last_modified is None else found.last_modified > moment


def _applies(headers: Headers, found: Validators) -> bool:
    """Does ``If-Range`` let the range count? Section 13.1.5."""
    validator = headers.get("if-range")
    if validator is None:
        return True
    if '"' in validator:
        # Strong comparison: a weak tag equals nothing.
        return bool(found.etag) and validator.strip() == found.etag
    # A date is a strong validator here: an object never changes, it is only replaced.
    return found.last_modified is not None and _moment(validator) == found.last_modified


def _moment(date: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(date or "")
        # "-0000" is a time without a zone.
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
