"""What operators ask a front door: is it alive, is it ready, and how is it doing?

Knows no upload. To strangers it says yes or no, and nothing of what stands behind it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final

from anyio import Lock
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from chunkferry import readiness
from chunkferry.backlog import Backlog
from chunkferry.errors import MissingExtra
from chunkferry.readiness import Readiness
from chunkferry.tus.answers import answered
from chunkferry.tus.door import Door
from chunkferry.tus.hooks import Action

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

#: For so many seconds an answer serves all who ask: a crowd of probes costs the stores one.
_FRESH: Final = 1.0
#: What an answer must not do: be taken for the next one.
_HEADERS: Final = {"Cache-Control": "no-store"}


class Health:
    """The endpoints ``/healthz``, ``/readyz`` and ``/metrics``."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._readiness = Readiness(readiness.questions(door.manager, door.stores))
        # Who comes meanwhile waits without a thread, which others need.
        self._asking = Lock()
        self._scraping = Lock()
        self._known: dict[str, str] = {}
        self._good_until = 0.0

    @property
    def routes(self) -> list[Route]:
        """Where they are, from the root of an application."""
        return [
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/metrics", answered(self.metrics)),
        ]

    async def healthz(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint's signature
        """200 as long as this process serves requests; asks nobody else."""
        return PlainTextResponse("ok\n", headers=_HEADERS)

    async def readyz(self, request: Request) -> Response:
        """200 if Redis, broker and stores answer, else 503; who does not, for administrators."""
        answers = await self._answers()
        is_ready = set(answers.values()) == {readiness.OK}
        told: dict[str, object] = {"ready": is_ready}
        if await self._is_admin(request):
            store = "store "
            told |= {who: answer for who, answer in answers.items() if not who.startswith(store)}
            told["stores"] = {
                who.removeprefix(store): answer
                for who, answer in answers.items()
                if who.startswith(store)
            }
        return JSONResponse(told, 200 if is_ready else 503, headers=_HEADERS)

    async def metrics(self, request: Request) -> Response:
        """Backlog and counters for Prometheus, of all processes.

        Raises:
            NotPermitted: not for whoever sends this.
        """
        if not self._door.settings.http_metrics_open:
            await self._door.admit(request, Action.ADMINISTER)
        try:
            from chunkferry.metrics import CONTENT_TYPE, exposition  # noqa: PLC0415 - an extra
        except MissingExtra as exc:
            return PlainTextResponse(f"{exc}\n", 501, headers=_HEADERS)
        async with self._scraping:
            content = await self._door.call(exposition, self._registry)
        return Response(content, media_type=CONTENT_TYPE, headers=_HEADERS)

    async def _answers(self) -> dict[str, str]:
        async with self._asking:
            if time.monotonic() >= self._good_until:
                self._known = await self._door.call(self._readiness.ask)
                self._good_until = time.monotonic() + _FRESH
            return self._known

    async def _is_admin(self, request: Request) -> bool:
        try:
            await self._door.admit(request, Action.ADMINISTER)
        except Exception:  # of a hook: whether all is ready does not hang on it
            return False
        return True

    @cached_property
    def _registry(self) -> CollectorRegistry:
        from chunkferry.metrics import registry  # noqa: PLC0415 - an extra

        return registry(self._backlog, self._totals)

    def _backlog(self) -> Backlog:
        # Numbers of a Redis that is laid out otherwise would mean nothing.
        self._door.manager.init()
        return self._door.manager.ledger.health.backlog()

    def _totals(self) -> Mapping[str, int]:
        # What this process has counted just now is to be seen as well.
        self._door.manager.tally.flush()
        return self._door.manager.ledger.totals.read()
