"""A real RabbitMQ server for tests, with its own data, name, cookie and port mapper.

``python -m tests.servers.rabbitmq`` runs one by hand until Ctrl-C. The programs are the ones of
the Debian package rabbitmq-server. Nothing of it outlives the process that started it: no server
that runs for ever, and no ``epmd``, which Erlang would otherwise leave behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pytest
from kombu import Connection
from tests.servers.ceph import free_ports
from tests.waiting import wait_until

from chunkferry_worker import tether

#: Debian's own start script would become another user, and use the one data folder there is.
_FOLDER: Final = Path("/usr/lib/rabbitmq/bin")
#: Erlang's port mapper, which a server looks for at its start.
_MAPPER: Final = "epmd"

#: A cold start takes 5 to 10 s on two cores.
START_SECONDS: Final = 120.0
#: For the end of a killed process.
STOP_SECONDS: Final = 10.0


def missing_programs() -> list[str]:
    """The programs that are not installed."""
    missing = [] if shutil.which(_MAPPER) else [_MAPPER]
    return missing if (_FOLDER / "rabbitmq-server").exists() else [*missing, "rabbitmq-server"]


class RabbitServer:
    """One server on loopback. It can be killed and started again, with its data or without."""

    def __init__(self, folder: Path) -> None:
        """Describe the server; ``folder`` is where it keeps all its files."""
        self._folder = folder
        self._port, mapper_port, distribution_port = free_ports(3)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._env = {
            **{name: value for name, value in os.environ.items() if "RABBITMQ" not in name},
            # Where Erlang keeps its cookie.
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{self._port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            # The script then becomes the server itself instead of waiting for it.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    @property
    def url(self) -> str:
        """Where it is; a guest may enter by loopback only."""
        return f"amqp://guest:guest@127.0.0.1:{self._port}//"

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._processes[-1].pid

    def start(self) -> None:
        """Return once the server answers."""
        (self._folder / "rabbitmq-env.conf").touch()
        (self._folder / "enabled_plugins").write_text("[].\n")
        # It would refuse all messages on a machine whose disk is nearly full.
        (self._folder / "rabbitmq.conf").write_text("disk_free_limit.absolute = 1MB\n")
        mapper = [_MAPPER, "-port", self._env["ERL_EPMD_PORT"], "-address", "127.0.0.1"]
        self._spawn(mapper)
        self._spawn([str(_FOLDER / "rabbitmq-server")])
        wait_until(self._answers, START_SECONDS, what="RabbitMQ answers")

    def stop(self) -> None:
        """End the server in order: what is durable is on disk."""
        self._processes[-1].terminate()
        self._processes[-1].wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End the server as a crash would."""
        for process in reversed(self._processes):
            process.kill()
            process.wait(STOP_SECONDS)
        self._processes.clear()

    def forget(self) -> None:
        """Remove the data of a server that does not run."""
        shutil.rmtree(self._folder / "data")

    def messages(self, queue: str) -> int:
        """How many messages wait in ``queue``, which must be there."""
        with Connection(self.url) as connection:
            channel: Any = connection.default_channel
            return int(channel.queue_declare(queue, passive=True).message_count)

    def remove(self, *queues: str) -> None:
        """Remove queues, with what waits in them; those that are not there do not matter."""
        with Connection(self.url) as connection:
            channel: Any = connection.default_channel
            for queue in queues:
                channel.queue_delete(queue)

    def _answers(self) -> bool:
        if self._processes[-1].poll() is not None:
            msg = f"rabbitmq-server ended; see {self._folder / 'output'}"
            raise AssertionError(msg)
        with contextlib.suppress(OSError), Connection(self.url, connect_timeout=2) as connection:
            connection.connect()
            return True
        return False

    def _spawn(self, command: list[str]) -> None:
        with (self._folder / "output").open("ab") as output:
            self._processes.append(
                tether.spawn(command, stdout=output, stderr=output, env=self._env, cwd=self._folder)
            )

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()


def require_programs() -> None:
    """Skip the test where RabbitMQ is not installed; in CI, fail."""
    if missing := missing_programs():
        reason = f"needs RabbitMQ; not installed: {', '.join(missing)}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def rabbit_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """One server for all tests that do it no harm."""
    require_programs()
    with RabbitServer(tmp_path_factory.mktemp("rabbit")) as server:
        yield server


@pytest.fixture
def fresh_rabbit(tmp_path: Path) -> Iterator[RabbitServer]:
    """A server of the test's own."""
    require_programs()
    folder = tmp_path / "rabbit"
    folder.mkdir()
    with RabbitServer(folder) as server:
        yield server


def main() -> None:
    """Run a server until Ctrl-C."""
    if missing := missing_programs():
        sys.exit(f"not installed: {', '.join(missing)}")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with tempfile.TemporaryDirectory() as folder, RabbitServer(Path(folder)) as server:
        print(f"CHUNKFERRY_BROKER_URL={server.url}", flush=True)  # noqa: T201 - what a person runs this for
        stopped.wait()


if __name__ == "__main__":
    main()
