"""``app``: everything that ``chunkferry up`` serves, as one ASGI application.

``uvicorn chunkferry.tus.asgi:app`` serves it by what the ``CHUNKFERRY_…`` variables say.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount

from chunkferry import config
from chunkferry.config import Settings
from chunkferry.errors import ConfigError
from chunkferry.manager import ChunkManager
from chunkferry.tus import admin, frontpage
from chunkferry.tus.app import TusApp, middleware, mounted, without_redirects
from chunkferry.tus.door import Door
from chunkferry.tus.health import Health
from chunkferry.tus.hooks import Hooks
from chunkferry.tus.middleware import Hosts
from chunkferry.tus.signed import SignedObjects

if TYPE_CHECKING:
    app: Starlette


def site(settings: Settings | None = None, hooks: Hooks | None = None) -> Starlette:
    """The front door with all its rooms: uploads are at ``/files``.

    Args:
        settings: default: what the ``CHUNKFERRY_…`` variables say.
        hooks: default: those that ``settings.http_hooks`` names.

    Raises:
        ConfigError: a setting is unusable.
    """
    settings = settings or config.load()
    uploads = TusApp(
        ChunkManager(settings=settings), hooks=hooks or named_hooks(settings.http_hooks)
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        # Some servers end by a signal, after which nothing of this process runs any more.
        await uploads.door.call(uploads.door.manager.tally.flush)

    app = Starlette(
        lifespan=lifespan,
        routes=[
            *mounted("/files", uploads),
            *Health(uploads.door).routes,
            *admin.routes(uploads.door),
            *frontpage.routes(),
            *signed_objects(uploads.door),
        ],
        # Also of the page, the list and what operators ask.
        middleware=[Middleware(Hosts, settings.http_hosts)],
    )
    # For servers, who set its ``is_leaving``.
    app.state.door = uploads.door
    return without_redirects(app)


def signed_objects(door: Door) -> list[BaseRoute]:
    """Routes that serve the signed URLs of folders; to come last, as a folder's may be ``/``."""
    objects = SignedObjects(door)
    guarded = without_redirects(
        Starlette(routes=[Mount("/", objects)], middleware=middleware(door.settings))
    )
    return [Mount(path, guarded) for path in objects.base_paths()]


def named_hooks(name: str) -> Hooks:
    """The hooks that ``module:attribute`` names; none for an empty name.

    Raises:
        ConfigError: there are none under this name.
    """
    if not name:
        return Hooks()
    module, _, attribute = name.partition(":")
    try:
        hooks = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as exc:
        raise ConfigError(f"CHUNKFERRY_HTTP_HOOKS: no hooks at {name!r}: {exc}") from exc
    if not isinstance(hooks, Hooks):
        raise ConfigError(
            f"CHUNKFERRY_HTTP_HOOKS: expected chunkferry.tus.Hooks at {name!r},"
            f" found {type(hooks).__name__}"
        )
    return hooks


def __getattr__(name: str) -> object:
    """``app``, made when a server asks for it: importing this module reads no settings."""
    if name == "app":
        return globals().setdefault("app", site())
    raise AttributeError(name)
