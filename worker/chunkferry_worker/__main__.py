"""The console script ``chunkferry``: starts the command line, or says what it needs."""

from __future__ import annotations

import sys

from chunkferry.errors import MissingExtra

#: What only the command line needs; anything else that is missing is a fault of its own.
_NEEDED = frozenset({"click", "rich"})


def main() -> None:
    """Run the command that ``sys.argv`` names, and exit with its code."""
    try:
        from chunkferry_worker import cli  # noqa: PLC0415 - a missing extra is to be named
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in _NEEDED:
            raise
        sys.stderr.write(f"chunkferry: {MissingExtra('the command line', 'worker')}\n")
        sys.exit(2)
    sys.exit(cli.run(sys.argv[1:]))


if __name__ == "__main__":
    main()
