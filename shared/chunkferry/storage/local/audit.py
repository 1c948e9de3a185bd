"""What is unfinished in a folder: the files in ``.chunkferry``. Knows no uploads, only names.

Two kinds of name are ours: an upload's id, and that of a ``put`` that is being written. Anything
else there was laid down by somebody else, and stays.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Final

from chunkferry import keys
from chunkferry.filepath import RESERVED
from chunkferry.services import Unfinished
from chunkferry.storage.local import tree

_PUT: Final = re.compile(r"put-[0-9a-f]{32}")


def new_put_name() -> str:
    """A fresh name for the file that a ``put`` writes."""
    return f"put-{secrets.token_hex(16)}"


def unfinished(files: tree.Tree) -> Iterator[Unfinished]:
    """Everything in ``.chunkferry``, with the time of its last change."""
    # All at once, for no handle is to stay open between two steps of a caller.
    found = []
    with (
        tree.translated("listing what is unfinished"),
        suppress(FileNotFoundError),
        files.staging() as folder,
    ):
        now = time.time()
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
        for name in names:
            with suppress(FileNotFoundError):
                facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
                found.append(_described(name, facts, now))
    yield from found


def weigh(files: tree.Tree, found: Unfinished) -> int:
    """Bytes of the file; 0 if it is gone."""
    with (
        tree.translated("weighing what is unfinished"),
        suppress(FileNotFoundError),
        files.staging() as folder,
    ):
        return os.stat(found.name, dir_fd=folder, follow_symlinks=False).st_size
    return 0


def remove(files: tree.Tree, found: Unfinished) -> bool:
    """Remove the file; False if it is gone, or was written to since it was listed."""
    with (
        tree.translated("removing what is unfinished"),
        suppress(FileNotFoundError),
        files.staging() as folder,
    ):
        facts = os.stat(found.name, dir_fd=folder, follow_symlinks=False)
        if _described(found.name, facts, time.time()).age < found.age:
            return False
        os.unlink(found.name, dir_fd=folder)
        return True
    return False


def _described(name: str, facts: os.stat_result, now: float) -> Unfinished:
    is_upload = keys.is_upload_id(name)
    return Unfinished(
        name=name,
        age=timedelta(seconds=now - facts.st_mtime),
        filepath=f"{RESERVED}/{name}",
        upload_id=name if is_upload else "",
        is_ours=stat.S_ISREG(facts.st_mode) and (is_upload or bool(_PUT.fullmatch(name))),
    )
