"""Chromium, driven by Playwright: a browser for each test that wants to see a page as people do.

``pytest_plugins = ["tests.servers.browser"]`` in the top ``conftest.py`` offers the fixtures.
What ``Screen.keep`` took stays in ``build/screenshots`` after the run, which names the folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import CDPSession, ConsoleMessage, Page, Request, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from chunkferry.parts import MIB

#: Outside of the checkout's history, inside of what ``make clean`` removes.
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
#: Nothing that a test's browser should do on its own.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: The pictures of this run.
_kept: list[Path] = []
#: How long anything may take to be seen, in milliseconds.
PATIENCE = 60_000


@dataclass
class Screen:
    """One tab of a browser, with what went over its lines and what it complained of."""

    page: Page
    requests: list[Request] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def _cdp(self) -> CDPSession:
        return self.page.context.new_cdp_session(self.page)

    def open(self, url: str) -> None:
        """Show a page, and listen to it."""
        self.page.on("request", self._asked)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url)

    def _asked(self, request: Request) -> None:
        self.requests.append(request)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def throttle(self, upload_mib: float) -> None:
        """Let it send so many MiB a second, and no more; 0 for any number."""
        rate = upload_mib * MIB or -1
        limits = {
            "offline": False,
            "latency": 0,
            "downloadThroughput": -1,
            "uploadThroughput": rate,
        }
        self._cdp.send("Network.emulateNetworkConditions", limits)

    def keep(
        self, name: str, *, scheme: Literal["light", "dark"] = "light", width: int = 1100
    ) -> None:
        """Keep a picture of the whole page as ``name``."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.emulate_media(color_scheme=scheme)
        self.page.set_viewport_size({"width": width, "height": 800})
        _kept.append(SCREENSHOTS / f"{name}.png")
        self.page.screenshot(path=_kept[-1], full_page=True)

    def crash(self) -> None:
        """Let the tab die."""
        with self.page.expect_event("crash"), contextlib.suppress(PlaywrightError):
            self.page.goto("chrome://crash", wait_until="commit")

    def appends(self) -> list[Request]:
        """Requests that brought bytes of uploads."""
        return [request for request in self.requests if request.method == "PATCH"]

    def hosts(self) -> set[str]:
        """Whom it has asked for anything."""
        return {urlsplit(request.url).netloc for request in self.requests}


def _chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        reason = "needs Chromium; not installed: chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture
def screen() -> Iterator[Screen]:
    """A browser's only tab. Not for tests that use asyncio: Playwright's loop runs meanwhile."""
    program = _chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        context = browser.new_context(viewport={"width": 1100, "height": 800})
        context.set_default_timeout(PATIENCE)
        yield Screen(context.new_page())
        browser.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say where the pictures are."""
    for picture in _kept:
        terminalreporter.write_line(f"screenshot: {picture.relative_to(SCREENSHOTS.parents[1])}")
