"""An Azure Blob Storage for tests: Microsoft's emulator, Azurite, as a child process.

``python -m tests.servers.azurite`` runs one by hand until Ctrl-C. The versions and checksums of all
its packages are in ``npm/package-lock.json``; npm installs them once, into a cache folder
outside of the checkout.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest
from azure.storage.blob import ContainerClient
from tests import packages
from tests.servers.ceph import free_ports
from tests.waiting import wait_until

from chunkferry_worker import tether

ACCOUNT = "chunkferrytests"
#: No secret: it opens this emulator only.
KEY = "Y2h1bmtmZXJyeS10ZXN0cy1vZi10aGUtYXp1cmUtc3RvcmU="
CONTAINER = "chunkferry"

_FOLDER = Path(__file__).parent / "npm"
#: Node needs a while on a busy machine.
_START_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureServer:
    """A running server with a container to use."""

    endpoint: str
    container: str = CONTAINER

    def url(self, prefix: str = "", **options: str) -> str:
        """The store URL of the container."""
        query = urlencode({"account": ACCOUNT, "endpoint_url": self.endpoint, **options})
        return f"az://{self.container}/{prefix}?{query}"

    def client(self) -> ContainerClient:
        """A plain client, to look at what is there."""
        return ContainerClient(
            self.endpoint,
            self.container,
            credential={"account_name": ACCOUNT, "account_key": KEY},
        )

    def leftovers(self, prefix: str) -> list[str]:
        """Names under ``prefix`` that have uncommitted blocks."""
        client = self.client()
        found = client.list_blobs(name_starts_with=f"{prefix}/", include=["uncommittedblobs"])
        return [
            name
            for name in (blob.name for blob in found)
            if client.get_blob_client(name).get_block_list("uncommitted")[1]
        ]

    @property
    def environment(self) -> dict[str, str]:
        """The credentials, as Azure's own tools read them."""
        return {"AZURE_STORAGE_KEY": KEY}


def installed() -> Path:
    """Azurite's program; installed first, if it is not yet."""
    folder = packages.installed(_FOLDER)
    return folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"


@contextmanager
def running(folder: Path) -> Iterator[AzureServer]:
    """A server on a free port, with its files in ``folder``."""
    (port,) = free_ports(1)
    arguments = ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    flags = ["--skipApiVersionCheck", "--disableTelemetry", "--silent", "--inMemoryPersistence"]
    with (folder / "azurite.log").open("wb") as log:
        process = tether.spawn(
            [packages.program("node"), str(installed()), *arguments, *flags],
            stdout=log,
            stderr=log,
            env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
        )
        try:
            wait_until(lambda: _answers(port), timeout=_START_SECONDS, what="Azurite answers")
            server = AzureServer(endpoint=f"http://127.0.0.1:{port}/{ACCOUNT}")
            server.client().create_container()
            yield server
        finally:
            process.terminate()
            process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def azurite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureServer]:
    """Azurite; installed from npm when it is first asked for."""
    if missing := packages.missing_programs():
        reason = f"needs Azurite; not installed: {', '.join(missing)}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with running(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture
def azurite(azurite_server: AzureServer, monkeypatch: pytest.MonkeyPatch) -> AzureServer:
    """Azurite, with its credentials in the environment of this test."""
    for name, value in azurite_server.environment.items():
        monkeypatch.setenv(name, value)
    return azurite_server


def main() -> None:
    """Run a server until Ctrl-C."""
    if missing := packages.missing_programs():
        sys.exit(f"not installed: {', '.join(missing)}")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with tempfile.TemporaryDirectory(prefix="azurite-") as folder, running(Path(folder)) as server:
        print(server.url("prefix"))  # noqa: T201 - what a person runs this for
        print(f"AZURE_STORAGE_KEY={KEY}", flush=True)  # noqa: T201
        stopped.wait()


if __name__ == "__main__":
    main()
