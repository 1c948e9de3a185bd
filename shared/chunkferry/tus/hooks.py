"""``Hooks``: where an application has its say at the front door. Knows no protocol and no Redis.

Every hook may be a plain function, which then runs in a worker thread, or a coroutine function.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from starlette.requests import Request

from chunkferry.errors import ChunkferryError
from chunkferry.upload import ChunkUpload


class Action(StrEnum):
    """What a request wants to do."""

    CREATE = "create"  #: begin an upload
    APPEND = "append"  #: send bytes of it, or its length
    READ = "read"  #: ask for its offset, its state or its news
    TERMINATE = "terminate"  #: have it removed
    DOWNLOAD = "download"  #: get the finished object
    LIST = "list"  #: see one's own uploads; an administrator sees all
    ADMINISTER = "administer"  #: cancel or requeue whatever upload


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who sends a request."""

    #: Unique and stable; uploads are bound to it. Empty for everybody, where there is no auth.
    name: str
    #: True if all uploads are theirs to see, cancel and requeue.
    is_admin: bool = False

    def owns(self, name: str) -> bool:
        """True if uploads of the principal ``name`` are theirs to use."""
        return self.is_admin or self.name == name


#: Whoever comes where no authentication is configured.
ANYBODY = Principal(name="", is_admin=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """An upload that is about to begin; ``on_create`` may ``dataclasses.replace`` what it likes."""

    #: Where the object goes, relative to the store's root. Unguessable unless a hook chooses.
    filepath: str
    #: Name of the configured store.
    service: str
    #: Bytes of the whole file; None while the client has not said.
    length: int | None
    #: Most bytes it may have; None for no limit.
    max_size: int | None
    #: The object's MIME type as the client tells it; empty if it does not.
    content_type: str = ""
    #: What the client says of the file, such as its ``filename``. Not to be trusted.
    metadata: Mapping[str, str] = field(default_factory=dict)


class Refused(ChunkferryError):
    """A hook does not let this happen; raise it with a sentence for the client."""

    code = "refused"
    http_status = 403

    def __init__(self, reason: str, *, http_status: int = 403) -> None:
        super().__init__(reason)
        #: 4xx; of these, common clients try again only after 409, 423 and 429.
        self.status = http_status


class HookFailed(ChunkferryError):
    """A hook raised what nobody foresaw: its database is away, say.

    Told as what may pass: tus-js-client begins a new upload after a HEAD that is not.
    """

    code = "hook_failed"
    http_status = 500
    retryable = True

    def __init__(self) -> None:
        super().__init__("something unforeseen happened to the application that decides this")


#: Says who sends a request, or None for nobody who may do this: 401 without, 403 with
#: credentials. The upload is None where the action is not about one, or there is none. Only
#: administrators may ``ADMINISTER``, whatever the hook says.
Authorize = Callable[
    [Request, Action, ChunkUpload | None], "Principal | Awaitable[Principal | None] | None"
]
#: Decides what becomes of a new upload; raises ``Refused``.
OnCreate = Callable[[Request, Creation], "Creation | Awaitable[Creation]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """An application's hooks; each may be left out."""

    #: In place of the bearer tokens of the settings.
    authorize: Authorize | None = None
    on_create: OnCreate | None = None
