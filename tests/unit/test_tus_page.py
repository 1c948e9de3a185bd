"""``docs/tus.md``: the sentences of tus 1.0.0, each with the tests that show it.

The table is made of the tests' docstrings: ``python -m tests.unit.test_tus_page`` writes it anew.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chunkferry.tus import protocol

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/tus.md"
BEGIN, END = "<!-- sentences -->\n", "<!-- end of sentences -->\n"
FILES = sorted((ROOT / "tests/integration").glob("test_tus_*.py"))
#: "Section, MUST: what is so."
SENTENCE = re.compile(r"([A-Z][\w -]+), ((?:MUST|SHOULD|MAY|SHALL)(?: NOT)?): (.+)", re.DOTALL)


def functions_of(file: Path) -> Iterator[ast.FunctionDef]:
    """The tests of a module, in order."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node


def sentence_of(test: ast.FunctionDef) -> re.Match[str] | None:
    """What a test says it shows."""
    return SENTENCE.fullmatch(ast.get_docstring(test) or "")


def table() -> str:
    """All sentences, by module."""
    rows = ["| section | | sentence | test |", "|---|---|---|---|"]
    for file in FILES:
        for test in functions_of(file):
            if found := sentence_of(test):
                said = " ".join(found[3].split())
                rows.append(f"| {found[1]} | {found[2]} | {said} | `{file.stem}::{test.name}` |")
    return "\n".join([*rows, ""])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_test_names_its_sentence(file: Path) -> None:
    """Its section, how strong it is, and what is so."""
    assert [test.name for test in functions_of(file) if sentence_of(test) is None] == []


def test_the_page_has_all_sentences() -> None:
    """As they stand in the tests."""
    found = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert found == table(), "python -m tests.unit.test_tus_page"


def test_the_page_names_all_extensions() -> None:
    """Each has a row."""
    about = protocol.about_server(max_size=None, concatenates=True, trailers=True)
    rows = re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(about["Tus-Extension"].split(","))


if __name__ == "__main__":
    before, _, after = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + after.partition(END)[2])
