"""chunkferry: large files in pieces, through Redis streams and Celery workers, into a store."""

from chunkferry.config import Settings
from chunkferry.manager import ChunkManager
from chunkferry.notifier import Notifier
from chunkferry.services import (
    ChunkFileService,
    ChunkFileServiceFactory,
    ChunkManagementService,
    ChunkService,
    DownloadParams,
    HeadInfo,
    HeadService,
    ListService,
    MD5Service,
    Object,
    ObjectIterator,
    ParallelService,
    RangeService,
    Service,
    ServiceWithConcurrency,
    ServiceWithMimeType,
    ServiceWithTimeout,
    SignedUrlConfig,
    SignedUrlService,
    SignedUrlUploadService,
    StreamService,
    Upload,
)
from chunkferry.state import State
from chunkferry.status import (
    UploadStatus,
    UploadStatusCode,
    err_upload_status,
    ok_upload_status,
)
from chunkferry.upload import ChunkUpload

__all__ = [
    "ChunkFileService",
    "ChunkFileServiceFactory",
    "ChunkManagementService",
    "ChunkManager",
    "ChunkService",
    "ChunkUpload",
    "DownloadParams",
    "HeadInfo",
    "HeadService",
    "ListService",
    "MD5Service",
    "Notifier",
    "Object",
    "ObjectIterator",
    "ParallelService",
    "RangeService",
    "Service",
    "ServiceWithConcurrency",
    "ServiceWithMimeType",
    "ServiceWithTimeout",
    "Settings",
    "SignedUrlConfig",
    "SignedUrlService",
    "SignedUrlUploadService",
    "State",
    "StreamService",
    "Upload",
    "UploadStatus",
    "UploadStatusCode",
    "err_upload_status",
    "ok_upload_status",
]
