"""The totals: what all processes have counted together. Nothing is decided by them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from chunkferry import connection, keys
from chunkferry.ledger.scripts import Scripts


class RedisTotals:
    """What all processes have counted together: one hash."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def add(self, counts: Mapping[str, int]) -> None:
        """Add to each field, to all or none; see ``services.Totals``."""
        self._scripts.run("tally", {"tally": keys.TALLY}, {"counts": json.dumps(dict(counts))})

    def read(self) -> dict[str, int]:
        """All fields."""
        with connection.translated():
            found = cast("dict[bytes, bytes]", self._scripts.client.hgetall(keys.TALLY))
        return {field.decode(): int(count) for field, count in found.items()}
