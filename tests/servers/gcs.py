"""A Google Cloud Storage for tests: gcp-storage-emulator in a thread, made stricter.

``python -m tests.servers.gcs`` runs one by hand until Ctrl-C. What the emulator lets pass and
Google does not is checked here: generation preconditions, the checksum in ``X-Goog-Hash``, and
requests to a cancelled session. What still differs: a session that has made its object is forgotten
(Google answers 200 for a while), listings come in one page, nothing expires, and nobody checks
credentials or signatures. ``tests/unit/test_gcs_store.py`` has what only Google does.
"""

from __future__ import annotations

import io
import json
import logging
import re
import signal
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import google_crc32c
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from gcp_storage_emulator.handlers import buckets
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import RESUMABLE_DIR, Storage

from chunkferry.parts import PART_SIZE_UNIT

BUCKET = "chunkferry"

#: Of an account that exists in these tests only.
_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE_KEY = _RSA.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
).decode()
PUBLIC_KEY = _RSA.public_key()


class _MemoryStorage(Storage):  # type: ignore[misc] # the emulator has no types
    """The emulator's, which would write a file of everything after each request."""

    def _write_config_to_file(self) -> None:
        """Keep nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GcsServer:
    """A running server with a bucket to use."""

    endpoint: str
    storage: Any
    bucket: str = BUCKET

    def url(self, prefix: str = "", **options: str) -> str:
        """The store URL of the bucket."""
        query = urlencode({"endpoint_url": self.endpoint, "anonymous": "true", **options})
        return f"gs://{self.bucket}/{prefix}?{query}"

    def signing_url(self, prefix: str = "", **options: str) -> str:
        """The same for a store that has credentials; see ``account``."""
        query = urlencode({"endpoint_url": self.endpoint, **options})
        return f"gs://{self.bucket}/{prefix}?{query}"

    def account(self) -> str:
        """A service account as its key file tells it; the server gives tokens to anybody."""
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "tests",
                "private_key_id": "1",
                "private_key": PRIVATE_KEY,
                "client_email": "tests@tests.example",
                "token_uri": f"{self.endpoint}/token",
            }
        )

    def leftovers(self, prefix: str) -> list[str]:
        """What unfinished uploads have left under ``prefix``: sessions, and ends that wait."""
        sessions = [found["name"] for found in self.storage.resumable.values()]
        objects = [name for name in self.storage.objects.get(self.bucket, {}) if "/.chunk" in name]
        return [name for name in sessions + objects if name.startswith(f"{prefix}/")]

    def forget_sessions(self) -> None:
        """Lose all sessions, as Google does after a week."""
        self.storage.resumable.clear()


class _Handler(RequestHandler):  # type: ignore[misc] # the emulator has no types
    """One connection: checks what the emulator does not, then lets it answer."""

    protocol_version = "HTTP/1.1"
    lock: threading.Lock
    rfile: BinaryIO

    def handle_put(self) -> None:
        """Check the checksum of what may complete a session."""
        self._checked(super().do_PUT)

    def handle_post(self) -> None:
        """Check the generation; give a token to whoever asks."""
        if self.path == "/token":
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(200, access_token="token", expires_in=3600, token_type="Bearer")
            return
        self._checked(super().do_POST)

    def handle_get(self) -> None:
        """One request at a time: the emulator is made for that."""
        self._checked(super().do_GET)

    def handle_patch(self) -> None:
        """As GET."""
        self._checked(super().do_PATCH)

    def handle_delete(self) -> None:
        """Cancel a session, which the emulator cannot."""
        if session := self._query("upload_id"):
            known = self.storage.resumable.pop(session, None)
            self._answer(499 if known else 404)
            return
        self._checked(super().do_DELETE)

    do_PUT, do_POST, do_GET = handle_put, handle_post, handle_get  # noqa: N815 - the base's names
    do_PATCH, do_DELETE = handle_patch, handle_delete  # noqa: N815 - as above

    def _checked(self, proceed: Any) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            # Broken off. Google keeps whole units of a chunk, and nothing of anything else.
            self.close_connection = True
            is_chunk = self.headers.get("Content-Range", "").endswith("/*")
            body = body[: len(body) // PART_SIZE_UNIT * PART_SIZE_UNIT] if is_chunk else b""
            if not body:
                return
        if "*/" not in self.headers.get("Content-Range", "") and self._damaged(body):
            self._answer(400, "Provided CRC32C does not match the calculated one.")
            return
        if not self._generation_matches(body):
            self._answer(404 if self.command == "GET" else 412)
            return
        connection, self.rfile = self.rfile, io.BytesIO(body)
        with self.lock:
            proceed()
        self.rfile = connection

    def _query(self, name: str) -> str:
        return parse_qs(urlsplit(self.path).query).get(name, [""])[0]

    def _damaged(self, body: bytes) -> bool:
        announced = re.search("crc32c=([^,]+)", self.headers.get("X-Goog-Hash", ""))
        if announced is None:
            return False
        safe_id = self.storage.safe_id(self._query("upload_id"))
        path = f"{RESUMABLE_DIR}/{safe_id}"
        store = self.storage._store
        whole = (store.read_bytes(path) if store.exists_file(path) else b"") + body
        return b64encode(google_crc32c.value(whole).to_bytes(4, "big")).decode() != announced[1]

    def _generation_matches(self, body: bytes) -> bool:
        wanted = self._query("ifGenerationMatch") or self._query("generation")
        name = (
            self._query("name")
            or _name_in(body)
            or unquote(self.path.split("?")[0].split("/o/")[-1])
        )
        found = self.storage.objects.get(BUCKET, {}).get(name, {})
        return wanted in {"", found.get("generation", "0")}

    def send_header(self, keyword: str, value: str) -> None:
        """Say what a signed URL asks for instead."""
        asked = self._query("response-content-type") if keyword == "Content-type" else ""
        super().send_header(keyword, asked or value)

    def _answer(self, status: int, message: str = "", **fields: object) -> None:
        content = json.dumps({"error": {"code": status, "message": message}, **fields}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _name_in(body: bytes) -> str:
    """The object's name in the metadata of a multipart request."""
    found = re.search(rb'"name": ("(?:[^"\\]|\\.)*")', body[:20_000])
    return str(json.loads(found[1])) if found else ""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Joining would wait for idle keep-alive connections.
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Some tests break connections."""


@contextmanager
def running(port: int = 0) -> Iterator[GcsServer]:
    """A server on a free port."""
    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
    logging.getLogger("api").setLevel(logging.CRITICAL)
    storage = _MemoryStorage(use_memory_fs=True)
    buckets.create_bucket(BUCKET, storage)
    handler = type("_Bound", (_Handler,), {"lock": threading.Lock()})
    with _Server(("127.0.0.1", port), partial(handler, storage)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield GcsServer(
                endpoint=f"http://127.0.0.1:{server.server_address[1]}", storage=storage
            )
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="session")
def gcs() -> Iterator[GcsServer]:
    """An emulated Google Cloud Storage."""
    with running() as server:
        yield server


@pytest.fixture
def gcs_account(gcs: GcsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> GcsServer:
    """The same, with a service account in the environment of this test."""
    file = tmp_path / "account.json"
    file.write_text(gcs.account())
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    return gcs


def main() -> None:
    """Run a server until Ctrl-C."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with running() as server:
        print(server.url("prefix"), flush=True)  # noqa: T201 - what a person runs this for
        stopped.wait()


if __name__ == "__main__":
    main()
