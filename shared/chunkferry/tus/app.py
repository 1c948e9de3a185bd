"""``TusApp``: the ASGI application that takes uploads in; mount it wherever uploads are to live.

Chooses the protocol of each request, and turns every error into an answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Protocol

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from chunkferry.config import Settings
from chunkferry.errors import ChunkferryError
from chunkferry.manager import ChunkManager
from chunkferry.tus import conditions, counting, protocol, rufh
from chunkferry.tus.door import Door
from chunkferry.tus.download import Downloads
from chunkferry.tus.draft import Draft
from chunkferry.tus.events import Events
from chunkferry.tus.hooks import Hooks
from chunkferry.tus.middleware import HeaderLimit, Hosts, MethodOverride, Proxies
from chunkferry.tus.reception import Reception
from chunkferry.tus.tus1 import Tus1


class MethodNotAllowed(ChunkferryError):
    """This resource does not know the method."""

    code = "method_not_allowed"
    http_status = 405

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"the method must be one of {allowed}, not {method[:20]!r}")
        #: What an answer's ``Allow`` says (RFC 9110, section 15.5.6).
        self.headers = {"Allow": allowed}


class Dialect(Protocol):
    """One protocol's endpoints. Each raises ``ChunkferryError``, which ``refuse`` answers."""

    #: Headers of every answer.
    marks: Mapping[str, str]

    def about(self) -> Mapping[str, str]:
        """What this server can do, as header fields."""

    async def create(self, request: Request) -> Response:
        """Begin an upload."""

    async def append(self, request: Request) -> Response:
        """Take bytes in."""

    async def head(self, request: Request) -> Response:
        """Tell where to go on."""

    async def unfinished(self, request: Request) -> Response | None:
        """What GET tells of an upload that is not complete; None to leave that to others."""

    async def remove(self, request: Request) -> Response:
        """Have the upload removed."""

    def refuse(self, error: Exception) -> Response:
        """The answer to a request that failed."""


class TusApp:
    """Takes uploads in by tus 1.0.0 and by Resumable Uploads for HTTP. An ASGI application.

    ``app.mount("/files", TusApp())`` in FastAPI or Starlette; new uploads are then begun at
    ``/files/``. Everything is set by ``CHUNKFERRY_…`` variables, or by ``settings``.
    """

    def __init__(
        self,
        manager: ChunkManager | None = None,
        *,
        hooks: Hooks | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Take uploads in through ``manager``.

        Args:
            manager: default: one with ``settings``.
            hooks: where the application has its say.
            settings: default: those of ``manager``, or what the ``CHUNKFERRY_…`` variables say.

        Raises:
            ConfigError: a setting is unusable.
        """
        self.door = Door(manager or ChunkManager(settings=settings), hooks or Hooks())
        reception = Reception(self.door)
        self._tus1 = Tus1(self.door, reception)
        self._drafts = {
            version: Draft(self.door, reception, version) for version in rufh.VERSIONS.values()
        }
        self._downloads = Downloads(self.door)
        self._events = Events(self.door)
        self._app = Starlette(
            routes=[
                Route("/", _Resource(self._collection, self._dialect)),
                Route("/{upload_id}", _Resource(self._upload, self._dialect)),
                Route("/{upload_id}/events", _Resource(self._news, self._dialect)),
            ],
            middleware=[
                Middleware(counting.Counting, self.door.manager.tally),
                *middleware(self.door.settings),
            ],
        )
        without_redirects(self._app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"] == scope.get("root_path"):
            # Mounted without a slash at the end; a redirect would lose the body.
            scope = {**scope, "path": scope["path"] + "/"}
        await self._app(scope, receive, send)

    def _dialect(self, request: Request) -> Dialect:
        """The protocol that the client speaks."""
        fields = request.scope["headers"]
        if "tus-resumable" in request.headers:
            return self._tus1
        if request.method in {"POST", "PATCH"} and not rufh.speaks(fields):
            return self._tus1  # it says what the request lacks
        return self._drafts[rufh.version_of(fields)]

    def _about(self) -> Response:
        """OPTIONS: who asks need not say which protocol it speaks."""
        both = {**self._drafts[rufh.NEWEST].about(), **self._tus1.about()}
        return Response(status_code=204, headers=both)

    async def _collection(self, request: Request, dialect: Dialect) -> Response:
        match request.method:
            case "POST":
                return await dialect.create(request)
            case "OPTIONS":
                return self._about()
        raise MethodNotAllowed(request.method, "POST, OPTIONS")

    async def _upload(self, request: Request, dialect: Dialect) -> Response:
        match request.method:
            case "GET":
                if (unfinished := await dialect.unfinished(request)) is not None:
                    return unfinished
                return await self._downloads.get(request)
            case "HEAD":
                return await dialect.head(request)
            case "PATCH":
                return await dialect.append(request)
            case "DELETE":
                return await dialect.remove(request)
            case "OPTIONS":
                return self._about()
        raise MethodNotAllowed(request.method, "GET, HEAD, PATCH, DELETE, OPTIONS")

    async def _news(self, request: Request, _: Dialect) -> Response:
        match request.method:
            case "GET":
                return await self._events.get(request)
            case "OPTIONS":
                return self._about()
        raise MethodNotAllowed(request.method, "GET, OPTIONS")


class _Resource:
    """One resource with all its methods, as an ASGI application."""

    def __init__(
        self,
        answer: Callable[[Request, Dialect], Awaitable[Response]],
        dialect: Callable[[Request], Dialect],
    ) -> None:
        self._answer = answer
        self._dialect = dialect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        dialect = self._dialect(request)
        try:
            response = await self._answer(request, dialect)
        except Exception as exc:
            counting.say(scope, exc)
            response = dialect.refuse(exc)
            if request.method == "HEAD" and _may_pass(exc):
                response.status_code = HTTPStatus.LOCKED
        response.headers.update(dialect.marks)
        await response(scope, receive, send)


def _may_pass(error: Exception) -> bool:
    """True if an answer to HEAD may be another one later, once something else was mended.

    tus-js-client tries again after a 423 only. After a 429 it gives up; after any 5xx it begins a
    new upload, and all that was received is lost to it.
    """
    # What nobody foresaw is a fault of ours, or of a hook whose database is away.
    return (
        not isinstance(error, ChunkferryError)
        or error.retryable
        or error.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR
    )


def middleware(settings: Settings) -> list[Middleware]:
    """What every request passes first, the outermost first."""
    return [
        Middleware(Hosts, settings.http_hosts),
        # Outside all else: a page may read only what has its headers, an error as well.
        Middleware(
            CORSMiddleware,
            allow_origins=settings.http_cors_origins,
            allow_methods=["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"],
            allow_headers=sorted(
                {
                    *protocol.REQUEST_HEADERS,
                    *rufh.REQUEST_HEADERS,
                    *conditions.REQUEST_HEADERS,
                    "Last-Event-ID",
                }
            ),
            expose_headers=sorted(
                {
                    *protocol.RESPONSE_HEADERS,
                    *rufh.RESPONSE_HEADERS,
                    *conditions.RESPONSE_HEADERS,
                }
            ),
            max_age=86400,
        ),
        Middleware(HeaderLimit, settings.http_header_limit),
        Middleware(Proxies, settings.http_trusted_proxies),
        Middleware(MethodOverride),
    ]


def beside(other: ASGIApp, path: str = "/files", uploads: TusApp | None = None) -> Starlette:
    """An application that takes uploads in at ``path`` and leaves all else to ``other``.

    For frameworks whose applications mount no others, such as Django.

    Args:
        other: an ASGI application.
        path: begins with a slash and ends with none.
        uploads: default: one by the ``CHUNKFERRY_…`` variables.
    """
    return without_redirects(
        Starlette(routes=[*mounted(path, uploads or TusApp()), Mount("/", other)])
    )


def without_redirects(app: Starlette) -> Starlette:
    """``app``, which redirects nobody who came with a slash too many or too few.

    A redirect costs a client its body; and Starlette fails where the query is no UTF-8.
    """
    app.router.redirect_slashes = False
    return app


def mounted(path: str, app: ASGIApp) -> tuple[BaseRoute, BaseRoute]:
    """Routes by which ``app`` serves ``path`` with and without a slash at the end.

    A mount alone answers the latter with a redirect, which costs the client its body.
    """

    class Bare:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "root_path": scope.get("root_path", "") + path}, receive, send)

    return Route(path, Bare()), Mount(path, app)
