"""What a notifier yields."""

from __future__ import annotations

from chunkferry import UploadStatus, UploadStatusCode, err_upload_status, ok_upload_status


def test_the_good_end() -> None:
    """It says so in the words of the original."""
    status = ok_upload_status()
    assert (status.code, status.message, status.error) == ("Ok", "Upload Complete", None)


def test_the_bad_end() -> None:
    """It carries the error, and its text."""
    error = OSError("disk gone")
    status = err_upload_status(error)
    assert (status.code, status.message, status.error) == ("Error", "disk gone", error)


def test_only_progress_is_followed_by_more() -> None:
    """The other codes are the last of an upload."""
    last = {code: UploadStatus(code=code).is_last for code in UploadStatusCode}
    assert last == {"Ok": True, "Progress": False, "Error": True}
