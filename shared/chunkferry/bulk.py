"""Large values off a Redis connection without needless copies.

redis-py's own buffer copies a large value four times, each time into fresh pages of memory: 1.5
CPU seconds per GiB instead of 0.2. It has no option for that, so a buffer of ours takes the place
of its private one. Where a newer redis-py has another, everything works as it does without us.
"""

from __future__ import annotations

import io
from typing import Any, Final

import redis

try:
    from redis._parsers.socket import SocketBuffer
except ImportError:  # a newer redis-py
    SocketBuffer = object  # type: ignore[assignment,misc]

#: Values of so many bytes are taken by us.
_LARGE: Final = 64 * 1024


class _BulkBuffer(SocketBuffer):
    """Takes a large value off the socket once."""

    def read(self, length: int, *args: Any, **options: Any) -> bytes:
        """The next ``length`` bytes, without the end of line that follows them."""
        if length < _LARGE:
            return super().read(length, *args, **options)
        value = io.BytesIO()
        value.seek(length - 1)
        value.write(b"\0")
        with value.getbuffer() as view:
            at = self._buffer.readinto(view)
            while at < length:
                count = self._sock.recv_into(view[at:])
                if not count:
                    raise redis.ConnectionError("Connection closed by server.")
                at += count
        super().read(0, *args, **options)
        # No copy: it is what the BytesIO holds.
        return value.getvalue()


def on_connect(connection: redis.Connection) -> None:
    """Do what redis-py does on a new connection, and give it our buffer."""
    # Without a PING of its own: where a password is missing, its failure connects anew, which
    # would ask for the next PING, and so on without end.
    connection.on_connect_check_health(check_health=False)
    buffer: Any = getattr(connection._parser, "_buffer", None)  # noqa: SLF001 - see above
    if type(buffer) is SocketBuffer:
        buffer.__class__ = _BulkBuffer
