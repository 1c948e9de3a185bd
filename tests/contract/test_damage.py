"""Bytes that are damaged on their way are refused by every server that checks, and by ours."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from tests.servers.gcs import GcsServer
from tests.servers.s3 import S3Server
from tests.storing import Store, content, crc32c, cut, new_upload, no_heartbeat, send

from chunkferry.errors import IntegrityError, StoreError
from chunkferry.storage import from_url
from chunkferry.storage.s3.store import S3Store

DATA = content(100_000)

Opener = Callable[[pytest.FixtureRequest], str]


def on_moto(request: pytest.FixtureRequest) -> str:
    server: S3Server = request.getfixturevalue("moto_s3")
    return server.url(secrets.token_hex(8), checksums="when_supported")


def on_gcs(request: pytest.FixtureRequest) -> str:
    server: GcsServer = request.getfixturevalue("gcs")
    return server.url(secrets.token_hex(8))


@pytest.mark.parametrize("opener", [on_moto, on_gcs])
def test_a_wrong_checksum_of_the_whole_is_refused(
    request: pytest.FixtureRequest, opener: Opener
) -> None:
    """The object is not what was received: the upload fails instead of being complete."""
    store = cast("Store", from_url(opener(request)))
    service = store.chunk_file_service()
    service.initialize_chunk(new_upload("a", len(DATA)))
    stored = send(service, cut(DATA))
    with pytest.raises(IntegrityError):
        service.complete_upload(stored, crc32c(DATA) ^ 1, no_heartbeat)
    # Google looks before there is an object; moto leaves it to us, afterwards.
    assert store.exists("a") == (opener is on_moto)


@contextmanager
def damaged(store: S3Store, operation: str) -> Iterator[None]:
    """Change one byte of each body after it was signed, as a broken network card would."""

    def damage(request: Any, **_: object) -> None:
        body = bytearray(request.body.read())
        body[len(body) // 2] ^= 1
        request.body = bytes(body)

    events = store._bucket.client.meta.events
    events.register(f"before-send.s3.{operation}", damage)
    try:
        yield
    finally:
        events.unregister(f"before-send.s3.{operation}", damage)


@pytest.mark.s3
def test_a_damaged_part_is_refused_by_its_signature(rgw: S3Server) -> None:
    """The gateway knows no CRC32C; the digest that is signed with each body does the same."""
    store = from_url(rgw.url(secrets.token_hex(8)))
    assert isinstance(store, S3Store)
    service = store.chunk_file_service()
    service.initialize_chunk(new_upload("a", len(DATA)))
    (part,) = cut(DATA)
    with damaged(store, "UploadPart"), pytest.raises(StoreError) as raised:
        service.upload_part(part, no_heartbeat)
    assert raised.value.retryable
    stored = send(service, [part])
    assert service.complete_upload(stored, crc32c(DATA), no_heartbeat).size == len(DATA)
