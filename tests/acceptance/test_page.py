"""The page at ``/`` of ``chunkferry up``, as somebody with a browser uses it."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Route, expect
from tests.acceptance.console import Console, Up, sha256
from tests.servers.browser import PATIENCE, Screen
from tests.waiting import wait_until

from chunkferry.parts import MIB

#: What a throttled browser sends in a second: 30 MiB take long enough to be interrupted.
SLOW = 6.0

expect.set_options(timeout=PATIENCE)


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return Console(tmp_path)


@pytest.fixture
def up(console: Console) -> Iterator[Up]:
    with console.up("--listen", "127.0.0.1:0", "--workers", "1") as running:
        yield running


def address(up: Up) -> str:
    """Where the page is."""
    found = re.search(r"http://\S+", up.out.read_text())
    assert found is not None
    return found[0]


def listed(up: Up) -> list[dict[str, Any]]:
    """What the list shows."""
    uploads: list[dict[str, Any]] = httpx.get(f"{address(up)}/api/uploads").json()["uploads"]
    return uploads


def stored(console: Console, up: Up) -> str:
    """Digest of the only upload's object."""
    (upload,) = listed(up)
    return sha256(console.folder / "data/objects" / upload["filepath"])


def card(screen: Screen, name: str) -> Locator:
    """The card of a file."""
    return screen.page.locator(".transfer", has=screen.page.get_by_text(name, exact=True))


def row(screen: Screen, name: str) -> Locator:
    """The row of an upload."""
    return screen.page.locator("tbody tr", has=screen.page.get_by_text(name, exact=True))


def phase(screen: Screen, name: str, expected: str) -> None:
    """Wait until a file's transfer is in this phase."""
    expect(card(screen, name)).to_have_attribute("data-phase", expected)


def received(screen: Screen, name: str) -> float:
    """Bytes that the card says have arrived."""
    value: float = card(screen, name).locator("progress.received").evaluate("bar => bar.value")
    return value


def half_sent(screen: Screen, up: Up, file: Path) -> None:
    """Begin to send a file, slowly, until the server has some of it."""
    screen.open(address(up))
    screen.throttle(SLOW)
    screen.page.set_input_files("#files", file)
    phase(screen, file.name, "sending")
    wait_until(lambda: any(upload["received"] > 3 * MIB for upload in listed(up)), 30)


def choose_again(screen: Screen, file: Path) -> None:
    """Give an interrupted transfer its file."""
    with screen.page.expect_file_chooser() as chooser:
        card(screen, file.name).get_by_role("button", name="Choose the file again").click()
    chooser.value.set_files(file)


def test_a_file_is_paused_resumed_and_stored(console: Console, up: Up, screen: Screen) -> None:
    """Both bars fill, the list says complete, and the object has the file's bytes."""
    file = console.file("holiday film.mp4", 30 * MIB)
    half_sent(screen, up, file)
    card(screen, file.name).get_by_role("button", name="Pause").click()
    phase(screen, file.name, "paused")
    begun = len(screen.appends())
    screen.keep("paused-light")
    screen.keep("paused-dark", scheme="dark")
    assert 0 < listed(up)[0]["received"] < 30 * MIB
    assert len(screen.appends()) == begun
    card(screen, file.name).get_by_role("button", name="Resume").click()
    phase(screen, file.name, "complete")
    expect(card(screen, file.name).locator(".share")).to_have_text(["100 %", "100 %"])
    expect(row(screen, file.name).locator(".badge")).to_have_text("complete")
    assert stored(console, up) == sha256(file)
    assert screen.complaints == []
    assert screen.hosts() == {address(up).removeprefix("http://")}
    screen.keep("complete-light")


def test_an_upload_goes_on_after_a_reload(console: Console, up: Up, screen: Screen) -> None:
    """Its card is there again; with the file it goes on where it was, as the same upload."""
    file = console.file("film", 30 * MIB)
    half_sent(screen, up, file)
    screen.page.reload()
    phase(screen, file.name, "interrupted")
    expect(card(screen, file.name).locator("progress.received")).not_to_have_js_property("value", 0)
    screen.keep("interrupted-narrow", scheme="dark", width=320)
    seen = len(screen.appends())
    choose_again(screen, file)
    phase(screen, file.name, "complete")
    assert int(screen.appends()[seen].headers["upload-offset"]) > 3 * MIB
    assert stored(console, up) == sha256(file)
    screen.page.reload()
    expect(row(screen, file.name).locator(".badge")).to_have_text("complete")
    assert card(screen, file.name).count() == 0


def test_an_upload_goes_on_after_the_tab_has_crashed(
    console: Console, up: Up, screen: Screen
) -> None:
    """Another tab knows of it."""
    file = console.file("film", 30 * MIB)
    half_sent(screen, up, file)
    screen.crash()
    after = Screen(screen.page.context.new_page())
    after.open(address(up))
    phase(after, file.name, "interrupted")
    choose_again(after, file)
    phase(after, file.name, "complete")
    assert stored(console, up) == sha256(file)


def test_another_file_is_not_taken_for_the_interrupted_one(
    console: Console, up: Up, screen: Screen
) -> None:
    """A file that has changed would be half the old and half the new one."""
    file = console.file("film", 30 * MIB)
    half_sent(screen, up, file)
    screen.page.reload()
    os.utime(file, (1, 1))
    choose_again(screen, file)
    expect(screen.page.locator("#trouble")).to_contain_text("not the file that was being sent")
    phase(screen, file.name, "interrupted")


def test_the_death_of_the_server_is_lived_through(console: Console, up: Up, screen: Screen) -> None:
    """Killed in the middle and started again, it goes on without anybody's help."""
    file = console.file("film", 30 * MIB)
    half_sent(screen, up, file)
    (server,) = console.alive(command="chunkferry.tus.serve")
    os.kill(server, signal.SIGKILL)
    phase(screen, file.name, "complete")
    assert stored(console, up) == sha256(file)
    assert server not in console.alive(command="chunkferry.tus.serve")
    expect(screen.page.locator("#connection")).to_have_attribute("data-state", "on")
    expect(row(screen, file.name).locator(".badge")).to_have_text("complete")


def test_an_upload_is_cancelled_from_the_list(console: Console, up: Up, screen: Screen) -> None:
    """After a question; the card says so too, and nothing is left at the store."""
    file = console.file("film", 30 * MIB)
    half_sent(screen, up, file)
    row(screen, file.name).get_by_role("button", name="Cancel").click()
    screen.keep("question-dark", scheme="dark")
    screen.page.get_by_role("button", name="Keep it").click()
    phase(screen, file.name, "sending")
    row(screen, file.name).get_by_role("button", name="Cancel").click()
    screen.page.get_by_role("button", name="Cancel upload").click()
    phase(screen, file.name, "cancelled")
    expect(row(screen, file.name).locator(".badge")).to_have_text("cancelled")
    objects = console.folder / "data/objects"
    wait_until(lambda: not [path for path in objects.rglob("*") if path.is_file()])


def test_what_was_removed_elsewhere_can_be_cancelled(
    console: Console, up: Up, screen: Screen
) -> None:
    """Nobody is told of a failure where there is nothing left to remove."""
    file = console.file("film", 30 * MIB)
    half_sent(screen, up, file)

    def answer(route: Route) -> None:
        if route.request.method == "DELETE":
            route.fulfill(status=410)
        else:
            route.continue_()

    screen.page.route("**/files/*", answer)
    card(screen, file.name).get_by_role("button", name="Cancel").click()
    screen.page.get_by_role("button", name="Cancel upload").click()
    phase(screen, file.name, "cancelled")
    expect(screen.page.locator("#trouble")).to_be_hidden()


def test_a_hostile_filename_is_only_text(console: Console, up: Up, screen: Screen) -> None:
    """It is shown as it is, and runs nothing."""
    name = "<img src=x onerror=alert(1)>&amp;\u202egpj.exe"
    screen.open(address(up))
    screen.page.on("dialog", lambda dialog: screen.complaints.append(dialog.message))
    screen.page.set_input_files("#files", console.file(name, 1000))
    phase(screen, name, "complete")
    expect(row(screen, name).locator(".badge")).to_have_text("complete")
    assert screen.page.locator("main img").count() == 0
    assert screen.complaints == []


def test_dropped_files_are_sent(console: Console, up: Up, screen: Screen) -> None:
    """Wherever on the page they are let go, which never shows them in place of the page."""
    screen.open(address(up))
    expect(screen.page.locator("#sending")).to_be_visible()
    script = """() => {
        const files = new DataTransfer();
        for (const name of ["one", "two"]) files.items.add(new File(["bytes of it"], name));
        return files;
    }"""
    carried = {"dataTransfer": screen.page.evaluate_handle(script)}
    for event in ("dragover", "drop"):
        over = screen.page.locator("#drop.over").count()
        screen.page.dispatch_event("#listing", event, carried)
    assert over == 1
    assert screen.page.locator("#drop.over").count() == 0
    for name in ("one", "two"):
        phase(screen, name, "complete")
    assert sorted(upload["filename"] for upload in listed(up)) == ["one", "two"]


def test_an_empty_file_is_stored(console: Console, up: Up, screen: Screen) -> None:
    """It has nothing to send, and is complete all the same."""
    screen.open(address(up))
    screen.page.set_input_files("#files", console.file("empty", 0))
    phase(screen, "empty", "complete")


def test_more_files_than_are_sent_at_once_wait_for_their_turn(
    console: Console, up: Up, screen: Screen
) -> None:
    """All arrive in the end."""
    files = [console.file(f"file {number}", MIB) for number in range(8)]
    screen.open(address(up))
    screen.throttle(SLOW)
    screen.page.set_input_files("#files", files)
    expect(screen.page.locator(".transfer[data-phase=waiting]")).not_to_have_count(0)
    expect(screen.page.locator(".transfer[data-phase=complete]")).to_have_count(8)
    assert {upload["state"] for upload in listed(up)} == {"complete"}


def test_the_keyboard_is_enough(console: Console, up: Up, screen: Screen) -> None:
    """Choose, pause, resume and cancel, with Tab, Enter and what has the focus."""
    file = console.file("film", 30 * MIB)
    screen.open(address(up))
    screen.throttle(SLOW)
    # Playwright turns a chooser away from the screen only once somebody listens, and pressing a
    # key does not wait for that.
    screen.page.on("filechooser", lambda _: None)
    expect(screen.page.locator("#sending")).to_be_visible()
    focused = screen.page.locator(":focus")

    def tab_to(name: str) -> None:
        for _ in range(20):
            screen.page.keyboard.press("Tab")
            if focused.count() and name in json.dumps(focused.evaluate(_NAME)):
                return
        pytest.fail(f"Tab does not get to {name!r}")

    tab_to("Choose files")
    screen.keep("focus-light")
    with screen.page.expect_file_chooser() as chooser:
        screen.page.keyboard.press("Enter")
    chooser.value.set_files(file)
    tab_to("Pause: film")
    screen.page.keyboard.press("Enter")
    phase(screen, file.name, "paused")
    # The focus stays where the work is: the button in its place has it.
    expect(focused).to_have_accessible_name("Resume: film")
    screen.page.keyboard.press("Enter")
    phase(screen, file.name, "sending")
    tab_to("Cancel: film")
    screen.page.keyboard.press("Enter")
    expect(focused).to_have_accessible_name("Keep it")
    tab_to("Cancel upload")
    screen.page.keyboard.press("Enter")
    phase(screen, file.name, "cancelled")


#: What a screen reader would say of an element, more or less.
_NAME = "one => [one.getAttribute('aria-label'), one.textContent, one.labels?.[0]?.textContent]"


def test_nothing_is_wider_than_a_small_telephone(console: Console, up: Up, screen: Screen) -> None:
    """At 320 pixels, nobody scrolls sideways."""
    name = f"{'a very long name ' * 9}.bin"
    screen.page.set_viewport_size({"width": 320, "height": 700})
    screen.open(address(up))
    screen.page.set_input_files("#files", console.file(name, MIB))
    expect(row(screen, name).locator(".badge")).to_have_text("complete")
    assert screen.page.evaluate("document.documentElement.scrollWidth") == 320


def test_a_server_in_trouble_does_not_make_it_begin_anew(
    console: Console, up: Up, screen: Screen
) -> None:
    """A 503 to the question for the offset says nothing about the upload: it is asked again."""
    file = console.file("film", 30 * MIB)
    half_sent(screen, up, file)
    card(screen, file.name).get_by_role("button", name="Pause").click()
    refused: list[str] = []

    def answer(route: Route) -> None:
        if route.request.method == "HEAD" and len(refused) < 2:
            refused.append(route.request.url)
            route.fulfill(status=503)
        else:
            route.continue_()

    screen.page.route("**/files/*", answer)
    card(screen, file.name).get_by_role("button", name="Resume").click()
    phase(screen, file.name, "complete")
    assert len(refused) == 2
    assert stored(console, up) == sha256(file)
