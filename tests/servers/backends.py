"""Every built-in store on a server of its own, for the contract suite of whole objects.

A backend joins by an entry of ``BACKENDS``; what it is then tested for is what Protocols its store
implements.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import pytest
from tests.servers.azurite import AzureServer
from tests.servers.gcs import GcsServer
from tests.servers.s3 import S3Server

from chunkferry.services import (
    ChunkStore,
    HeadService,
    ListService,
    MD5Service,
    ParallelService,
    RangeService,
    Service,
    ServiceWithConcurrency,
    ServiceWithMimeType,
    ServiceWithTimeout,
    SignedUrlService,
    SignedUrlUploadService,
    StreamService,
    VersionService,
)
from chunkferry.storage import from_url
from chunkferry.storage.per_process import PerProcess
from chunkferry.storage.s3.store import S3Store

#: By endpoint.
_CLIENTS: dict[str, PerProcess[Any]] = {}


class DataStore(
    Service,
    HeadService,
    ListService,
    MD5Service,
    ParallelService,
    RangeService,
    StreamService,
    VersionService,
    SignedUrlService,
    SignedUrlUploadService,
    ServiceWithConcurrency,
    ServiceWithMimeType,
    ServiceWithTimeout,
    Protocol,
):
    """All that a store may offer for whole objects; see ``Backend.offering``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A store, and what its server can do that no Protocol says."""

    store: ChunkStore
    #: Longest filepath in bytes that its prefix leaves room for.
    room: int = 1024
    #: Objects that can be put there in a few seconds; several pages of a listing.
    many: int = 2500
    #: A server answers its signed URLs.
    serves_urls: bool = False
    #: And refuses those that are expired or were changed.
    checks_urls: bool = False

    def offering(self, port: type) -> DataStore:
        """The store, for the methods of ``port``; skips the test where it has none.

        What a store has to offer is asserted elsewhere: by the table in the docs.
        """
        if not isinstance(self.store, port):
            pytest.skip(f"{type(self.store).__name__} is no {port.__name__}")
        return cast("DataStore", self.store)


def on_disk(request: pytest.FixtureRequest) -> Backend:
    """A folder that signs URLs, which nobody serves."""
    folder: Path = request.getfixturevalue("tmp_path")
    secret = folder / "secret"
    secret.write_text(secrets.token_hex(32))
    url = f"file://{folder}/objects?base_url=http://localhost/files&secret_file={secret}"
    return Backend(store=from_url(url))


def in_memory(request: pytest.FixtureRequest) -> Backend:
    """A store in this process."""
    return Backend(store=from_url(f"memory://{secrets.token_hex(8)}"))


def on_ceph(request: pytest.FixtureRequest) -> Backend:
    """A prefix of a bucket of a real gateway."""
    server: S3Server = request.getfixturevalue("rgw")
    return _on_s3(request, server, "ceph", checks_urls=True)


def on_moto(request: pytest.FixtureRequest) -> Backend:
    """A prefix of a bucket of an imitation of AWS; it answers signed URLs without a look."""
    return _on_s3(request, request.getfixturevalue("moto_s3"), "aws", checks_urls=False)


def _on_s3(
    request: pytest.FixtureRequest, server: S3Server, profile: str, *, checks_urls: bool
) -> Backend:
    prefix = secrets.token_hex(8)
    store = from_url(server.url(prefix, profile=profile))
    assert isinstance(store, S3Store)
    # A client takes half a second to make; all tests of a server share one.
    clients = _CLIENTS.setdefault(server.endpoint, store._bucket._clients)
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setattr(store._bucket, "_clients", clients)
    return Backend(
        store=store,
        room=1024 - len(prefix) - 1,
        # moto is slow.
        many=2500 if checks_urls else 1001,
        serves_urls=True,
        checks_urls=checks_urls,
    )


def on_gcs(request: pytest.FixtureRequest) -> Backend:
    """A prefix of an emulated bucket; nobody looks at its signed URLs."""
    server: GcsServer = request.getfixturevalue("gcs_account")
    prefix = secrets.token_hex(8)
    return Backend(
        store=from_url(server.signing_url(prefix)), room=1024 - len(prefix) - 1, serves_urls=True
    )


def on_azurite(request: pytest.FixtureRequest) -> Backend:
    """A prefix of an emulated container."""
    server: AzureServer = request.getfixturevalue("azurite")
    prefix = secrets.token_hex(8)
    return Backend(
        store=from_url(server.url(prefix)),
        room=1024 - len(prefix) - 1,
        serves_urls=True,
        checks_urls=True,
    )


def of_example(request: pytest.FixtureRequest) -> Backend:
    """A third party's store, as the docs show one."""
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    folder: Path = request.getfixturevalue("tmp_path")
    return Backend(store=from_url(f"sqlite_store:SqliteStore?path={folder}/objects.db"))


#: One parameter of the contract suite each: what makes it, and its marks.
BACKENDS: dict[str, tuple[Callable[[pytest.FixtureRequest], Backend], list[pytest.MarkDecorator]]]
BACKENDS = {
    "local": (on_disk, []),
    "memory": (in_memory, []),
    "example": (of_example, []),
    "moto": (on_moto, []),
    "ceph": (on_ceph, [pytest.mark.s3]),
    "gcs": (on_gcs, []),
    "azurite": (on_azurite, [pytest.mark.azure]),
}


@pytest.fixture(
    params=[pytest.param(make, id=name, marks=marks) for name, (make, marks) in BACKENDS.items()]
)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn, empty."""
    made = request.param(request)
    assert isinstance(made, Backend)
    return made
