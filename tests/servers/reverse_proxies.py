"""The reverse proxies of ``docs/http.md``, with the settings that stand there.

Ports are the only thing that is changed in them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.waiting import wait_until

from chunkferry_worker import tether

PAGE = Path(__file__).parents[2] / "docs/http.md"
#: One line of JSON for each request that has ended.
_LOG = (
    """log_format served '{"method": "$request_method", "path": "$uri", "status": $status,"""
    """ "upstreams": "$upstream_addr"}';"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One request that nginx has answered."""

    method: str
    path: str
    status: int
    #: Who was asked, as host:port; several, with commas between them, if the first did not answer.
    upstreams: str


def served(folder: Path) -> list[Served]:
    """What the nginx of ``folder`` has answered, in the order of its answers."""
    return [Served(**json.loads(line)) for line in (folder / "access.log").read_text().splitlines()]


def settings_of(proxy: str) -> str:
    """The block of ``proxy`` as it stands on the page."""
    (found,) = re.findall(rf"^```{proxy}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


@contextmanager
def running(proxy: str, upstreams: list[str], folder: Path) -> Iterator[str]:
    """The URL of ``nginx`` or ``caddy`` in front of ``upstreams``."""
    if shutil.which(proxy) is None:
        message = f"{proxy} is not installed"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    places = [urlsplit(upstream).netloc for upstream in upstreams]
    command = _nginx(folder, port, places) if proxy == "nginx" else _caddy(folder, port, places)
    with (folder / f"{proxy}.log").open("wb") as out:
        process = tether.spawn(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)},
        )
    try:
        wait_until(lambda: _listens(port), 30, what=(folder / f"{proxy}.log").read_text())
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def _nginx(folder: Path, port: int, places: list[str]) -> list[str]:
    servers = "\n".join(f"    server {place} fail_timeout=1s;" for place in places)
    block = settings_of("nginx").replace("    server 127.0.0.1:8080 fail_timeout=1s;", servers)
    block = block.replace("listen 80;", f"listen 127.0.0.1:{port};")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr;\n"
        f"events {{}}\nhttp {{\n{_LOG}\n"
        f"access_log {folder}/access.log served;\n{temporary}\n{block}\n}}\n"
    )
    return ["nginx", "-e", "stderr", "-c", str(config)]


def _caddy(folder: Path, port: int, places: list[str]) -> list[str]:
    block = settings_of("caddy").replace("127.0.0.1:8080", " ".join(places))
    # Without its own port for administration, which others may have taken.
    config = folder / "Caddyfile"
    config.write_text("{\n\tadmin off\n}\n" + block.replace(":80 {", f"http://127.0.0.1:{port} {{"))
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)]
