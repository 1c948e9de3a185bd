"""Hooks of applications that tests put at the front door, by ``CHUNKFERRY_HTTP_HOOKS``."""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request

from chunkferry.tus import Action, Creation, Hooks, Principal, Refused
from chunkferry.upload import ChunkUpload

#: The text of an error that nobody may see; not to be read from the source either.
SECRET = "".join(["sword", "fish"])


def by_name(request: Request, action: Action, upload: ChunkUpload | None) -> Principal | None:
    """Whoever says a name is that person; "reader" may only read, "root" may do all."""
    del upload
    name = request.headers.get("x-name", "")
    if name == "wrong":
        raise RuntimeError(SECRET)
    if name == "reader" and action is not Action.READ:
        return None
    return Principal(name=name, is_admin=name == "root") if name else None


async def by_name_later(
    request: Request, action: Action, upload: ChunkUpload | None
) -> Principal | None:
    """The same, as a coroutine function."""
    return by_name(request, action, upload)


def as_the_file_name_says(request: Request, creation: Creation) -> Creation:
    """The path, and much else, is what the client asks for; not to be imitated."""
    del request
    match creation.metadata.get("filename", ""):
        case "refused":
            raise Refused("not today")
        case "teapot":
            raise Refused("short and stout", http_status=418)
        case "broken":
            raise RuntimeError(SECRET)
        case "elsewhere":
            return replace(creation, service="nowhere")
        case "small":
            return replace(creation, max_size=3)
        case "other":
            return replace(creation, filepath="chosen/a.txt", content_type="text/x-chosen")
        case "odd":
            return replace(creation, metadata={"a": "\n"}, content_type="no\ntype")
        case name:
            return replace(creation, filepath=name) if name else creation


async def as_the_file_name_says_later(request: Request, creation: Creation) -> Creation:
    """The same, as a coroutine function."""
    return as_the_file_name_says(request, creation)


plain = Hooks(authorize=by_name, on_create=as_the_file_name_says)
later = Hooks(authorize=by_name_later, on_create=as_the_file_name_says_later)
#: Asks nobody who they are.
creating = Hooks(on_create=as_the_file_name_says)
