"""``Batch``: the bytes of one transaction of an append, and what is asked about them.

Decides nothing: ``admit`` says whether they may come, and ``intake`` what follows from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import google_crc32c
import redis

from chunkferry import stream
from chunkferry.config import APPEND_BATCH
from chunkferry.errors import ContentConflict, IntegrityError
from chunkferry.parts import Grid

#: Checksums take only bytes. Copies of this size stay in the processor's cache; copies of whole
#: pieces are made of fresh pages of memory each time, which costs four times as much.
_CRC_STEP: Final = 64 * 1024


class Batch:
    """Pieces of one upload that follow one another."""

    def __init__(
        self, upload_id: str, start: int, pieces: Sequence[memoryview], grid: Grid
    ) -> None:
        self.upload_id = upload_id
        self.begins_part = grid.begins(start)
        self.part_end = grid.boundary(start)
        self.start = start
        self.pieces = pieces
        self.finish = start + sum(map(len, pieces))
        self.needs_room = bool(pieces) and (self.begins_part or self.finish > self.part_end)
        self.crc32c = 0
        for piece in pieces:
            for i in range(0, len(piece), _CRC_STEP):
                self.crc32c = google_crc32c.extend(self.crc32c, bytes(piece[i : i + _CRC_STEP]))

    def questions(self, room: int) -> dict[str, str | int]:
        """The arguments of ``admit``."""
        return {
            "start": self.start,
            "finish": self.finish,
            "begins": int(self.begins_part),
            "part_end": self.part_end,
            "room": room,
            "batch": APPEND_BATCH,
        }

    def require_same(self, last: Sequence[str], stored: int, client: redis.Redis) -> None:
        """Refuse repeated bytes that differ, as far as that can still be told.

        Args:
            last: start, finish and CRC32C of the newest append, which is remembered by those.
            stored: bytes that are past comparing.
            client: reads those that wait in the stream, which can be compared.

        Raises:
            ContentConflict: other bytes were received here before.
        """
        if list(last[:2]) == [str(self.start), str(self.finish)]:
            if last[2] != str(self.crc32c):
                raise ContentConflict(self.start, self.finish)
            return
        at = max(self.start, stored)
        data = b"".join(self.pieces)[at - self.start :]
        try:
            for known in stream.read(client, self.upload_id, at, self.finish):
                if not data.startswith(known):
                    raise ContentConflict(at, at + len(known))
                at, data = at + len(known), data[len(known) :]
        except IntegrityError:
            return  # stored meanwhile
