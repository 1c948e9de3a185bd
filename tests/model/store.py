"""The store: what each request does to it. An object store whose sessions share a path."""

from __future__ import annotations

from tests.model.state import Object, Request, Session, World, changed


def etag(upload: int) -> int:
    """Of the bytes of an upload. The second one's are those that were there at first."""
    return 1 if upload == 0 else 2


def applied(world: World, request: Request, parts: int) -> tuple[World, str]:
    """What is there after ``request``, and what the store answers."""
    if request.verb == "create":
        sessions = (*world.sessions, Session(request.upload))
        return world._replace(sessions=sessions), "done"
    if request.verb == "put":
        if request.condition != (world.object.etag if world.object else 0):
            return world, "refused"
        return _published(world, request.upload), "done"
    session = world.session(request.session)
    if session is None:
        return world, "no session"
    return _in_session(world, session, request, parts)


def _in_session(world: World, session: Session, request: Request, parts: int) -> tuple[World, str]:
    if request.verb == "part":
        filled = session._replace(parts=session.parts | 1 << request.part)
        return _with_session(world, request.session, filled), "done"
    closed = _with_session(world, request.session, None)
    if request.verb == "abort":
        return closed, "done"
    if session.parts != (1 << parts) - 1:
        return world, "incomplete"
    return _published(closed, session.upload), "done"


def _published(world: World, upload: int) -> World:
    return world._replace(object=Object(upload, etag(upload)))


def listed(world: World) -> tuple[int, ...]:
    """All sessions open for the path."""
    return tuple(n for n, session in enumerate(world.sessions, 1) if session is not None)


def _with_session(world: World, session: int, now: Session | None) -> World:
    return world._replace(sessions=changed(world.sessions, session - 1, now))
