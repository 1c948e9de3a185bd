"""``python -m chunkferry.tus.serve``: one process of the front door, on a socket it is given.

uvicorn, set up for uploads. Any number of these processes may share the socket.
"""

from __future__ import annotations

import argparse
import socket
from typing import Final

from chunkferry import config
from chunkferry.errors import MissingExtra

#: How long requests that are being served may go on after SIGTERM, in seconds.
_GRACE: Final = 5
#: Idle connections are closed after so many seconds: more than proxies keep theirs (nginx and
#: ALB: 60), or they would send a request into a connection that is just being closed.
_KEEP_ALIVE: Final = 75


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m chunkferry.tus.serve", description=__doc__)
    parser.add_argument(
        "--descriptor", type=int, required=True, help="file descriptor of a listening socket"
    )
    serve(socket.socket(fileno=parser.parse_args().descriptor))


def serve(listening: socket.socket) -> None:
    """Serve on ``listening`` until SIGTERM or SIGINT.

    Raises:
        MissingExtra: uvicorn is not installed.
        ConfigError: a setting is unusable.
    """
    try:
        import uvicorn  # noqa: PLC0415 - an optional dependency

        from chunkferry.tus.asgi import site  # noqa: PLC0415 - needs Starlette, which is optional
        from chunkferry.tus.wire import UploadHttp  # noqa: PLC0415 - needs uvicorn
    except ImportError as exc:
        raise MissingExtra("the front door", "serve") from exc
    # uvicorn with httptools adds what follows a body to the request's headers.
    app = site(config.load().changed(http_trailers=True))
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=UploadHttp,
            # Nothing here is a WebSocket.
            ws="none",
            # Who asked for what is the business of a proxy; paths of uploads are secrets.
            access_log=False,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=_GRACE,
        )
    )
    # Else the streams of open pages would keep it until the grace is over.
    app.state.door.is_leaving = lambda: server.should_exit
    server.run(sockets=[listening])


if __name__ == "__main__":
    main()
