"""``docs/stores/`` says what stores do: held against the code it describes.

``python -m tests.unit.test_store_docs`` writes the tables anew.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chunkferry.services import ChunkStore
from chunkferry.storage import from_url
from chunkferry.storage import url as urls
from chunkferry.storage.azure.options import AzureOptions
from chunkferry.storage.capabilities import capabilities
from chunkferry.storage.gcs.options import GcsOptions
from chunkferry.storage.local.store import LocalOptions
from chunkferry.storage.s3.options import S3Options
from chunkferry.storage.s3.profiles import PROFILES

FOLDER = Path(__file__).parents[2] / "docs/stores"


def signing_folder() -> ChunkStore:
    """A folder with a secret."""
    with tempfile.NamedTemporaryFile() as secret:
        secret.write(b"s" * 32)
        secret.flush()
        return from_url(f"file:///objects?base_url=https://x&secret_file={secret.name}")


#: The columns of the table of abilities.
STORES: dict[str, Callable[[], ChunkStore]] = {
    "`file`": lambda: from_url("file:///objects"),
    "`file`, `base_url`": signing_folder,
    "`s3`": lambda: from_url("s3://bucket"),
    "`gs`": lambda: from_url("gs://bucket"),
    "`az`": lambda: from_url("az://container"),
    "`memory`": lambda: from_url("memory://name"),
}


def abilities_table() -> str:
    """Who can do what."""
    columns = [capabilities(make()) for make in STORES.values()]
    rows = [
        f"| {name} | {' | '.join('✓' if column[name] else '' for column in columns)} |\n"
        for name in columns[0]
    ]
    return f"| | {' | '.join(STORES)} |\n|---|{'---|' * len(STORES)}\n" + "".join(rows)


def options_table(model: type[urls.Options]) -> str:
    """The options of a store's URL."""
    rows = [f"| `{name}` | {field.description} |\n" for name, field in model.model_fields.items()]
    return "| option | meaning |\n|---|---|\n" + "".join(rows)


def profiles_table() -> str:
    """The kinds of S3 servers."""
    head = (
        "| `profile` | server | `checksums` | `conditional_writes` | `addressing_style` "
        "| parts of one size | ETag is an MD5 | from |\n|---|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(_profile_rows())


def _profile_rows() -> Iterator[str]:
    for name, row in PROFILES.items():
        facts = (row.conditional_writes, row.equal_parts, row.md5_etags)
        conditional, equal, md5 = ("yes" if fact else "no" for fact in facts)
        yield (
            f"| `{name}` | {row.title} | `{row.checksums}` | {conditional} "
            f"| `{row.addressing_style}` | {equal} | {md5} | {row.source} |\n"
        )


#: Page, name of the table between its markers, and what it has to be.
TABLES: list[tuple[str, str, Callable[[], str]]] = [
    ("index.md", "abilities", abilities_table),
    ("azure.md", "options", lambda: options_table(AzureOptions)),
    ("gcs.md", "options", lambda: options_table(GcsOptions)),
    ("local.md", "options", lambda: options_table(LocalOptions)),
    ("s3.md", "options", lambda: options_table(S3Options)),
    ("s3.md", "profiles", profiles_table),
]


def markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"


@pytest.mark.parametrize(("page", "name", "table"), TABLES)
def test_the_tables_are_those_of_the_code(page: str, name: str, table: Callable[[], str]) -> None:
    """What a page says of options, profiles and abilities is what the code does."""
    begin, end = markers(name)
    _, _, rest = (FOLDER / page).read_text().partition(begin)
    assert rest.partition(end)[0] == table()


if __name__ == "__main__":
    for page, name, table in TABLES:
        begin, end = markers(name)
        before, _, after = (FOLDER / page).read_text().partition(begin)
        (FOLDER / page).write_text(before + begin + table() + end + after.partition(end)[2])
