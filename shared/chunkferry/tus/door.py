"""``Door``: what all endpoints share: the way to the uploads, the settings, who may do what.

Knows no protocol: it finds an upload for a principal, or says that there is none.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import partial
from typing import Final, ParamSpec, TypeVar, cast

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request

from chunkferry.config import Settings
from chunkferry.errors import ChunkferryError, UploadNotFound
from chunkferry.manager import ChunkManager
from chunkferry.storage import Stores
from chunkferry.tus.answers import bare
from chunkferry.tus.auth import Bearer, NotPermitted, permitted
from chunkferry.tus.hooks import Action, Creation, HookFailed, Hooks, Principal
from chunkferry.upload import ChunkUpload

log = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: Calls at one time, by the method that makes them; each holds a thread while it runs, and no
#: longer. What may take long has threads of its own, so that HEAD waits for none of it.
_THREADS: Final = {"call": 64, "persist": 64, "fetch": 32, "ask": 32}


class Door:
    """What endpoints work with; one for each application."""

    def __init__(self, manager: ChunkManager, hooks: Hooks) -> None:
        self.manager = manager
        self.settings: Settings = manager.settings
        self.stores = Stores(manager.settings.services)
        self.hooks = hooks
        #: Whether the server waits for its last answers to end; a server that knows sets it.
        self.is_leaving: Callable[[], bool] = lambda: False
        self._bearer = Bearer(manager.settings)
        self._limiters: dict[str, CapacityLimiter] = {}

    async def call(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a blocking ``function`` in a worker thread: a question to Redis, soon answered."""
        return await self._run("call", partial(function, *args, **kwargs))

    async def persist(
        self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """The same for what waits for Redis' disk and replicas, if the settings ask for them."""
        return await self._run("persist", partial(function, *args, **kwargs))

    async def fetch(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """The same for what asks a store, which may hang."""
        return await self._run("fetch", partial(function, *args, **kwargs))

    async def ask(
        self, hook: Callable[_P, object], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> object:
        """Call a hook of the application, be it a plain or a coroutine function.

        Raises:
            HookFailed: it raised what nobody foresaw.
        """
        try:
            if inspect.iscoroutinefunction(hook):
                return await hook(*args, **kwargs)
            answer = await self._run("ask", partial(hook, *args, **kwargs))
            return await answer if inspect.isawaitable(answer) else answer
        except ChunkferryError:
            raise
        except Exception as exc:
            log.error("A hook failed: %s", type(exc).__name__, exc_info=bare(exc))  # noqa: TRY400 - the error's own text may hold what a client sent
            raise HookFailed from None

    async def _run(self, kind: str, function: Callable[[], _T]) -> _T:
        if kind not in self._limiters:  # they belong to the event loop, which is there only now
            self._limiters[kind] = CapacityLimiter(_THREADS[kind])
        return await to_thread.run_sync(function, limiter=self._limiters[kind])

    async def admit(
        self, request: Request, action: Action, upload: ChunkUpload | None = None
    ) -> Principal:
        """Who sends ``request``, if they may do ``action``.

        Raises:
            NotPermitted: they may not; 401 without credentials, else 403.
        """
        if self.hooks.authorize is None:
            return self._bearer.principal(request, action)
        principal = cast(
            "Principal | None", await self.ask(self.hooks.authorize, request, action, upload)
        )
        if principal is None:
            raise NotPermitted(has_credentials="authorization" in request.headers)
        return permitted(principal, action)

    async def on_create(self, request: Request, creation: Creation) -> Creation:
        """What the application makes of a new upload; raises ``Refused``."""
        if self.hooks.on_create is None:
            return creation
        return cast("Creation", await self.ask(self.hooks.on_create, request, creation))

    async def upload(self, request: Request, action: Action) -> ChunkUpload:
        """The upload of the request's path, as it is now.

        Raises:
            UploadNotFound: there is none, or it is another principal's.
            NotPermitted: not for whoever sends this.
        """
        upload_id = request.path_params["upload_id"]
        if self.hooks.authorize is None:
            # Whoever has no valid token learns nothing, not even which uploads there are.
            principal = self._bearer.principal(request, action)
            upload = await self.call(self.manager.get, upload_id)
        else:
            try:
                upload = await self.call(self.manager.get, upload_id)
            except UploadNotFound:
                # The same as above, for whoever the hook does not know.
                await self.admit(request, action)
                raise
            principal = await self.admit(request, action, upload)
        if not principal.owns(upload.notes.get("principal", "")):
            raise UploadNotFound(upload_id)
        return upload
