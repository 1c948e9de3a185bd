"""Where an upload is found: the URL that a new one gets, and the upload that a URL means. Pure."""

from __future__ import annotations

from typing import Final, Literal
from urllib.parse import quote, urlsplit

from starlette.requests import Request

from chunkferry.tus.proxies import HOST

#: What a path holds unencoded beside letters, digits and ``-._~`` (RFC 3986, section 3.3).
_SAFE: Final = "/:@!$&'()*+,;="


def url_of(request: Request, upload_id: str, form: Literal["relative", "absolute"]) -> str:
    """The URL of an upload, as the client of ``request`` sees this application.

    A relative one is a path from the root of the host. An absolute one needs a ``Host`` that is
    one; without it the URL is relative all the same.
    """
    # A server has decoded it, and of a mount with parameters it holds what the client chose.
    path = quote(f"{request.scope.get('root_path', '')}/{upload_id}", safe=_SAFE)
    host = request.headers.get("host", "")
    if form == "relative" or not HOST.fullmatch(host):
        return path
    return f"{request.scope['scheme']}://{host}{path}"


def upload_id_in(url: str) -> str:
    """The upload that ``url`` means, be it relative or absolute: its last segment."""
    try:
        return urlsplit(url).path.rstrip("/").rpartition("/")[2]
    except ValueError:  # an address in brackets that is none
        return ""
