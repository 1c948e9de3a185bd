"""What is timed: each command sends one file one way, and prints what that took as JSON.

Each run is a process of its own, so that its CPU time is that of the sender alone. Imports,
connections and clients are made, and one byte is sent, before the clock starts.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import boto3
import click
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from chunkferry import ChunkManager
from chunkferry.parts import MIB
from chunkferry.status import UploadStatusCode

BUCKET: Final = "bench"
#: Longest run, in seconds.
TIMEOUT: Final = 600.0

_SOURCE: Final = click.argument(
    "source", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)


@contextmanager
def _timed() -> Iterator[None]:
    """Print wall and CPU seconds of what happens inside."""
    cpu, wall = time.process_time(), time.monotonic()
    yield
    took = {"seconds": time.monotonic() - wall, "cpu": time.process_time() - cpu}
    click.echo(json.dumps(took))


@click.group()
def main() -> None:
    """Send one file one way, and tell what it took."""


@main.command()
@_SOURCE
@click.argument("endpoint")
@click.option("--single", is_flag=True, help="One part at a time, without boto3's own checksums.")
def direct(source: Path, endpoint: str, *, single: bool) -> None:
    """Send SOURCE to ENDPOINT with boto3's upload_fileobj."""
    config = Config(request_checksum_calculation="when_required") if single else None
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config)
    client.put_object(Bucket=BUCKET, Key="warm", Body=b"x")
    transfer = TransferConfig(use_threads=not single)
    with source.open("rb") as file, _timed():
        client.upload_fileobj(file, BUCKET, "direct", Config=transfer)


@main.command()
@_SOURCE
@click.argument("service")
def ferry(source: Path, service: str) -> None:
    """Send SOURCE through chunkferry, and wait until it is stored in SERVICE."""
    manager = ChunkManager(service=service)
    _put(manager, "warm", io.BytesIO(b"x"), 1)
    with source.open("rb") as file, _timed():
        _put(manager, "ferry", file, source.stat().st_size)


def _put(manager: ChunkManager, name: str, file: BinaryIO, size: int) -> None:
    path = f"{name}-{secrets.token_hex(4)}"
    status = manager.put_with_status(path, size, file).wait(TIMEOUT)
    if status.code is not UploadStatusCode.OK:
        raise click.ClickException(status.message)


@main.command()
@_SOURCE
@click.argument("target", type=click.Path(path_type=Path))
def copy(source: Path, target: Path) -> None:
    """Write SOURCE to TARGET and have it on the disk: what no store in a folder can beat."""
    buffer = memoryview(bytearray(8 * MIB))
    with source.open("rb", 0) as reader, target.open("wb", 0) as writer, _timed():
        while count := reader.readinto(buffer):
            writer.write(buffer[:count])
        os.fsync(writer)


if __name__ == "__main__":
    main()
