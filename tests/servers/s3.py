"""S3 servers as fixtures: a real Ceph gateway, and moto for what that one cannot do.

``pytest_plugins = ["tests.servers.s3"]`` in the top ``conftest.py`` offers the fixtures. A
server starts when the first test asks for it and ends with the session.
"""

from __future__ import annotations

import importlib.machinery
import logging
import os
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import boto3
import google_crc32c
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer
from tests.servers import ceph

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Server:
    """A running server with a bucket to use."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str = "chunkferry"

    def url(self, prefix: str = "", **options: str) -> str:
        """The store URL of the bucket."""
        query = urlencode({"endpoint_url": self.endpoint, **options})
        return f"s3://{self.bucket}/{prefix}?{query}"

    def client(self) -> S3Client:
        """A plain client, to look at what is there."""
        return boto3.session.Session(self.access_key, self.secret_key).client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )

    def export_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put the credentials where boto3 and child processes find them."""
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", self.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", self.secret_key)


@pytest.fixture(scope="session")
def ceph_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real Ceph gateway; takes about 20 s to start."""
    if missing := ceph.missing_programs():
        reason = f"needs a Ceph gateway; not installed: {', '.join(missing)}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with ceph.CephServer(tmp_path_factory.mktemp("ceph")) as gateway:
        server = S3Server(
            endpoint=gateway.endpoint,
            access_key=gateway.access_key,
            secret_key=gateway.secret_key,
        )
        server.client().create_bucket(Bucket=server.bucket)
        yield server


@pytest.fixture
def rgw(ceph_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The Ceph gateway, with its credentials in the environment of this test."""
    ceph_server.export_credentials(monkeypatch)
    return ceph_server


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    """Moto's imitation of AWS: knows full-object CRC32C and conditions on PUT."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # Without this module moto computes a CRC32 and calls it a CRC32C.
    module = types.ModuleType("crc32c")
    module.__spec__ = importlib.machinery.ModuleSpec("crc32c", None)
    vars(module)["crc32c"] = google_crc32c.value
    sys.modules.setdefault("crc32c", module)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    found = S3Server(endpoint=f"http://{host}:{port}", access_key="moto", secret_key="moto")
    found.client().create_bucket(Bucket=found.bucket)
    yield found
    server.stop()


@pytest.fixture
def moto_s3(moto_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """moto, with its credentials in the environment of this test."""
    moto_server.export_credentials(monkeypatch)
    return moto_server
