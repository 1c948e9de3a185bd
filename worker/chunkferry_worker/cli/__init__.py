"""The command line ``chunkferry``: the group of its commands, and how any of them ends.

Whatever goes wrong becomes one sentence on stderr and a documented exit code, here and nowhere
else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any, Final

import click

from chunkferry.errors import ChunkferryError
from chunkferry_worker.cli.act import cancel, requeue
from chunkferry_worker.cli.doctor import doctor
from chunkferry_worker.cli.inspect import ls, show, watch
from chunkferry_worker.cli.metrics import metrics
from chunkferry_worker.cli.output import Exit, Output, exit_code
from chunkferry_worker.cli.put import put
from chunkferry_worker.cli.reconcile import reconcile
from chunkferry_worker.cli.up import up
from chunkferry_worker.cli.webhooks import webhooks

_EPILOG: Final = "\b\nExit codes:\n" + "\n".join(
    f"  {code.value:<3}  {code.meaning}" for code in Exit
)


@click.group(
    epilog=_EPILOG,
    context_settings={
        "auto_envvar_prefix": "CHUNKFERRY",
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    },
)
@click.version_option(version("chunkferry"), message="%(prog)s %(version)s")
def main() -> None:
    """Ferry large files, chunk by chunk, into a store, and see how they are doing."""


for _command in (up, put, ls, show, watch, cancel, requeue, reconcile, doctor, metrics, webhooks):
    _command.epilog = _EPILOG
    main.add_command(_command)


def run(args: Sequence[str]) -> int:
    """Run the command that ``args`` name; return the exit code."""
    # Whether output is JSON has to be known even where the arguments cannot be understood.
    as_json = "--json" in args or os.environ.get("CHUNKFERRY_JSON", "") not in {"", "0", "false"}
    output = Output(as_json=as_json)
    try:
        return _run(args, output)
    except BrokenPipeError:
        # The reader has had enough. What is buffered must not fail again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED


def _run(args: Sequence[str], output: Output) -> int:
    try:
        answer: Any = main.main(args=list(args), prog_name="chunkferry", standalone_mode=False)
    except ChunkferryError as exc:
        output.failure(exc)
        return exit_code(exc)
    except click.UsageError as exc:
        if not output.as_json and exc.ctx is not None:
            output.notice(exc.ctx.get_usage())
        output.error("usage", exc.format_message())
        return Exit.USAGE
    except click.ClickException as exc:
        output.error("usage", exc.format_message())
        return Exit.USAGE
    except (KeyboardInterrupt, click.Abort):
        with suppress(OSError):
            output.error("interrupted", "interrupted")
        return Exit.INTERRUPTED
    return answer if isinstance(answer, int) else Exit.OK
