"""Bearer tokens: who sends a request, by the ``Authorization`` header (RFC 6750, section 2.1).

Tokens are taken from headers only, never from URLs, and are shown nowhere.
"""

from __future__ import annotations

import hashlib
import hmac

from starlette.requests import Request

from chunkferry.config import Settings
from chunkferry.errors import ChunkferryError
from chunkferry.tus.hooks import ANYBODY, Action, Principal


class NotPermitted(ChunkferryError):
    """Whoever sends this may not do it."""

    code = "not_permitted"
    http_status = 403

    def __init__(self, *, has_credentials: bool) -> None:
        super().__init__(
            "these credentials do not permit this"
            if has_credentials
            else "this needs credentials: Authorization: Bearer <token>"
        )
        self.status = 403 if has_credentials else 401


class Bearer:
    """The tokens of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._principals = {
            _digest(token.get_secret_value()): Principal(
                name=name, is_admin=name in settings.http_admins
            )
            for name, token in settings.http_tokens.items()
        }

    def principal(self, request: Request, action: Action) -> Principal:
        """Whose token ``request`` carries; anybody, where no tokens are configured.

        Raises:
            NotPermitted: none, or none that permits ``action``.
        """
        if not self._principals:
            return ANYBODY
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise NotPermitted(has_credentials=False)
        digest = _digest(token.strip())
        # All are compared, each in constant time: nothing is to be learned from how long it takes.
        found = [
            who for known, who in self._principals.items() if hmac.compare_digest(known, digest)
        ]
        if not found:
            raise NotPermitted(has_credentials=False)
        return permitted(found[0], action)


def permitted(principal: Principal, action: Action) -> Principal:
    """``principal`` itself; raises ``NotPermitted`` if only administrators may do ``action``."""
    if action is Action.ADMINISTER and not principal.is_admin:
        raise NotPermitted(has_credentials=True)
    return principal


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
