"""Dead letters, in memory: the twin of ``chunkferry.ledger.letters``."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import count
from typing import Final

from chunkferry.ledger.letters import dump, load
from chunkferry.moves import Letter

#: Letters kept.
_MOST: Final = 1000


class MemoryLetters:
    """What could not be told; see ``services.Letters``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids = count(1)
        self._dead: dict[str, str] = {}
        self._again: dict[str, str] = {}

    def add(self, letter: Letter) -> None:
        """One more."""
        self._add(self._dead, letter)

    def dead(self) -> list[Letter]:
        """All that wait for somebody to decide, oldest first."""
        return self._read(self._dead)

    def send_again(self, letter: Letter) -> None:
        """Have a dead letter told once more."""
        self._add(self._again, letter)
        with self._lock:
            self._dead.pop(letter.letter_id, None)

    def waiting(self, limit: int = 10) -> list[Letter]:
        """Letters to be told once more."""
        return self._read(self._again)[:limit]

    def settle(self, letter: Letter, error: str = "") -> None:
        """A letter of ``waiting`` was told, or is dead again."""
        if error:
            self.add(replace(letter, error=error, attempts=letter.attempts + 1))
        with self._lock:
            self._again.pop(letter.letter_id, None)

    def _add(self, letters: dict[str, str], letter: Letter) -> None:
        with self._lock:
            letters[f"{next(self._ids)}-0"] = dump(letter)
            while len(letters) > _MOST:
                del letters[next(iter(letters))]

    def _read(self, letters: dict[str, str]) -> list[Letter]:
        with self._lock:
            return [load(letter_id, text) for letter_id, text in letters.items()]
