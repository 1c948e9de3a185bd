"""The page where people have to say who they are, where uploads fail, where a part is missing."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Route, expect
from tests.servers.browser import PATIENCE, Screen
from tests.servers.front import Front, StartFront, begun, sent
from tests.servers.workers import StartWorker
from tests.sites import Site
from tests.waiting import wait_until

from chunkferry import connection
from chunkferry.ledger import RedisLedger
from chunkferry.parts import MIB

TOKENS = {"alice": "a-secret-of-alice", "root": "a-secret-of-root"}
NAMED = {"Upload-Metadata": "filename ZmlsbQ=="}

expect.set_options(timeout=PATIENCE)


@pytest.fixture
def guarded(real_site: Site, start_front: StartFront) -> Front:
    """A front door that knows alice, and root, who is an administrator."""
    access = {"CHUNKFERRY_HTTP_TOKENS": json.dumps(TOKENS), "CHUNKFERRY_HTTP_ADMINS": '["root"]'}
    return start_front({**real_site.env, **access})


def sign_in(screen: Screen, token: str) -> None:
    """By the keyboard: the field has the focus."""
    expect(screen.page.get_by_label("Access token")).to_be_focused()
    screen.page.keyboard.type(token)
    screen.page.keyboard.press("Enter")


def row(screen: Screen, name: str) -> Locator:
    """The row of an upload."""
    return screen.page.locator("tbody tr", has=screen.page.get_by_text(name, exact=True))


def failed(site: Site, web: httpx.Client) -> str:
    """An upload named film that its store refused; its id."""
    url = begun(web, 10, **NAMED)
    sent(web, url, 0, bytes(10))
    upload_id, settings = url.rpartition("/")[2], site.settings()
    with closing(connection.connect(settings.redis_url)) as client:
        leases = RedisLedger(client, settings).leases
        leases.acquire(upload_id, "nonce", "worker")
        leases.fail(upload_id, "nonce", "store_refused", "the bucket <b>films</b> does not exist")
    return upload_id


def test_a_token_opens_the_page_and_stays_in_the_tab(
    real_site: Site, guarded: Front, screen: Screen, start_worker: StartWorker, tmp_path: Path
) -> None:
    """A wrong one does not; it is in no URL, and not where it would outlive the tab."""
    start_worker(real_site.env)
    (tmp_path / "film").write_bytes(bytes(MIB))
    screen.open(guarded.url)
    screen.keep("sign-in-light")
    sign_in(screen, "wrong")
    expect(screen.page.locator("#sign-in-why")).to_contain_text("does not accept this token")
    expect(screen.page.locator("#listing")).to_be_hidden()
    sign_in(screen, TOKENS["alice"])
    expect(screen.page.locator("#connection")).to_have_text("signed in as alice")
    screen.page.set_input_files("#files", tmp_path / "film")
    expect(row(screen, "film").locator(".badge")).to_have_text("complete")
    screen.page.reload()
    expect(screen.page.locator("#connection")).to_have_text("signed in as alice")
    kept = screen.page.evaluate("[JSON.stringify(localStorage), document.cookie, location.href]")
    assert not any("secret" in text for text in [*kept, *(r.url for r in screen.requests)])
    other = Screen(screen.page.context.new_page())
    other.open(guarded.url)
    expect(other.page.locator("#sign-in")).to_be_visible()
    screen.page.get_by_role("button", name="Sign out").click()
    expect(screen.page.locator("#listing")).to_be_hidden()
    assert screen.page.evaluate("sessionStorage.length") == 0


def test_what_is_being_sent_goes_on_after_a_new_sign_in(
    real_site: Site, guarded: Front, screen: Screen, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Whoever signs out and in again loses nothing, and sends nothing twice."""
    start_worker(real_site.env)
    (tmp_path / "film").write_bytes(bytes(20 * MIB))
    screen.open(guarded.url)
    sign_in(screen, TOKENS["alice"])
    screen.throttle(4)
    screen.page.set_input_files("#files", tmp_path / "film")
    wait_until(lambda: any(one.received > MIB for one in real_site.manager().list_uploads()), 30)
    screen.page.get_by_role("button", name="Sign out").click()
    sign_in(screen, TOKENS["alice"])
    screen.page.get_by_role("button", name="Resume: film").click()
    expect(screen.page.locator(".transfer")).to_have_attribute("data-phase", "complete")
    assert len(list(real_site.manager().list_uploads())) == 1


def test_a_failed_upload_says_why_and_is_requeued(
    real_site: Site, guarded: Front, screen: Screen, start_worker: StartWorker
) -> None:
    """By an administrator; whom it belongs to sees the reason, as text, and no button."""
    with guarded.client() as web:
        web.headers["Authorization"] = f"Bearer {TOKENS['alice']}"
        upload_id = failed(real_site, web)
    screen.open(guarded.url)
    sign_in(screen, TOKENS["alice"])
    expect(row(screen, "film").locator(".badge")).to_have_text("failed")
    why = row(screen, "film").locator(".error")
    expect(why).to_have_text("the bucket <b>films</b> does not exist")
    expect(screen.page.get_by_role("button", name="Requeue film")).to_be_hidden()
    screen.page.get_by_role("button", name="Sign out").click()
    sign_in(screen, TOKENS["root"])
    expect(screen.page.get_by_role("button", name="Requeue film")).to_be_visible()
    screen.keep("failed-light")
    screen.keep("failed-dark", scheme="dark")
    start_worker(real_site.env)
    screen.page.get_by_role("button", name="Requeue film").click()
    expect(row(screen, "film").locator(".badge")).to_have_text("complete")
    assert real_site.manager().get(upload_id).is_complete


def test_the_list_can_be_narrowed(real_site: Site, front: Front, screen: Screen) -> None:
    """To what has failed, say, and to nothing."""
    with front.client() as web:
        failed(real_site, web)
        begun(web, 10)
    screen.open(front.url)
    rows = screen.page.locator("tbody tr")
    expect(rows).to_have_count(2)
    screen.page.get_by_label("Show").select_option("failed")
    expect(rows).to_have_count(1)
    expect(rows.locator(".badge")).to_have_text("failed")
    screen.page.get_by_label("Show").select_option("complete")
    expect(screen.page.get_by_text("None of these.")).to_be_visible()


@pytest.mark.parametrize("fault", ["missing", "altered"])
def test_the_page_does_without_its_library(front: Front, screen: Screen, fault: str) -> None:
    """It says what is missing and how to get it; the list works. Altered code is not run."""

    def answer(route: Route) -> None:
        if fault == "missing":
            route.fulfill(status=404)
        else:
            body = route.fetch().text()
            route.fulfill(body=f"globalThis.evil = 1;{body}", content_type="text/javascript")

    screen.page.route("**/tus.min.js", answer)
    with front.client() as web:
        begun(web, 10, **NAMED)
    screen.open(front.url)
    expect(row(screen, "film")).to_be_visible()
    expect(screen.page.get_by_role("alert")).to_contain_text("make vendor")
    expect(screen.page.locator("#sending")).to_be_hidden()
    assert screen.page.evaluate("globalThis.evil === undefined")
    screen.keep(f"library-{fault}-light")


def test_a_server_that_is_gone_and_comes_back_is_noticed(front: Front, screen: Screen) -> None:
    """The page says so, and goes on by itself."""
    screen.open(front.url)
    connected = screen.page.locator("#connection")
    expect(connected).to_have_attribute("data-state", "on")
    front.kill()
    expect(connected).to_have_text("no connection; trying again …")
    front.start()
    expect(connected).to_have_attribute("data-state", "on")
