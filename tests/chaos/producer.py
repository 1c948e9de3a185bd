"""One producer process: uploads file after file, whatever happens, and keeps a record.

``python -m tests.chaos.producer FOLDER NUMBER SEED [--watch]`` with the variables of a deployment.
It may be killed at any moment: the next one of the same number goes on where its record ends.
Once the file ``FOLDER/stop`` is there, it begins nothing new, and ends when nothing of its own is
open. With ``--watch`` an upload is open until it is complete, as for a client of a Redis that may
lose its newest second; without, until all its bytes are acknowledged.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.chaos.record import Fate, Record, Step, fates
from tests.chaos.work import Planned, piece, planned

from chunkferry import ChunkManager, State
from chunkferry.errors import ChunkferryError, OffsetMismatch, UploadClosed, UploadNotFound
from chunkferry.upload import ChunkUpload

#: Between two tries, and two looks at what is open.
PAUSE = 0.2


class Producer:
    """The uploads of one number."""

    def __init__(
        self, manager: ChunkManager, folder: Path, number: int, seed: int, *, watch: bool
    ) -> None:
        self._manager = manager
        self._stop = folder / "stop"
        self._record = Record(folder, number)
        self._producer, self._seed, self._watch = number, seed, watch
        self._fates = fates(self._record.lines())

    def run(self) -> None:
        """Upload until told to stop, then until nothing is open."""
        number = max((key[1] for key in self._fates), default=-1) + 1
        while not self._stop.exists():
            self._look_after_open()
            self._try(number)
            number += 1
        while self._look_after_open():
            time.sleep(PAUSE)

    def _look_after_open(self) -> int:
        """Do the next thing for each open upload; return how many are left."""
        for fate in self._open():
            self._try(fate.number)
        return len(self._open())

    def _open(self) -> list[Fate]:
        return [fate for fate in self._fates.values() if self._is_open(fate)]

    def _is_open(self, fate: Fate) -> bool:
        if fate.complete or fate.cancelled:
            return False
        return fate.cancelling or self._watch or not fate.acknowledged

    def _try(self, number: int) -> None:
        """Do all that can be done for an upload now; errors are written down."""
        fate = self._fates.setdefault(
            (self._producer, number), Fate(producer=self._producer, number=number)
        )
        plan = planned(self._seed, self._producer, number)
        try:
            if fate.cancelling:
                self._cancel(fate)
            elif fate.acknowledged:
                self._follow(plan, fate)
            else:
                self._send(plan, fate)
        except OffsetMismatch as exc:
            self._note_error(number, exc)
            if exc.expected < fate.accepted:
                self._note(fate, "rewind", received=exc.expected)
        except ChunkferryError as exc:
            self._note_error(number, exc)
            time.sleep(PAUSE)
        except Exception as exc:
            # No client of ours could act on this: the checker reports it.
            text = f"{type(exc).__name__}: {exc}"[:500]
            self._record.write(number, "error", code=type(exc).__name__, text=text)
            time.sleep(PAUSE)

    def _send(self, plan: Planned, fate: Fate) -> None:
        """Send what is missing of an upload, from the beginning or from where it stopped."""
        self._record.write(fate.number, "begin")
        upload = self._manager.create(
            plan.filepath, None if plan.late else plan.size, idempotency_key=plan.filepath
        )
        if upload.upload_id == fate.upload_id and upload.received < fate.accepted:
            self._note(fate, "rewind", received=upload.received)
        self._note(fate, "created", upload_id=upload.upload_id, received=upload.received)
        if self._has_ended(upload, fate) or upload.state is State.FAILED:
            return
        content, dice, offset = plan.content(), plan.pieces(), upload.received
        while offset < plan.size:
            if plan.cancel_at is not None and offset >= plan.cancel_at:
                break
            data = memoryview(content)[offset : offset + piece(dice)]
            self._record.write(fate.number, "send", received=offset)
            offset = self._manager.append(upload.upload_id, offset, data)
            self._note(fate, "accepted", received=offset)
        if plan.cancel_at is not None:
            self._note(fate, "cancel")
            self._cancel(fate)
            return
        if plan.late:
            self._manager.set_length(upload.upload_id, plan.size)
        self._note(fate, "acknowledged", received=plan.size)

    def _follow(self, plan: Planned, fate: Fate) -> None:
        """Look at an acknowledged upload until it is complete; send again what Redis lost."""
        try:
            upload = self._manager.get(fate.upload_id)
        except UploadNotFound:
            self._note(fate, "gone")
            self._send(plan, fate)
            return
        if not self._has_ended(upload, fate) and upload.state is State.RECEIVING:
            self._send(plan, fate)

    def _cancel(self, fate: Fate) -> None:
        try:
            self._manager.cancel(fate.upload_id)
            self._has_ended(self._manager.get(fate.upload_id), fate)
        except UploadNotFound:
            self._note(fate, "cancelled")
        except UploadClosed as exc:
            if exc.state != State.COMPLETE:
                raise
            self._note(fate, "complete")

    def _has_ended(self, upload: ChunkUpload, fate: Fate) -> bool:
        if upload.state is State.COMPLETE:
            self._note(fate, "complete")
        elif upload.state in {State.CANCELLED, State.EXPIRED} and fate.cancelling:
            self._note(fate, "cancelled")
        return upload.has_ended

    def _note(self, fate: Fate, step: Step, *, upload_id: str = "", received: int = 0) -> None:
        """Write a line, and learn from it what a successor would."""
        self._record.write(fate.number, step, upload_id=upload_id, received=received)
        fate.learn(step, upload_id=upload_id, received=received)

    def _note_error(self, number: int, error: ChunkferryError) -> None:
        self._record.write(
            number, "error", code=error.code, retryable=error.retryable, text=str(error)[:500]
        )


def main(arguments: list[str]) -> None:
    """Run one producer to its end."""
    folder, number, seed = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    watch = "--watch" in arguments
    Producer(ChunkManager(), folder, number, seed, watch=watch).run()


if __name__ == "__main__":
    main(sys.argv[1:])
