"""``docker-compose.yml`` without Docker: its services' own commands, run as processes here.

Only what a container gives them is replaced: program paths, folders, host names and ports.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from chunkferry_worker import tether

CHECKOUT = Path(__file__).parents[2]
FILE = CHECKOUT / "docker-compose.yml"

#: ``${NAME}``, ``${NAME:-default}``, ``${NAME:?message}`` and ``$$``, the forms the file uses.
VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::([-?])([^}]*))?\})")


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """``text`` with its variables filled in as ``docker compose`` does."""

    def value(match: re.Match[str]) -> str:
        dollar, name, operator, rest = match.groups()
        if dollar:
            return "$"
        found = variables.get(name, "")
        if not found and operator == "?":
            raise KeyError(name)
        return found or (rest if operator == "-" else "")

    return VARIABLE.sub(value, text)


def load(variables: Mapping[str, str]) -> dict[str, Any]:
    """The file's content; ``variables`` are those of its ``.env``."""

    def fill(node: Any) -> Any:
        if isinstance(node, str):
            return interpolate(node, variables)
        if isinstance(node, list):
            return [fill(item) for item in node]
        if isinstance(node, dict):
            return {key: fill(item) for key, item in node.items()}
        return node

    content: dict[str, Any] = fill(yaml.safe_load(FILE.read_text()))
    return content


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Process:
    """One service's command, running; its output is kept in a file."""

    def __init__(self, name: str, argv: list[str], env: dict[str, str], folder: Path) -> None:
        """Start it."""
        self.log_file = folder / f"{name}.log"
        with self.log_file.open("wb") as log:
            self.popen = tether.spawn(argv, env=env, cwd=folder, stdout=log, stderr=log)

    @property
    def log(self) -> str:
        """All it has printed."""
        return self.log_file.read_text(errors="replace")

    def alive(self) -> bool:
        """Whether it still runs; fails the test with its output if not."""
        assert self.popen.poll() is None, self.log
        return True

    def stop(self) -> int:
        """End it as ``docker stop`` does; returns its exit status."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(30)


class Stack:
    """The services of the file, each startable as a process of this machine."""

    def __init__(self, variables: Mapping[str, str], folder: Path) -> None:
        """Read the file; nothing is started.

        Args:
            variables: What ``.env`` would hold.
            folder: Takes the place of every folder of every container.
        """
        self.services: dict[str, Any] = load(variables)["services"]
        self.folder = folder
        #: What stands in the file -> what it is here; applied to commands and environments.
        self.replaced: dict[str, str] = {}
        self._running: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running):
            process.popen.kill()
            process.popen.wait()

    def local(self, text: str) -> str:
        """``text`` of the file as it has to be on this machine."""
        there = "|".join(map(re.escape, self.replaced))
        return re.sub(there, lambda match: self.replaced[match[0]], text)

    def environment(self, service: str) -> dict[str, str]:
        """The service's environment, on top of what a process here needs to run at all."""
        own = {k: self.local(str(v)) for k, v in self.services[service]["environment"].items()}
        path = f"{self.folder}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}"
        return {
            "PATH": path + os.environ["PATH"],
            "HOME": str(self.folder),
            "HOSTNAME": socket.gethostname(),
            **own,
        }

    def command(self, service: str) -> list[str]:
        """The service's command."""
        return [self.local(word) for word in self.services[service]["command"]]

    def start(self, service: str, *extra: str) -> Process:
        """Start the service's command, with ``extra`` arguments a container does not need."""
        argv = [*self.command(service), *extra]
        process = Process(service, argv, self.environment(service), self.folder)
        self._running.append(process)
        return process

    def run(self, service: str, argv: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a one-shot service's command, or another one in its place, to its end."""
        return subprocess.run(
            argv or self.command(service),
            env=self.environment(service),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def healthy(self, service: str) -> bool:
        """Whether the service's healthcheck succeeds."""
        kind, *words = [self.local(word) for word in self.services[service]["healthcheck"]["test"]]
        return (
            self.run(service, ["sh", "-c", *words] if kind == "CMD-SHELL" else words).returncode
            == 0
        )
