"""Stores for whole-system tests: a folder, a bucket of a real S3 server, and emulated clouds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from tests.servers.azurite import AzureServer
from tests.servers.gcs import GcsServer
from tests.servers.s3 import S3Server

from chunkferry.services import Service
from chunkferry.storage import from_url


@dataclass(frozen=True, slots=True, kw_only=True)
class RealStore:
    """One store that processes of a test share."""

    #: As in ``CHUNKFERRY_SERVICES``.
    url: str
    #: Variables that its users need: credentials.
    env: Mapping[str, str]
    #: What unfinished uploads have left there.
    leftovers: Callable[[], list[str]]

    def open(self) -> Service:
        """The store, in this process."""
        return cast("Service", from_url(self.url))


def local_store(folder: Path) -> RealStore:
    """A folder."""

    def leftovers() -> list[str]:
        unfinished = folder / ".chunkferry"
        return sorted(path.name for path in unfinished.iterdir()) if unfinished.exists() else []

    return RealStore(url=f"file://{folder}", env={}, leftovers=leftovers)


def s3_store(server: S3Server, prefix: str, **options: str) -> RealStore:
    """A prefix of a bucket; ``options`` are those of its URL."""
    client = server.client()

    def leftovers() -> list[str]:
        found = client.list_multipart_uploads(Bucket=server.bucket, Prefix=f"{prefix}/")
        return [upload["Key"] for upload in found.get("Uploads", [])]

    env = {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
    }
    return RealStore(url=server.url(prefix, **options), env=env, leftovers=leftovers)


def gcs_store(server: GcsServer, prefix: str) -> RealStore:
    """A prefix of a bucket."""

    def leftovers() -> list[str]:
        # Not sessions: Google ends those by itself that nobody has recorded.
        return [name for name in server.leftovers(prefix) if "/.chunkferry/" in name]

    return RealStore(url=server.url(prefix), env={}, leftovers=leftovers)


def azure_store(server: AzureServer, prefix: str) -> RealStore:
    """A prefix of a container."""
    return RealStore(
        url=server.url(prefix),
        env=server.environment,
        leftovers=lambda: server.leftovers(prefix),
    )


#: Stores that list what is unfinished, and tell a stored part by its content.
LISTING = ["local", pytest.param("s3", marks=pytest.mark.s3)]


@pytest.fixture(params=[*LISTING, "gcs", pytest.param("azure", marks=pytest.mark.azure)])
def real_store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> RealStore:
    """Each kind of store, on a real server."""
    return _opened(request, tmp_path, monkeypatch)


@pytest.fixture(params=LISTING)
def listing_store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> RealStore:
    """Each kind that was there from the beginning, and that lists what is unfinished."""
    return _opened(request, tmp_path, monkeypatch)


def _opened(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> RealStore:
    if request.param == "local":
        return local_store(tmp_path / "objects")
    if request.param == "gcs":
        return gcs_store(request.getfixturevalue("gcs"), prefix=tmp_path.name)
    if request.param == "azure":
        azurite: AzureServer = request.getfixturevalue("azurite")
        return azure_store(azurite, prefix=tmp_path.name)
    server: S3Server = request.getfixturevalue("ceph_server")
    server.export_credentials(monkeypatch)
    return s3_store(server, prefix=tmp_path.name)
