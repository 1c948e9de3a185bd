"""Uploads one file by tuspy, as ``upload.mjs`` does by tus-js-client, and prints the same lines.

The only argument is JSON: ``file``; ``options`` of its ``Uploader``; ``endpoint``; ``storage``, a
file with the URLs of unfinished uploads; ``look``, a folder; ``asynchronous`` for its other half.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError, TusUploadFailed
from tusclient.storage.filestorage import FileStorage
from tusclient.uploader.uploader import AsyncUploader, Uploader


def told(**line: object) -> None:
    """Print one line."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def uploader(asked: dict[str, Any]) -> Uploader | AsyncUploader:
    """What is to do it."""
    client = TusClient(asked["endpoint"])
    options = asked["options"]
    if asked["storage"]:
        options |= {"store_url": True, "url_storage": FileStorage(asked["storage"])}  # type: ignore[no-untyped-call]  # as its author left it
    make = client.async_uploader if asked["asynchronous"] else client.uploader
    return make(asked["file"], **options)


def run(made: Uploader | AsyncUploader) -> None:
    """Upload it to its end."""
    if isinstance(made, AsyncUploader):
        asyncio.run(made.upload())
        return
    if not made.url:
        made.set_url(made.create_url())
    told(url=made.url)
    made.upload()


def contents(folder: Path) -> list[str]:
    """The checksum of each file, without those that are not finished."""
    files = [path for path in folder.rglob("*") if path.is_file() and "/." not in str(path)]
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def main() -> None:
    """Do what the argument says."""
    asked = json.loads(sys.argv[1])
    made = uploader(asked)
    error, found = None, []
    try:
        run(made)
        found = contents(Path(asked["look"])) if asked["look"] else []
    except (TusCommunicationError, TusUploadFailed) as exc:
        error = str(exc)
    told(url=made.url, error=error, found=found)


if __name__ == "__main__":
    main()
