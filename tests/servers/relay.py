"""A TCP relay that can lose connections as a dead host or a forgetful firewall does: silently."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import Final, Self

_CHUNK: Final = 65536
#: How often it looks whether it is to end, in seconds.
_LOOK: Final = 0.1


class Relay:
    """Passes bytes on between its own port and another one. A context manager."""

    def __init__(self, port: int) -> None:
        """Relay to ``port`` of this machine."""
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._peers: dict[socket.socket, socket.socket] = {}
        self._lost: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def lose(self) -> int:
        """Pass nothing on any more over the connections there are, and close none; how many.

        New connections work.
        """
        with self._lock:
            for end in self._peers:
                self._selector.unregister(end)
            count = len(self._peers) // 2
            self._lost += self._peers
            self._peers.clear()
            return count

    def __enter__(self) -> Self:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for end in (self._listener, *self._peers, *self._lost):
            end.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            for key, _ in self._selector.select(_LOOK):
                with self._lock:
                    if key.fileobj is self._listener:
                        self._connect()
                    elif key.fileobj in self._peers:
                        self._pass(key.fileobj)

    def _connect(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(("127.0.0.1", self._target))
        self._peers |= {near: far, far: near}
        for end in (near, far):
            self._selector.register(end, selectors.EVENT_READ)

    def _pass(self, end: socket.socket) -> None:
        other = self._peers[end]
        data = b""
        with contextlib.suppress(OSError):
            data = end.recv(_CHUNK)
            other.sendall(data)
        if not data:
            for closed in (end, other):
                del self._peers[closed]
                self._selector.unregister(closed)
                closed.close()
