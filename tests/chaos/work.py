"""What producers upload: every file follows from a seed. Knows nothing of how it gets anywhere."""

from __future__ import annotations

import random
from dataclasses import dataclass

from chunkferry.parts import KIB, MIB

#: Part size of a chaos run: many parts in few bytes.
PART = 5 * MIB
#: Sizes in bytes, and how often each is taken.
_SIZES = {
    0: 2,
    1: 2,
    100 * KIB: 6,
    PART: 3,
    PART + 1: 3,
    12 * MIB: 5,
    25 * MIB: 4,
    60 * MIB: 1,
}
#: Sizes of single appends, in bytes.
_PIECES = (64 * KIB, 1 * MIB, 4 * MIB, 7 * MIB)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One upload that a producer is to make."""

    filepath: str
    #: Bytes.
    size: int
    #: True if its length is told only at the end.
    late: bool
    #: Where its bytes come from.
    seed: int
    #: It is cancelled once so many bytes were accepted; never if None.
    cancel_at: int | None = None

    def content(self) -> bytes:
        """Its bytes; no two parts of it are the same."""
        dice = random.Random(self.seed)
        # It makes up to 256 MiB at once.
        return b"".join(dice.randbytes(min(MIB, self.size - at)) for at in range(0, self.size, MIB))

    def pieces(self) -> random.Random:
        """Dice for ``piece``."""
        return random.Random(self.seed + 1)


def piece(dice: random.Random) -> int:
    """How many bytes the next append takes."""
    return dice.choice(_PIECES)


def planned(seed: int, producer: int, number: int) -> Planned:
    """The upload that this producer makes as its ``number``-th."""
    dice = random.Random(f"{seed}/{producer}/{number}")
    size = dice.choices(list(_SIZES), list(_SIZES.values()))[0]
    return Planned(
        filepath=f"{producer}/{number:05}-{size}.bin",
        size=size,
        late=dice.random() < 0.25,
        seed=dice.getrandbits(48),
        cancel_at=dice.randrange(size + 1) if dice.random() < 0.06 else None,
    )
