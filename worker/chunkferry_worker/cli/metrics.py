"""``metrics``: backlog and counters in Prometheus' text format, printed once or served."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

import click

from chunkferry.services import Health, Totals
from chunkferry_worker.cli.output import Exit, Output
from chunkferry_worker.cli.session import Session, option, with_session
from chunkferry_worker.cli.supervisor import Signals, Supervisor

_MAX_PORT: Final = 65535


class Address(click.ParamType[tuple[str, int]]):
    """``HOST:PORT``; a colon in the host wants brackets, as in URLs."""

    name = "HOST:PORT"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """The host and the port."""
        if isinstance(value, tuple):
            return value
        host, colon, port = str(value).rpartition(":")
        if not (host and colon and port.isdecimal() and int(port) <= _MAX_PORT):
            self.fail(f"{value!r} is no address such as 127.0.0.1:9464", param, ctx)
        return host.removeprefix("[").removesuffix("]"), int(port)


@click.command()
@option("--listen", type=Address(), help="Serve them here, under /metrics, until Ctrl-C.")
@with_session
def metrics(session: Session, listen: tuple[str, int] | None) -> int:
    """Print backlog and counters for Prometheus, or serve them.

    With --json and without --listen: the backlog as one line of JSON.
    """
    if listen is None:
        _print(session.output, session.health, session.totals)
    else:
        _serve(session.output, session.health, session.totals, *listen)
    return Exit.OK


def _print(output: Output, health: Health, totals: Totals) -> None:
    backlog = health.backlog()
    if output.as_json:
        output.result(asdict(backlog), "")
        return
    from chunkferry.metrics import text  # noqa: PLC0415 - an extra, named where it is missing

    output.result({}, text(backlog, totals.read()).rstrip("\n"))


def _serve(output: Output, health: Health, totals: Totals, host: str, port: int) -> None:
    from chunkferry.metrics import serving  # noqa: PLC0415 - an extra, named where it is missing

    signals = Signals()
    signals.install()
    with serving(health.backlog, host, port, totals=totals.read) as found:
        url = f"http://{f'[{host}]' if ':' in host else host}:{found}/metrics"
        output.result({"event": "ready", "url": url}, f"ready  {url}")
        Supervisor(signals, output.notice).run(lambda: False)
