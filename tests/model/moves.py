"""The scripts of ``shared/chunkferry/lua``, one function each: upload in, answer and upload out.

Knows neither processes nor the store. Changes of state are held against ``state.TRANSITIONS``.
"""

from __future__ import annotations

from typing import Final

from tests.model.bounds import Bounds, Guard
from tests.model.state import NOBODY, Upload

from chunkferry.state import TERMINAL, TRANSITIONS, Move, State

_ALWAYS_RUNNABLE: Final = frozenset({State.RECEIVED, State.COMPLETING, State.ABORTING})
_EMPTY: Final = Upload()

Answer = tuple[str, Upload]


class Violation(Exception):
    """Something happened that must never happen."""


class Scripts:
    """The moves under the given bounds, with the given guards in force."""

    def __init__(self, bounds: Bounds, guards: frozenset[Guard]) -> None:
        self._bounds = bounds
        self._guards = guards

    def runnable(self, upload: Upload) -> bool:
        """Is there something for a worker to do? The last part is short: alone it is no work."""
        if upload.state is State.RECEIVING:
            return min(upload.received, self._bounds.parts - 1) > upload.stored
        return upload.state in _ALWAYS_RUNNABLE

    # --- producers ----------------------------------------------------------------------------

    def create(self) -> Upload:
        """``create``: the path is free."""
        return Upload(state=State.RECEIVING, due=True)

    def accept(self, upload: Upload) -> Answer:
        """``accept``: one more part is in the stream; answers whether to send a wake-up."""
        received = upload.received + 1
        whole = received == self._bounds.parts and self._bounds.length_known
        after = upload._replace(received=received)
        if whole:
            after = self._to(after, State.RECEIVED, Move.ACCEPT)
        return self._scheduled(after)

    def set_length(self, upload: Upload) -> Answer:
        """``set_length``: there will be no more."""
        return self._scheduled(self._to(upload, State.RECEIVED, Move.SET_LENGTH))

    def _scheduled(self, upload: Upload) -> Answer:
        if upload.scheduled or not self.runnable(upload):
            return "", upload
        return "wake", upload._replace(scheduled=True)

    def cancel(self, upload: Upload) -> Answer:
        """``cancel``."""
        if upload.state not in {State.RECEIVING, State.RECEIVED, State.FAILED}:
            return "closed", upload
        return "cancelled", self._abort(upload, Move.CANCEL)

    def requeue(self, upload: Upload) -> Answer:
        """``requeue``."""
        sealed = upload.received == self._bounds.parts and self._bounds.length_known
        state = State.RECEIVED if sealed else State.RECEIVING
        after = self._to(upload, state, Move.REQUEUE)._replace(
            deaths=0, resting=False, scheduled=False
        )
        return self._scheduled(after)

    # --- workers ------------------------------------------------------------------------------

    def acquire(self, upload: Upload, nonce: int) -> Answer:  # noqa: PLR0911 - as the script
        """``acquire``."""
        if upload.state is None or upload.state in TERMINAL:
            return "gone", upload._replace(due=False)
        if upload.state is State.FAILED:
            return "failed", upload
        if upload.owner and upload.leased:
            return "held", upload
        if upload.resting:
            return "early", upload
        if not self.runnable(upload):
            return "idle", upload._replace(scheduled=False, owner=NOBODY, leased=False)
        counted = self._bounds.max_deaths and upload.state is not State.ABORTING
        if counted and upload.deaths >= self._bounds.max_deaths:
            return "quarantined", self._park(upload, Move.ACQUIRE)
        return "taken_over" if upload.owner else "acquired", upload._replace(
            owner=nonce,
            leased=True,
            scheduled=True,
            deaths=upload.deaths + 1 if self._bounds.max_deaths else 0,
        )

    def renew(self, upload: Upload, nonce: int) -> Answer:
        """``renew``."""
        if upload.owner != nonce:
            return "fenced", upload
        return "held", upload._replace(leased=True)

    def record_session(self, upload: Upload, nonce: int, expected: int, session: int) -> Answer:
        """``record_session``."""
        if upload.owner != nonce:
            return "fenced", upload
        if upload.state is State.ABORTING:
            return "aborting", upload
        if upload.session not in {expected, session}:
            return "other", upload
        return "recorded", upload._replace(session=session)

    def commit(  # noqa: PLR0911 - as the script
        self, upload: Upload, nonce: int, start: int, session: int
    ) -> Answer:
        """``commit`` of the part that begins at ``start``, stored in ``session``."""
        finish = start + 1
        if upload.owner != nonce and Guard.COMMIT_FENCE in self._guards:
            return "fenced", upload
        if upload.state is State.ABORTING:
            return "aborting", upload
        if upload.state not in {State.RECEIVING, State.RECEIVED}:
            return "closed", upload
        if upload.stored == finish:
            return "committed", upload
        if upload.stored != start and Guard.COMMIT_START in self._guards:
            return "stale", upload
        if upload.session != session and Guard.COMMIT_SESSION in self._guards:
            return "stale", upload
        if finish > upload.received and Guard.COMMIT_RECEIVED in self._guards:
            return "stale", upload
        if upload.owner != nonce and Guard.COMMIT_START in self._guards:
            raise Violation("a worker committed in the epoch of another")
        return "committed", upload._replace(stored=finish, leased=True, deaths=0)

    def release(self, upload: Upload, nonce: int) -> Answer:
        """``release``."""
        if upload.owner != nonce:
            return "fenced", upload
        more = self.runnable(upload) and Guard.RELEASE_LOOKS in self._guards
        return "more" if more else "idle", upload._replace(
            owner=NOBODY, leased=False, scheduled=more, deaths=max(0, upload.deaths - 1)
        )

    def defer(self, upload: Upload, nonce: int) -> Answer:
        """``defer``; the attempts are not counted."""
        if upload.owner != nonce:
            return "fenced", upload
        return "deferred", upload._replace(
            owner=NOBODY,
            leased=False,
            scheduled=True,
            resting=True,
            deaths=max(0, upload.deaths - 1),
        )

    def fail(self, upload: Upload, nonce: int) -> Answer:
        """``fail``."""
        if upload.owner != nonce:
            return "fenced", upload
        if upload.state is State.ABORTING:
            return "closed", upload
        return "failed", self._park(upload, Move.FAIL)

    def begin_complete(self, upload: Upload, nonce: int, *, whole: bool = False) -> Answer:
        """``begin_complete``; ``whole``: before one request that stores everything."""
        if upload.owner != nonce:
            return "fenced", upload
        if upload.state not in {State.RECEIVED, State.COMPLETING}:
            return "aborting" if upload.state is State.ABORTING else "closed", upload
        if upload.stored != (0 if whole else self._bounds.parts):
            return "short", upload
        if Guard.DIRECTION not in self._guards:
            return "begun", upload
        return "begun", self._to(upload, State.COMPLETING, Move.BEGIN_COMPLETE)

    def finish(self, upload: Upload, nonce: int, ending: str) -> Answer:
        """``finish``."""
        if upload.owner != nonce and Guard.FINISH_FENCE in self._guards:
            return "fenced", upload
        if upload.state is None or (
            Guard.FINISH_STATE in self._guards and not self._ends(upload, ending)
        ):
            return "closed", upload
        if upload.owner != nonce and Guard.FINISH_STATE in self._guards:
            raise Violation("an upload was ended by a worker that does not hold it")
        last = State.CANCELLED if ending == "aborted" else State.COMPLETE
        after = self._to(upload, last, Move.FINISH)
        return "finished", after._replace(
            received=0,
            stored=0,
            owner=NOBODY,
            leased=False,
            scheduled=False,
            session=0,
            resting=False,
            deaths=0,
            due=False,
            grave=Guard.GRAVES in self._guards,
        )

    def _ends(self, upload: Upload, ending: str) -> bool:
        if ending == "complete":
            undirected = Guard.DIRECTION not in self._guards and upload.state is State.RECEIVED
            return upload.state is State.COMPLETING or undirected
        return ending == "adopted" or upload.state is State.ABORTING

    # --- the sweep ----------------------------------------------------------------------------

    def rouse(self, upload: Upload, *, silent: bool) -> Answer:
        """``rouse`` of an upload whose moment has come."""
        if upload.owner and upload.leased and Guard.EXPIRY_SPARES_HELD in self._guards:
            return "held", upload
        if upload.state is State.FAILED:
            return "wake", self._abort(upload, Move.ROUSE)
        expires = upload.state is State.RECEIVING and silent
        if expires and Guard.EXPIRY_SPARES_WORK not in self._guards:
            if self.runnable(upload):
                raise Violation("bytes that waited to be stored were thrown away for silence")
            return "wake", self._abort(upload, Move.ROUSE)
        if self.runnable(upload):
            return "wake", upload._replace(scheduled=True, resting=False)
        if expires:
            return "wake", self._abort(upload, Move.ROUSE)
        return "idle", upload._replace(scheduled=False, owner=NOBODY, leased=False, resting=False)

    def _abort(self, upload: Upload, move: Move) -> Upload:
        # Nothing reads these two any more: the stream is gone.
        after = self._to(upload, State.ABORTING, move)._replace(received=0, stored=0)
        return after._replace(scheduled=True, resting=False, deaths=0)

    def _park(self, upload: Upload, move: Move) -> Upload:
        return self._to(upload, State.FAILED, move)._replace(
            owner=NOBODY, leased=False, scheduled=False
        )

    def _to(self, upload: Upload, state: State, move: Move) -> Upload:
        """Another state, if the table has it."""
        assert upload.state is not None
        if state not in TRANSITIONS.get((upload.state, move), ()):
            raise Violation(f"{move}: {upload.state} -> {state} is not in the table")
        return upload._replace(state=state)
