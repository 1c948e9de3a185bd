"""How long a signed URL may live: the same bounds for every store. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from chunkferry.errors import InvalidArgument

#: What S3 and GCS allow with their fourth version of signatures.
LONGEST: Final = timedelta(days=7)
SHORTEST: Final = timedelta(seconds=1)


def check(lifetime: timedelta) -> timedelta:
    """``lifetime`` if a signed URL can have it.

    Raises:
        InvalidArgument: it is under a second or over seven days.
    """
    if not SHORTEST <= lifetime <= LONGEST:
        msg = f"the lifetime of a URL is 1 second to 7 days, not {lifetime.total_seconds():g} s"
        raise InvalidArgument(msg)
    return lifetime
