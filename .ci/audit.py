"""Looks up every locked package in the advisory database; fails on any advisory.

A package that cannot be looked up (the database is out of reach, or a mirror without one) does not
fail it, but is counted out loud: a run that audited nothing proves nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

#: Advisories that do not concern this project: id -> why, in words. The only place to name any.
IGNORED: Final[dict[str, str]] = {}

#: Longest wait for the database, in seconds for each package.
TIMEOUT: Final = "15"


def main(lock: str) -> int:
    """Audit the file ``lock``; the exit code of the process."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes"]
    command += ["--progress-spinner", "off", "--timeout", TIMEOUT, "--format", "json", "-r", lock]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    try:
        packages: list[dict[str, Any]] = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError):
        sys.stderr.write(ended.stderr)
        sys.stdout.write(f"audit: NOTHING was audited: pip-audit ended with {ended.returncode}\n")
        # Without an answer there is no finding; but it must have read the lock.
        return 0 if _is_offline(ended.stderr) else 1
    return _judge(packages)


def _judge(packages: list[dict[str, Any]]) -> int:
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    found = [
        (advisory["id"], f"{package['name']} {package['version']}", advisory["fix_versions"])
        for package in packages
        for advisory in package.get("vulns", [])
    ]
    for advisory, package, fixed in found:
        reason = IGNORED.get(advisory)
        verdict = f"ignored: {reason}" if reason else f"fixed in {', '.join(fixed) or 'none yet'}"
        sys.stdout.write(f"audit: {advisory} in {package}: {verdict}\n")
    stale = sorted(set(IGNORED) - {advisory for advisory, _, _ in found}) if not skipped else []
    for advisory in stale:
        sys.stdout.write(f"audit: {advisory} is ignored, but no longer found: remove it\n")
    audited = len(packages) - len(skipped)
    sys.stdout.write(f"audit: {audited} of {len(packages)} packages looked up\n")
    if skipped:
        sys.stdout.write(
            f"audit: WARNING: {len(skipped)} packages could NOT be audited: the database does not"
            f" know them, or cannot be reached from here: {', '.join(skipped)}\n"
        )
    return int(bool(stale) or any(advisory not in IGNORED for advisory, _, _ in found))


def _is_offline(text: str) -> bool:
    return any(word in text for word in ("ConnectionError", "Could not connect", "Timeout"))


if __name__ == "__main__":
    sys.exit(main(str(Path(__file__).parents[1] / "requirements.lock")))
