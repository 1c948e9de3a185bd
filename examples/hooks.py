"""Hooks of the front door: ``CHUNKFERRY_HTTP_HOOKS=hooks:hooks chunkferry up``.

Who may do what is asked of the session cookie of an imaginary application; every user's files go
to a folder of their own, and only images are taken.
"""

from dataclasses import replace

from starlette.requests import Request

from chunkferry.tus import Action, Creation, Hooks, Principal, Refused
from chunkferry.upload import ChunkUpload

SESSIONS = {"a-session-of-ann": "ann", "a-session-of-bob": "bob"}


def authorize(request: Request, action: Action, upload: ChunkUpload | None) -> Principal | None:
    user = SESSIONS.get(request.cookies.get("session", ""))
    return Principal(name=user) if user else None


def on_create(request: Request, creation: Creation) -> Creation:
    if not creation.content_type.startswith("image/"):
        raise Refused("only images are taken here", http_status=415)
    user = SESSIONS[request.cookies["session"]]
    return replace(creation, filepath=f"{user}/{creation.filepath}", max_size=50 * 1024 * 1024)


hooks = Hooks(authorize=authorize, on_create=on_create)
