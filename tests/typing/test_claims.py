"""Every store is what it claims to be, for mypy and at run time.

mypy holds each function against the Protocols that it says it returns; the tests hold those
against the table of abilities.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args, get_type_hints

import pytest

from chunkferry.services import (
    Abandoning,
    Attesting,
    Auditing,
    ChunkFileService,
    ChunkStore,
    HeadService,
    ListService,
    MD5Service,
    ParallelService,
    Portable,
    Probing,
    RangeService,
    Reaping,
    Reconciling,
    Service,
    ServiceWithConcurrency,
    ServiceWithMimeType,
    ServiceWithTimeout,
    SignedUrlService,
    SignedUrlUploadService,
    SinglePut,
    StreamService,
    VersionService,
)
from chunkferry.storage.azure.store import AzureStore
from chunkferry.storage.azure.upload import AzureFileService
from chunkferry.storage.capabilities import ABILITIES, UPLOAD_ABILITIES
from chunkferry.storage.gcs.store import GcsStore, SigningGcsStore
from chunkferry.storage.gcs.upload import GcsFileService
from chunkferry.storage.local import LocalFileService, LocalStore, SigningLocalStore
from chunkferry.storage.memory import MemoryFileService, MemoryStore
from chunkferry.storage.s3.store import S3Store
from chunkferry.storage.s3.upload import S3FileService


def local(
    it: LocalStore,
) -> tuple[
    ChunkStore,
    Reaping,
    Auditing,
    Service,
    HeadService,
    ListService,
    MD5Service,
    ParallelService,
    RangeService,
    StreamService,
    VersionService,
]:
    return it, it, it, it, it, it, it, it, it, it, it


def signing_local(
    it: SigningLocalStore,
) -> tuple[
    ChunkStore,
    Reaping,
    Auditing,
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
]:
    return it, it, it, it, it, it, it, it, it, it, it, it, it


def memory(
    it: MemoryStore,
) -> tuple[
    ChunkStore,
    Reaping,
    Auditing,
    Service,
    HeadService,
    ListService,
    MD5Service,
    ParallelService,
    RangeService,
    StreamService,
    VersionService,
    ServiceWithMimeType,
]:
    return it, it, it, it, it, it, it, it, it, it, it, it


def s3(
    it: S3Store,
) -> tuple[
    ChunkStore,
    Reaping,
    Auditing,
    Probing,
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
]:
    return it, it, it, it, it, it, it, it, it, it, it, it, it, it, it, it, it


def gcs(
    it: GcsStore,
) -> tuple[
    ChunkStore,
    Service,
    HeadService,
    ListService,
    MD5Service,
    ParallelService,
    RangeService,
    StreamService,
    VersionService,
    ServiceWithConcurrency,
    ServiceWithMimeType,
    ServiceWithTimeout,
    Reaping,
]:
    return it, it, it, it, it, it, it, it, it, it, it, it, it


def signing_gcs(
    it: SigningGcsStore,
) -> tuple[
    ChunkStore,
    Service,
    HeadService,
    ListService,
    MD5Service,
    ParallelService,
    RangeService,
    StreamService,
    VersionService,
    ServiceWithConcurrency,
    ServiceWithMimeType,
    ServiceWithTimeout,
    Reaping,
    SignedUrlService,
    SignedUrlUploadService,
]:
    return it, it, it, it, it, it, it, it, it, it, it, it, it, it, it


def azure(
    it: AzureStore,
) -> tuple[
    ChunkStore,
    Service,
    HeadService,
    ListService,
    MD5Service,
    ParallelService,
    RangeService,
    StreamService,
    VersionService,
    ServiceWithConcurrency,
    ServiceWithMimeType,
    ServiceWithTimeout,
    SignedUrlService,
    SignedUrlUploadService,
]:
    return it, it, it, it, it, it, it, it, it, it, it, it, it, it


def local_upload(it: LocalFileService) -> tuple[ChunkFileService, Portable, Reconciling, Attesting]:
    return it, it, it, it


def memory_upload(
    it: MemoryFileService,
) -> tuple[ChunkFileService, Portable, Reconciling, Abandoning, Attesting]:
    return it, it, it, it, it


def s3_upload(
    it: S3FileService,
) -> tuple[ChunkFileService, Portable, Reconciling, Abandoning, SinglePut, Attesting]:
    return it, it, it, it, it, it


def gcs_upload(
    it: GcsFileService,
) -> tuple[
    ChunkFileService,
    Portable,
    Abandoning,
    SinglePut,
]:
    return it, it, it, it


def azure_upload(
    it: AzureFileService,
) -> tuple[
    ChunkFileService,
    Portable,
    Reconciling,
    SinglePut,
]:
    return it, it, it, it


def claims(function: Callable[..., object]) -> tuple[type, set[type]]:
    """The class, and the Protocols that mypy has found it to be."""
    hints = get_type_hints(function)
    return hints["it"], set(get_args(hints["return"]))


@pytest.mark.parametrize("function", [local, signing_local, memory, s3, gcs, signing_gcs, azure])
def test_the_table_of_abilities_is_what_types_say(function: Callable[..., object]) -> None:
    """A store has the abilities whose types it has, and no others."""
    store, claimed = claims(function)
    shown = {port for port in ABILITIES.values() if issubclass(store, port)}
    assert claimed == shown | {ChunkStore}


@pytest.mark.parametrize(
    "function", [local_upload, memory_upload, s3_upload, gcs_upload, azure_upload]
)
def test_so_it_is_for_uploads(function: Callable[..., object]) -> None:
    """A service has the abilities whose types it has, and no others."""
    service, claimed = claims(function)
    assert claimed == {port for port in UPLOAD_ABILITIES.values() if issubclass(service, port)}
