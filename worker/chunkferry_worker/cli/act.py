"""``cancel`` and ``requeue``: what people do to uploads. Each takes several."""

from __future__ import annotations

from collections.abc import Callable

import click

from chunkferry.errors import ChunkferryError
from chunkferry_worker.cli.output import Exit, exit_code, printable
from chunkferry_worker.cli.session import Session, option, with_session


@click.command()
@option("--service", envvar="CHUNKFERRY_SERVICE", help="The store a PATH is in.")
@click.argument("uploads", metavar="UPLOAD_ID|PATH...", nargs=-1, required=True)
@with_session
def cancel(session: Session, uploads: tuple[str, ...], service: str | None) -> int:
    """Have uploads removed, here and at their store."""
    return _each(session, uploads, service, session.manager.cancel)


@click.command()
@option("--service", envvar="CHUNKFERRY_SERVICE", help="The store a PATH is in.")
@click.argument("uploads", metavar="UPLOAD_ID|PATH...", nargs=-1, required=True)
@with_session
def requeue(session: Session, uploads: tuple[str, ...], service: str | None) -> int:
    """Give failed uploads another chance, from where they stopped."""
    return _each(session, uploads, service, session.manager.requeue)


def _each(
    session: Session, targets: tuple[str, ...], service: str | None, act: Callable[[str], None]
) -> int:
    """Do it to each of them, whatever becomes of the others; return the first error's code."""
    code = Exit.OK
    for target in targets:
        try:
            upload_id = session.find(target, service).upload_id
            act(upload_id)
            upload = session.manager.get(upload_id)
        except ChunkferryError as exc:
            session.output.failure(exc)
            code = code or exit_code(exc)
        else:
            session.output.result(
                {
                    "upload_id": upload_id,
                    "filepath": upload.filepath,
                    "state": upload.state.value,
                },
                f"{printable(upload.filepath)}  {upload.state}  {upload_id}",
            )
    return code
