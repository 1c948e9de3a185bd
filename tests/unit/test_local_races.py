"""``LocalStore`` against somebody who changes its folder while it works.

Who can do that could also write the files: what counts is that nothing *outside* the folder is
read, written or removed by a store that runs with more rights than they have.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests import storing
from tests.storing import crc32c, cut, new_upload, no_heartbeat, send

from chunkferry.errors import ChunkferryError, InvalidPath, StoreRefused, StoreUnavailable
from chunkferry.filepath import RESERVED
from chunkferry.storage.local import LocalStore

ROUNDS = 400

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "objects"
    (folder / "a").mkdir(parents=True)
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What must stay as it is."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_bytes(b"secret")
    return folder


def swap(place: Path, spare: Path, outside: Path) -> None:
    """Put a link to ``outside`` in the place of a folder, and take it away, for ever."""
    while True:
        # Each name may be missing for an instant; whoever made it again was quicker.
        with suppress(OSError):
            place.rename(spare)
            place.symlink_to(outside)
        with suppress(OSError):
            place.unlink()
        with suppress(OSError):
            spare.rename(place)


@contextmanager
def swapping(place: Path, outside: Path) -> Iterator[None]:
    """Have another process do it."""
    context = multiprocessing.get_context("spawn")
    spare = place.with_name("spare")
    attacker = context.Process(target=swap, args=(place, spare, outside), daemon=True)
    attacker.start()
    try:
        yield
    finally:
        attacker.kill()
        attacker.join()


def state_of(folder: Path) -> list[tuple[str, bytes]]:
    """All that is in a folder."""
    return [(path.name, path.read_bytes()) for path in sorted(folder.rglob("*"))]


def tried(call: Callable[[], object]) -> object:
    """The answer of a call, or the refusal it ends with; nothing else may come of it."""
    try:
        return call()
    except (ChunkferryError, FileNotFoundError) as exc:
        return exc


def upload(store: LocalStore, filepath: str) -> None:
    """A whole upload."""
    service = store.chunk_file_service()
    service.initialize_chunk(new_upload(filepath, 4))
    parts = send(service, cut(b"data"))
    service.find_part(cut(b"data")[0])
    service.complete_upload(parts, crc32c(b"data"), no_heartbeat)
    service.find_object()
    service.cleanup(no_heartbeat)


def read(store: LocalStore, filepath: str) -> bytes:
    """An object, or what is mistaken for one."""
    with store.get(filepath) as found:
        return found.read()


@pytest.mark.parametrize("folder", ["a", RESERVED])
def test_a_folder_that_becomes_a_link_leads_nowhere(root: Path, outside: Path, folder: str) -> None:
    """Swapped all the time while objects are put, uploaded, read and deleted."""
    store = LocalStore(root)
    store.put("a/file", io.BytesIO(b"data"))
    before = state_of(outside)
    met = set[type]()
    with swapping(root / folder, outside):
        for _ in range(ROUNDS):
            for call in (
                lambda: store.put("a/file", io.BytesIO(b"data")),
                lambda: upload(store, "a/file"),
                lambda: read(store, "a/file"),
                lambda: store.head("a/file"),
                lambda: store.delete("a/file"),
            ):
                answer = tried(call)
                assert answer != b"secret"
                met.add(type(answer))
    assert before == state_of(outside)
    assert StoreRefused in met, "the link was never met: nothing was proved"


def test_a_hard_link_is_never_written(root: Path, outside: Path) -> None:
    """An unfinished file that has another name elsewhere is not one of ours."""
    upload = new_upload("file", 4)
    (root / RESERVED).mkdir()
    (root / RESERVED / upload.upload_id).hardlink_to(outside / "file")
    service = LocalStore(root).chunk_file_service()
    with pytest.raises(StoreUnavailable, match="Too many links"):
        service.initialize_chunk(upload)
    assert (outside / "file").read_bytes() == b"secret"


def test_a_hard_link_made_later_is_never_written(root: Path, outside: Path) -> None:
    """Nor one that comes in the place of the unfinished file."""
    upload = new_upload("file", 4)
    service = LocalStore(root).chunk_file_service()
    service.initialize_chunk(upload)
    place = root / RESERVED / upload.upload_id
    place.rename(root / "kept")
    place.hardlink_to(outside / "file")
    for call in (
        lambda: send(service, cut(b"data")),
        lambda: service.complete_upload([], 0, no_heartbeat),
    ):
        with pytest.raises(ChunkferryError):
            call()
    assert (outside / "file").read_bytes() == b"secret"


@pytest.mark.parametrize("bits", [stat.S_ISUID, stat.S_ISGID])
def test_a_file_that_lends_rights_is_never_written(root: Path, bits: int) -> None:
    """A set-user-id file in the place of the unfinished file would become an object."""
    upload = new_upload("file", 4)
    (root / RESERVED).mkdir()
    planted = root / RESERVED / upload.upload_id
    planted.touch()
    planted.chmod(0o755 | bits)
    with pytest.raises(StoreRefused):
        LocalStore(root).chunk_file_service().initialize_chunk(upload)


def test_a_pipe_is_never_written(root: Path) -> None:
    """Nor does a FIFO in the place of the unfinished file, or of an object, make anybody wait."""
    upload = new_upload("file", 4)
    (root / RESERVED).mkdir()
    os.mkfifo(root / RESERVED / upload.upload_id)
    os.mkfifo(root / "pipe")
    store = LocalStore(root)
    with pytest.raises(StoreRefused):
        store.chunk_file_service().initialize_chunk(upload)
    with pytest.raises(StoreRefused):
        store.get("pipe")


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077, 0o000])
def test_unfinished_uploads_are_nothing_for_others(tmp_path: Path, umask: int) -> None:
    """Objects have the rights that the umask leaves them; nobody else looks into the staging."""
    root = tmp_path / "new" / "objects"
    before = os.umask(umask)
    try:
        storing.store(LocalStore(root), new_upload("a/file", 4), b"data")
    finally:
        os.umask(before)
    modes = [
        stat.S_IMODE(path.stat().st_mode) for path in (root / RESERVED, root / "a", root / "a/file")
    ]
    assert modes == [0o770 & ~umask, 0o777 & ~umask, 0o666 & ~umask]


@pytest.mark.parametrize(
    "filepath",
    [
        "../outside/file",
        "a/../../outside/file",
        "/etc/passwd",
        "a/\0/file",
        "..\\outside\\file",
        "a//file",
        "./file",
        "a/.",
        f"{RESERVED}/x",
        f"{RESERVED.upper()}/x",
        "x" * 256,
        "/".join(["x" * 200] * 6),
        "a/file\n",
        "\ud800",
    ],
)
def test_a_path_that_leads_elsewhere_is_no_path(root: Path, outside: Path, filepath: str) -> None:
    """Every call refuses it before it touches the disk."""
    store = LocalStore(root)
    before = state_of(outside), sorted(root.rglob("*"))
    calls: list[Callable[[], object]] = [
        lambda: store.get(filepath),
        lambda: store.put(filepath, io.BytesIO(b"data")),
        lambda: store.exists(filepath),
        lambda: store.head(filepath),
        lambda: store.delete(filepath),
        lambda: store.chunk_file_service().initialize_chunk(new_upload(filepath, 4)),
    ]
    for call in calls:
        with pytest.raises(InvalidPath):
            call()
    assert before == (state_of(outside), sorted(root.rglob("*")))
