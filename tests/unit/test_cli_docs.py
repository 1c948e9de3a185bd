"""``docs/cli.md`` says what the command line does: held against the code it describes.

``python -m tests.unit.test_cli_docs`` writes the table of settings anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import click
import pytest

from chunkferry.config import Settings
from chunkferry_worker import cli
from chunkferry_worker.cli.output import Exit

PAGE = Path(__file__).parents[2] / "docs/cli.md"
BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->\n"

COMMANDS = sorted(cli.main.commands)


def settings_table() -> str:
    """The settings as a Markdown table."""
    return "| variable | default | meaning |\n|---|---|---|\n" + "".join(_rows())


def _rows() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        value = field.get_default(call_default_factory=True, validated_data={})
        match value:
            case dict():
                text = f"`{json.dumps(value)}`"
            case timedelta():
                text = f"`{int(value.total_seconds())}` s"
            case "":
                text = ""
            case _:
                text = f"`{value}`"
        yield f"| `CHUNKFERRY_{name.upper()}` | {text} | {field.description} |\n"


def options(command: str) -> list[click.Option]:
    return [p for p in cli.main.commands[command].params if isinstance(p, click.Option)]


def test_the_table_of_settings_is_that_of_the_code() -> None:
    """Each setting is documented with its variable, default and meaning."""
    _, _, rest = PAGE.read_text().partition(BEGIN)
    assert rest.partition(END)[0] == settings_table()


def test_the_exit_codes_are_those_of_the_code() -> None:
    """Each exit code is documented with the meaning that --help gives."""
    page = PAGE.read_text()
    assert [code for code in Exit if f"| {code.value} | {code.meaning} |" not in page] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_and_option_is_documented(command: str) -> None:
    """Each command has a section, each option a mention."""
    page = PAGE.read_text()
    assert f"## `chunkferry {command}" in page
    missing = [o.opts[0] for o in options(command) if o.opts[0] not in page]
    assert missing == []


@pytest.mark.parametrize("command", COMMANDS)
def test_each_option_shows_a_variable_named_after_it(command: str) -> None:
    """Whatever can be given as an option can be set in the environment, as --help says."""
    with click.Context(cli.main, info_name="chunkferry", **cli.main.context_settings) as group:
        context = click.Context(cli.main.commands[command], group, command)
        text = "".join(cli.main.commands[command].get_help(context).split())
    for option in options(command):
        name = option.opts[0].removeprefix("--").replace("-", "_").upper()
        variables = {f"CHUNKFERRY_{name}", f"CHUNKFERRY_{command.upper()}_{name}"}
        assert any(f"[envvar:{variable}" in text for variable in variables), option.opts


if __name__ == "__main__":
    before, _, after = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + settings_table() + END + after.partition(END)[2])
