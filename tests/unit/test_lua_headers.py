"""The scripts' headers against their bodies, the state table, and the page that explains them."""

from __future__ import annotations

import inspect
import re
from importlib import resources
from pathlib import Path

import pytest

from chunkferry import keys, lua
from chunkferry.state import TERMINAL, TRANSITIONS, Move, State

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
PRELUDE = (resources.files(lua) / "prelude.lua").read_text()
UPLOAD = f"7-{'0' * 32}"

every_script = pytest.mark.parametrize("name", lua.names())


def functions_with_keys() -> dict[str, set[str]]:
    """Functions of the prelude that are given ``key`` -> the names they use of it."""
    functions = re.findall(
        r"^local function (\w+)\((.*?)\)\n(.*?)^end", PRELUDE, re.DOTALL | re.MULTILINE
    )
    found: dict[str, set[str]] = {}
    for name, parameters, body in functions:
        if "key" in parameters.split(", "):
            found[name] = set(re.findall(r"\bkey\.(\w+)", body))
            # A function knows only those above it.
            for other in re.findall(r"\b(\w+)\(key,", body):
                found[name] |= found[other]
    return found


def code(script: lua.Script) -> str:
    """The body without comments."""
    return re.sub(r"--.*", "", script.body)


def used_keys(script: lua.Script) -> set[str]:
    """Key names that the body uses, itself or through the prelude."""
    used = set(re.findall(r"\bkey\.(\w+)", code(script)))
    for name, names in functions_with_keys().items():
        if re.search(rf"\b{name}\(key,", code(script)):
            used |= names
    return used


def answers(script: lua.Script) -> list[list[str]]:
    """The elements of each ``return {…}`` in the body, as written."""
    tables = re.findall(r"\breturn \{(.*?)\}", code(script), re.DOTALL)
    return [[element.strip() for element in re.split(r",(?![^(]*\))", table)] for table in tables]


@every_script
def test_keys_are_those_of_the_header(name: str) -> None:
    """Every key is used, and no other."""
    script = lua.load(name)
    assert used_keys(script) == set(script.keys)


@every_script
def test_arguments_are_those_of_the_header(name: str) -> None:
    """Every argument is used, and no other."""
    script = lua.load(name)
    assert set(re.findall(r"\barg\.(\w+)", code(script))) == set(script.args)


@every_script
def test_nothing_is_counted_by_hand(name: str) -> None:
    """Keys and arguments have names; positions are the loader's business."""
    body = code(lua.load(name))
    assert re.findall(r"\b(?:KEYS|ARGV)\b", body + PRELUDE) == []


@every_script
def test_answers_are_those_of_the_header(name: str) -> None:
    """With as many elements as it says."""
    text = (resources.files(lua) / f"{name}.lua").read_text()
    header = re.search(r"^-- RETURNS\s+(.+)$", text, re.MULTILINE)
    assert header is not None
    declared = {(form.split()[0], len(form.split())) for form in header[1].split(" | ")}
    given = {(answer[0].strip("'"), len(answer)) for answer in answers(lua.load(name))}
    assert given == declared


@every_script
def test_every_return_is_an_answer(name: str) -> None:
    """A literal word and then facts: nothing a test could overlook."""
    script = lua.load(name)
    found = answers(script)
    assert len(re.findall(r"\breturn\b", code(script))) == len(found)
    assert [answer[0] for answer in found if not re.fullmatch(r"'\w+'", answer[0])] == []


def test_moves_are_the_state_table() -> None:
    """What the headers say together is the table, no more and no less."""
    moves = {
        (State(start), Move(name)): frozenset(map(State, ends))
        for name in lua.names()
        for start, ends in lua.load(name).moves.items()
    }
    assert moves == dict(TRANSITIONS)


def test_states_in_scripts_are_states() -> None:
    """A typing error would make a state that nothing leaves."""
    text = PRELUDE + "".join(code(lua.load(name)) for name in lua.names())
    words = re.findall(
        r"(?:state|reason) (?:==|~=|=) '(\w+)'"
        r"|state = [^\n']*and '(\w+)' or '(\w+)'"
        r"|\bput\(key\.intake, 'state', '(\w+)'"
        r"|\bturn_to\(key, .*'(\w+)'\)"
        r"|\babort\(key, .*'(\w+)', ",
        text,
    )
    found = {word for group in words for word in group if word}
    assert found <= set(State)
    assert {"receiving", "completing", "aborting", "expired", "cancelled"} <= found


def test_the_prelude_knows_which_states_are_the_end() -> None:
    """Its ``ended`` names those that the table does."""
    body = re.search(r"^local function ended.*?^end", PRELUDE, re.DOTALL | re.MULTILINE)
    assert body is not None
    assert set(re.findall(r"'(\w+)'", body[0])) == TERMINAL


def test_only_new_uploads_are_refused_by_a_full_redis() -> None:
    """Every other script frees memory or is needed to."""
    first_lines = {name: lua.load(name).source.partition("\n")[0] for name in lua.names()}
    refused = {name for name, line in first_lines.items() if "allow-oom" not in line}
    assert refused == {"create"}


def test_a_script_takes_the_names_of_its_header() -> None:
    """A missing or unknown one is a mistake in the caller."""
    script = lua.load("begin_complete")
    with pytest.raises(TypeError, match="begin_complete takes keys"):
        script.command({"intake": "i"}, {"nonce": "n", "whole": 0}, whole=False)
    names = {"work": "w", "telling": "t", "intake": "i"}
    args: dict[str, str | int] = {"whole": 0, "nonce": "n", "upload_id": "u"}
    command = script.command(names, args, whole=False)
    assert command == ("EVALSHA", script.sha, 3, "i", "w", "t", "u", "n", 0)


# --- the page ---------------------------------------------------------------------------------


def drawn() -> dict[tuple[str, str], set[str]]:
    """The arrows of the diagram: (from, to) -> moves."""
    arrows = re.findall(r"^    (\w+) --> (\w+): (.+)$", PAGE, re.MULTILINE)
    return {(start, end): set(label.split(", ")) for start, end, label in arrows}


def in_table() -> dict[tuple[str, str], set[str]]:
    """The state table in the same form."""
    arrows: dict[tuple[str, str], set[str]] = {}
    for (start, move), ends in TRANSITIONS.items():
        for end in ends:
            arrows.setdefault((start.value, end.value), set()).add(move.value)
    return arrows


def test_the_diagram_is_the_state_table() -> None:
    """Every change of state is drawn, and no other."""
    changes = {arrow: moves for arrow, moves in in_table().items() if arrow[0] != arrow[1]}
    assert drawn() == changes


def test_the_page_names_what_leaves_a_state_as_it_is() -> None:
    """The rest of the table."""
    rows = re.findall(r"^\| `(\w+)` \| ([a-z_, ]+) \|$", PAGE, re.MULTILINE)
    stays = {start: moves for (start, end), moves in in_table().items() if start == end}
    assert {start: set(moves.split(", ")) for start, moves in rows} == stays


def test_the_diagram_begins_and_ends() -> None:
    """At creation, and in the states that nothing leaves."""
    ends = re.findall(r"^    (\w+) --> \[\*\]$", PAGE, re.MULTILINE)
    starts = re.findall(r"^    \[\*\] --> (\w+): create", PAGE, re.MULTILINE)
    assert (set(ends), set(starts)) == (set(TERMINAL), {"receiving", "received"})


def test_the_page_lists_all_keys() -> None:
    """As ``keys`` describes them."""
    expected = {
        ("cf:layout", "STRING", "how the data is laid out; permanent"),
        (
            "cf:swept",
            "HASH",
            "when a sweep last looked, and until when silence is forgiven; permanent",
        ),
        ("cf:tally", "HASH", "what all processes have counted, for metrics alone; permanent"),
        ("cf:dead_letters", "STREAM", "what could not be told, capped"),
        ("cf:letters_again", "STREAM", "dead letters that are to be sent once more, capped"),
    }
    samples = {"upload_id": UPLOAD, "shard": 7, "service": "s", "filepath": "f", "name": "p"}
    digests = {keys.path_digest("s", "f"), keys.principal("p").rpartition(":")[2]}
    for _, function in inspect.getmembers(keys, inspect.isfunction):
        if text := re.match(r"([A-Z]+): (.*)\.$", function.__doc__ or "", re.DOTALL):
            names = inspect.signature(function).parameters
            key = function(**{name: samples[name] for name in names})
            shown = key.replace("{cf:7}", "{cf:<shard>}").replace(UPLOAD, "<upload>")
            shown = re.sub("|".join(digests), "<digest>", shown)
            expected.add((shown, text[1], text[2]))
    rows = re.findall(r"^\| `(\S*cf:\S+)` \| ([A-Z]+) \| (.*) \|$", PAGE, re.MULTILINE)
    assert set(rows) == expected
