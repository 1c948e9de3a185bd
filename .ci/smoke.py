"""What a user gets from the wheel: run with its Python, outside the checkout given as argument."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import os
import pkgutil
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

PACKAGES = ("chunkferry", "chunkferry_worker")
CHECKOUT = Path(sys.argv[1]).resolve()
COMMAND = Path(sys.executable).with_name("chunkferry")
#: Not a multiple of any part size: the last part is short.
SIZE = 20 * 1024 * 1024 + 12345
#: For the whole of the round trip; a hang must not take CI's own limit.
DEADLINE_SECONDS = 120


def check(fact: str, truth: object) -> None:
    """Print the fact, or end with it where it does not hold."""
    if not truth:
        sys.exit(f"NOT TRUE: {fact}")
    sys.stdout.write(f"ok: {fact}\n")
    sys.stdout.flush()


def import_everything() -> None:
    """Import every module of the wheel, none of them from the checkout."""
    for name in PACKAGES:
        package = importlib.import_module(name)
        where = Path(str(package.__file__)).resolve()
        check(f"{name} is not the checkout's: {where}", CHECKOUT not in where.parents)
        modules = [info.name for info in pkgutil.walk_packages(package.__path__, f"{name}.")]
        for module in modules:
            if not module.endswith(".__main__"):
                importlib.import_module(module)
        check(f"{name}: {len(modules)} modules can be imported", modules)
        check(f"{name} is typed", resources.files(name).joinpath("py.typed").is_file())
    scripts = [f for f in resources.files("chunkferry.lua").iterdir() if f.name.endswith(".lua")]
    check(f"{len(scripts)} Lua scripts are in the wheel", scripts)
    page = resources.files("chunkferry.tus").joinpath("page")
    check_page(page.joinpath("index.html").read_text(), page.joinpath("vendor"))


def check_page(html: str, vendor: Traversable) -> None:
    """The page is there, and the library from npm is the one whose digest it names."""
    library = vendor.joinpath("tus.min.js")
    check("the page's upload library is in the wheel", library.is_file())
    digest = base64.b64encode(hashlib.sha384(library.read_bytes()).digest()).decode()
    check(f"the page expects its sha384-{digest}", f'integrity="sha384-{digest}"' in html)
    check("its licences are there", vendor.joinpath("LICENCES.txt").read_text())


@contextmanager
def running(data: Path) -> Iterator[None]:
    """``chunkferry up`` over ``data``: ready on entry, gone with all it started on exit."""
    up = subprocess.Popen(  # noqa: S603 - the command under test
        [COMMAND, "up", "--data", data, "--exit-with-parent"], stdout=subprocess.PIPE, text=True
    )
    timer = threading.Timer(DEADLINE_SECONDS, up.kill)
    timer.start()
    try:
        assert up.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
        lines = iter(up.stdout.readline, "")
        check("`chunkferry up` gets ready", any(line.startswith("ready") for line in lines))
        yield
        up.send_signal(signal.SIGINT)
        up.stdout.read()
        check("`chunkferry up` ends well on Ctrl-C", up.wait() == 0)
    finally:
        timer.cancel()
        up.kill()
        up.wait()
    check("nothing it started is left", not processes_in(data.parent))


def processes_in(folder: Path) -> list[str]:
    """Processes, other than this one, whose working folder lies in ``folder``."""
    left = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            where = (process / "cwd").readlink()
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if where.is_relative_to(folder) and state != "Z" and process.name != str(os.getpid()):
            left.append(process.name)
    return left


def round_trip(folder: Path) -> None:
    """A file goes through stream, worker and store, and is the same afterwards."""
    source = folder / "source.bin"
    source.write_bytes(secrets.token_bytes(SIZE))
    data = folder / "data"
    with running(data):
        put = subprocess.run(  # noqa: S603 - the command under test
            [COMMAND, "put", source, "--as", "a folder/copy.bin", "--json", "--data", data],
            stdout=subprocess.PIPE,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=True,
        )
        answer = json.loads(put.stdout.splitlines()[-1])
        check(f"`chunkferry put` says complete: {answer}", answer["state"] == "complete")
        stored = data / "objects" / "a folder" / "copy.bin"
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (source, stored)]
        check(f"the object has the source's sha256 {digests[0]}", digests[0] == digests[1])


def main() -> None:
    """Run all checks; end with the first fact that does not hold."""
    answer = subprocess.run(  # noqa: S603 - the command under test
        [COMMAND, "--help"], stdout=subprocess.PIPE, text=True, check=True
    )
    check("`chunkferry --help` names `put`", "put" in answer.stdout)
    import_everything()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        round_trip(Path(folder).resolve())
        os.chdir("/")


if __name__ == "__main__":
    main()
