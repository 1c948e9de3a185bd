"""``webhooks``: what receivers could not be told, and telling them once more."""

from __future__ import annotations

from datetime import UTC, datetime

import click
from rich.table import Table

from chunkferry.errors import ChunkferryError
from chunkferry.moves import Letter
from chunkferry_worker.cli.inspect import span_text
from chunkferry_worker.cli.output import Exit, exit_code, printable
from chunkferry_worker.cli.session import Session, option, with_session


class LetterNotFound(ChunkferryError):
    """There is no such dead letter."""

    code = "letter_not_found"
    http_status = 404

    def __init__(self, target: str) -> None:
        super().__init__(f"no dead letter {target!r}; `chunkferry webhooks` lists them")


@click.command()
@option(
    "--retry",
    "retry",
    multiple=True,
    metavar="LETTER_ID|EVENT_ID|all",
    envvar="CHUNKFERRY_WEBHOOKS_RETRY",
    help="Have these told once more, by a worker. Those that fail are listed again.",
)
@with_session
def webhooks(session: Session, retry: tuple[str, ...]) -> int:
    """List what receivers could not be told (dead letters), or have it told once more."""
    found = session.ledger.letters.dead()
    if retry:
        return _retry(session, found, retry)
    if session.output.as_json:
        for letter in found:
            session.output.result(_record(letter), "")
    elif found:
        session.output.result({}, _table(found))
    else:
        session.output.notice("no dead letters")
    return Exit.OK


def _retry(session: Session, letters: list[Letter], targets: tuple[str, ...]) -> int:
    code = Exit.OK
    chosen: dict[str, Letter] = {}
    for target in targets:
        meant = [
            letter for letter in letters if target in {"all", letter.letter_id, letter.event_id}
        ]
        if not meant and target != "all":
            error = LetterNotFound(target)
            session.output.failure(error)
            code = code or exit_code(error)
        chosen |= {letter.letter_id: letter for letter in meant}
    for letter in chosen.values():
        session.ledger.letters.send_again(letter)
        session.output.result(
            _record(letter), f"{letter.kind}  {printable(letter.upload.filepath)}  is told again"
        )
    return code


def _record(letter: Letter) -> dict[str, object]:
    return {
        "letter_id": letter.letter_id,
        "event_id": letter.event_id,
        "type": letter.kind,
        "upload_id": letter.upload.upload_id,
        "filepath": letter.upload.filepath,
        "receiver": letter.sink,
        "error": letter.error,
        "attempts": letter.attempts,
        "time": letter.time.isoformat(),
    }


def _table(letters: list[Letter]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("LETTER", no_wrap=True)
    table.add_column("EVENT", no_wrap=True)
    table.add_column("PATH", overflow="fold", min_width=12)
    table.add_column("AGE", justify="right", no_wrap=True)
    table.add_column("TRIES", justify="right", no_wrap=True)
    table.add_column("ERROR", overflow="fold", min_width=18)
    now = datetime.now(UTC)
    for letter in letters:
        table.add_row(
            letter.letter_id,
            letter.kind,
            printable(letter.upload.filepath),
            span_text(now - letter.time),
            str(letter.attempts),
            printable(letter.error),
        )
    return table
