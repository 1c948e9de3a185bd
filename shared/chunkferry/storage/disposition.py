"""``Content-Disposition``: what a browser does with an object, and under which name. Pure."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from chunkferry.services import SignedUrlConfig

#: Beside letters and digits, what RFC 8187 (attr-char) leaves unencoded.
_ATTR_CHARS: Final = "!#$&+-.^_`|~"
#: What the plain name must not hold: RFC 6266 advises against % and \, and some clients break
#: on the rest.
_NOT_PLAIN: Final = re.compile(r'[^ -~]|["%\\/;]')


def header(config: SignedUrlConfig) -> str:
    """The header's value; empty where the object is to be shown under its own name."""
    kind = "attachment" if config.download else "inline"
    if not config.filename:
        return kind if config.download else ""
    plain = _NOT_PLAIN.sub("_", config.filename)
    encoded = quote(config.filename, safe=_ATTR_CHARS)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
