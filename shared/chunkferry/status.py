"""What a notifier yields: the status of an upload at one moment. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: The message of the last status of an upload that went well.
UPLOAD_COMPLETE = "Upload Complete"


class UploadStatusCode(StrEnum):
    """What kind of news a status is."""

    OK = "Ok"
    PROGRESS = "Progress"
    ERROR = "Error"


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadStatus:
    """One piece of news about an upload."""

    code: UploadStatusCode
    #: A sentence for people.
    message: str = ""
    #: Why the upload ended without an object; only with ``ERROR``.
    error: Exception | None = None
    #: Bytes in the store.
    uploaded: int = 0
    #: Bytes accepted from the producer.
    received: int = 0
    #: Bytes of the whole file; None while nobody has said.
    total: int | None = None
    #: The state the upload was in (a value of ``chunkferry.state.State``).
    state: str = ""
    #: Where to go on watching from: pass it as ``after``.
    event_id: str = ""

    @property
    def is_last(self) -> bool:
        """True where no more news follow."""
        return self.code is not UploadStatusCode.PROGRESS


def ok_upload_status() -> UploadStatus:
    """The status of a finished upload."""
    return UploadStatus(code=UploadStatusCode.OK, message=UPLOAD_COMPLETE)


def err_upload_status(error: Exception) -> UploadStatus:
    """The status of an upload that ended with ``error``."""
    return UploadStatus(code=UploadStatusCode.ERROR, message=str(error), error=error)
