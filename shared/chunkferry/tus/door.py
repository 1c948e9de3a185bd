"""``Door``: what all endpoints share: the way to the uploads, the settings, who may do what.

Knows no protocol: it finds an upload for a principal, or says that there is none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Final, ParamSpec, TypeVar, cast

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request

from chunkferry.config import Settings
from chunkferry.errors import UploadNotFound
from chunkferry.manager import ChunkManager
from chunkferry.storage import Stores
from chunkferry.tus.auth import Bearer, NotPermitted, permitted
from chunkferry.tus.hooks import Action, Creation, Hooks, Principal
from chunkferry.upload import ChunkUpload

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: Calls to Redis and stores at one time; each holds a thread while it runs, and no longer.
_THREADS: Final = 64
#: The same for calls of ``fetch``.
_FETCHING: Final = 32


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
        self._limiter: CapacityLimiter | None = None
        self._fetching: CapacityLimiter | None = None

    async def call(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a blocking ``function`` in a worker thread."""
        if self._limiter is None:  # it belongs to the event loop, which is there only now
            self._limiter = CapacityLimiter(_THREADS)
        return await to_thread.run_sync(partial(function, *args, **kwargs), limiter=self._limiter)

    async def fetch(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """The same for what asks a store, which may hang: not in the way of other calls."""
        if self._fetching is None:
            self._fetching = CapacityLimiter(_FETCHING)
        return await to_thread.run_sync(partial(function, *args, **kwargs), limiter=self._fetching)

    async def ask(
        self, hook: Callable[_P, object], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> object:
        """Call a hook of the application, be it a plain or a coroutine function."""
        if inspect.iscoroutinefunction(hook):
            return await hook(*args, **kwargs)
        answer = await self.call(hook, *args, **kwargs)
        return await answer if inspect.isawaitable(answer) else answer

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
