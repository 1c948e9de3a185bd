"""The list of parts an object is made of: complete and in order, or refused. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from chunkferry.errors import IntegrityError
from chunkferry.services import StoredPart


def total_size(parts: Sequence[StoredPart]) -> int:
    """Bytes of all ``parts`` together.

    Some stores make an object of whatever parts a list names, so a gap has to be found here.

    Raises:
        IntegrityError: they are not numbered 1, 2, 3, … without a gap.
    """
    for expected, part in enumerate(parts, start=1):
        if part.number != expected:
            msg = f"expected part {expected} in the list of stored parts, found {part.number}"
            raise IntegrityError(msg)
    return sum(part.size for part in parts)
