"""Signed URLs of a folder: made by a store, checked by whoever serves its files.

The signature is an HMAC-SHA256 over base URL, method, path, expiry, disposition and type. This
module serves nothing, and looks at no file but the one with the secrets.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from chunkferry.errors import ConfigError, InvalidPath, UrlRefused
from chunkferry.filepath import check_filepath
from chunkferry.services import SignedUrlConfig
from chunkferry.storage import disposition, lifetime

#: Fewest characters of a secret.
MIN_SECRET: Final = 32

#: Changes whenever what is signed does.
_VERSION: Final = "chunkferry-url-1"
_REQUIRED: Final = frozenset({"expires", "signature"})
_OPTIONAL: Final = frozenset({"disposition", "type"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """What a URL lets its bearer do."""

    #: GET, HEAD or PUT.
    method: str
    filepath: str
    #: ``Content-Disposition`` to answer with; empty for none.
    disposition: str
    #: GET: ``Content-Type`` to answer with. PUT: the one that the request must have. Or empty.
    content_type: str
    expires: datetime


class SecretFile:
    """The secrets in a file, one per line: the first signs, all are recognised.

    Read each time, so that a new secret can be put before the old one while all is running.
    """

    def __init__(self, path: Path) -> None:
        self._path: Final = path

    def __call__(self) -> list[bytes]:
        """The secrets.

        Raises:
            ConfigError: there are none, or one is too short.
        """
        try:
            found = self._path.read_bytes().split()
        except OSError as exc:
            msg = f"secret_file cannot be read: {exc.strerror}"
            raise ConfigError(msg) from exc
        if not found or min(map(len, found)) < MIN_SECRET:
            msg = f"secret_file must hold secrets of {MIN_SECRET} characters or more, one per line"
            raise ConfigError(msg)
        return found


class UrlSigner:
    """Makes and checks URLs below one base URL."""

    def __init__(self, base_url: str, secrets: Callable[[], list[bytes]]) -> None:
        """Sign for ``base_url``, such as ``https://files.example.com/media``.

        Raises:
            ConfigError: it is no http or https URL, or has a query.
        """
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or "?" in base_url:
            msg = "base_url must be an http or https URL without a query"
            raise ConfigError(msg)
        self._base: Final = base_url.rstrip("/") + "/"
        #: What the paths of all URLs begin with; ends with a slash.
        self.base_path: Final = urlsplit(self._base).path
        self._secrets: Final = secrets

    def sign(
        self, method: str, filepath: str, valid: timedelta, config: SignedUrlConfig | None
    ) -> str:
        """The URL for one ``method`` (GET or PUT) on ``filepath``."""
        chosen = config or SignedUrlConfig()
        request = SignedRequest(
            method=method,
            filepath=check_filepath(filepath),
            disposition=disposition.header(chosen) if method == "GET" else "",
            content_type=chosen.content_type,
            # Never shorter than was asked for.
            expires=datetime.fromtimestamp(
                math.ceil(time.time() + lifetime.check(valid).total_seconds()), UTC
            ),
        )
        query = {
            "expires": str(int(request.expires.timestamp())),
            "disposition": request.disposition,
            "type": request.content_type,
            "signature": self._signature(request, self._secrets()[0]),
        }
        shown = urlencode({name: value for name, value in query.items() if value}, quote_via=quote)
        return f"{self._base}{quote(filepath, safe='/')}?{shown}"

    def verify(self, method: str, url: str) -> SignedRequest:
        """What ``url`` (whole, or from its path on) allows, if it allows ``method``.

        A URL for GET also serves HEAD.

        Raises:
            UrlRefused: it was not signed by us, not for this, or has expired.
        """
        claimed, signature = self._claimed("GET" if method == "HEAD" else method, url)
        # All are compared, and each in constant time: an answer's delay tells nothing.
        matches = [
            hmac.compare_digest(self._signature(claimed, secret).encode(), signature.encode())
            for secret in self._secrets()
        ]
        if not any(matches):
            raise UrlRefused("its signature is not one of ours for this request")
        if claimed.expires.timestamp() <= time.time():
            raise UrlRefused(f"it has expired, at {claimed.expires:%Y-%m-%d %H:%M:%S} UTC")
        return SignedRequest(
            method=method,
            filepath=claimed.filepath,
            disposition=claimed.disposition,
            content_type=claimed.content_type,
            expires=claimed.expires,
        )

    def _claimed(self, method: str, url: str) -> tuple[SignedRequest, str]:
        parts = urlsplit(url)
        if not parts.path.startswith(self.base_path):
            raise UrlRefused("it is not below our base URL")
        try:
            filepath = unquote(parts.path[len(self.base_path) :], errors="strict")
            pairs = parse_qsl(parts.query, strict_parsing=True, errors="strict", max_num_fields=8)
            query = dict(pairs)
            if len(query) != len(pairs) or not _REQUIRED <= set(query) <= _REQUIRED | _OPTIONAL:
                raise UrlRefused("its query is not one of ours")
            request = SignedRequest(
                method=method,
                filepath=check_filepath(filepath),
                disposition=query.get("disposition", ""),
                content_type=query.get("type", ""),
                expires=datetime.fromtimestamp(int(query["expires"]), UTC),
            )
        except (ValueError, OverflowError, OSError, InvalidPath) as exc:
            raise UrlRefused("it is not one of ours") from exc
        return request, query["signature"]

    def _signature(self, request: SignedRequest, secret: bytes) -> str:
        # As JSON, so that no two requests have the same text.
        signed = json.dumps(
            [
                _VERSION,
                self._base,
                request.method,
                request.filepath,
                int(request.expires.timestamp()),
                request.disposition,
                request.content_type,
            ]
        )
        digest = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode()
