"""``ls``, ``show`` and ``watch``: how uploads stand. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import click
from rich.table import Table
from rich.text import Text

from chunkferry.errors import ChunkferryError
from chunkferry.state import State
from chunkferry.status import UploadStatus, UploadStatusCode
from chunkferry.upload import ChunkUpload
from chunkferry_worker.cli.output import (
    WIDE,
    Exit,
    error_record,
    printable,
    size_text,
    upload_record,
)
from chunkferry_worker.cli.session import Session, option, with_session

_COLOURS = {
    State.COMPLETE: "green",
    State.FAILED: "red",
    State.ABORTING: "yellow",
    State.EXPIRED: "yellow",
    State.CANCELLED: "yellow",
}


@click.command()
@option("--state", type=click.Choice([state.value for state in State]), help="Only this state.")
@option("--service", envvar="CHUNKFERRY_SERVICE", help="Only uploads to this store.")
@option(
    "--all",
    "show_all",
    is_flag=True,
    envvar="CHUNKFERRY_LS_ALL",
    help="Also those that ended a moment ago.",
)
@with_session
def ls(session: Session, state: str | None, service: str | None, show_all: bool) -> None:
    """List the uploads that have not ended."""
    wanted = State(state) if state else None
    uploads = [
        upload
        for upload in session.manager.list_uploads(state=wanted, service=service)
        if show_all or wanted or not upload.has_ended
    ]
    uploads.sort(key=lambda upload: upload.created_at)
    if session.output.as_json:
        for upload in uploads:
            session.output.result(upload_record(upload), "")
    elif uploads:
        session.output.result({}, _table(uploads, wide=session.output.out.width >= WIDE))
    else:
        session.output.notice("no uploads")


@click.command()
@option("--service", envvar="CHUNKFERRY_SERVICE", help="The store a PATH is in.")
@click.argument("upload", metavar="UPLOAD_ID|PATH")
@with_session
def show(session: Session, upload: str, service: str | None) -> None:
    """Show all that is known of one upload."""
    found = session.find(upload, service)
    session.output.result(upload_record(found), _details(found))


@click.command()
@option("--service", envvar="CHUNKFERRY_SERVICE", help="The store a PATH is in.")
@option("--after", help="Begin after the news with this event id; 0 for all that are kept.")
@click.argument("upload", metavar="UPLOAD_ID|PATH")
@with_session
def watch(session: Session, upload: str, service: str | None, after: str | None) -> int:
    """Follow one upload until it ends; 0 if it is complete then."""
    upload_id = session.find(upload, service).upload_id
    code = Exit.FAILED
    for status in session.manager.watch(upload_id, after):
        session.output.result(_status_record(upload_id, status), _status_line(status))
        if status.code is UploadStatusCode.OK:
            code = Exit.OK
    return code


def _status_record(upload_id: str, status: UploadStatus) -> dict[str, object]:
    error = status.error
    return {
        "upload_id": upload_id,
        "event_id": status.event_id,
        "code": status.code.value,
        "message": status.message,
        "state": status.state,
        "received": status.received,
        "stored": status.uploaded,
        "size": status.total,
        "error": error_record(error.code, str(error), retryable=error.retryable)
        if isinstance(error, ChunkferryError)
        else None,
    }


def _status_line(status: UploadStatus) -> Text:
    total = size_text(status.total)
    line = Text.assemble(
        _state_text(status.state),
        f"  {size_text(status.received)} received, {size_text(status.uploaded)} stored of {total}",
    )
    if status.is_last:
        line.append(f"  {printable(status.message)}")
    return line


def _table(uploads: Iterable[ChunkUpload], *, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("PATH", overflow="fold", min_width=12)
    table.add_column("STATE", no_wrap=True)
    if wide:
        table.add_column("SERVICE", no_wrap=True)
        table.add_column("AGE", justify="right", no_wrap=True)
        table.add_column("RECEIVED", justify="right", no_wrap=True)
    table.add_column("STORED", justify="right", no_wrap=True)
    table.add_column("SIZE", justify="right", no_wrap=True)
    table.add_column("UPLOAD", overflow="fold", min_width=18)
    now = datetime.now(UTC)
    for upload in uploads:
        more = [
            printable(upload.service),
            span_text(now - upload.created_at),
            size_text(upload.received),
        ]
        table.add_row(
            printable(upload.filepath),
            _state_text(upload.state),
            *(more if wide else []),
            size_text(upload.stored),
            size_text(upload.length),
            upload.upload_id,
        )
    return table


def _details(upload: ChunkUpload) -> Table:
    parts = "?" if upload.chunks is None else str(upload.chunks)
    left = upload.expiry - datetime.now(UTC)
    rows: dict[str, str | Text] = {
        "upload": upload.upload_id,
        "path": upload.filepath,
        "service": upload.service,
        "state": _state_text(upload.state),
        "size": _bytes(upload.length),
        "received": _bytes(upload.received),
        "stored": _bytes(upload.stored),
        "parts": f"{parts} of {size_text(upload.grid.part_size)}",
        "created": f"{upload.created_at:%Y-%m-%d %H:%M:%S} UTC",
        "expires": "" if upload.has_ended else f"in {span_text(left)} of silence",
        "held by": upload.holder,
        "tries": str(upload.attempts) if upload.attempts else "",
        "type": upload.content_type,
        "error": f"{upload.error} ({upload.error_code})" if upload.error else "",
        **{f"meta {name}": value for name, value in upload.metadata.items()},
    }
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        if value:
            shown = value if isinstance(value, Text) else printable(value)
            table.add_row(printable(name), shown)
    return table


def _bytes(size: int | None) -> str:
    return "not known yet" if size is None else f"{size_text(size)} ({size:,} B)"


def _state_text(state: str) -> Text:
    return Text(state, style=_COLOURS.get(State(state), "cyan") if state else "")


def span_text(span: timedelta) -> str:
    """A span as people say it, in its largest unit: ``3 h``."""
    seconds = max(0, int(span.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
