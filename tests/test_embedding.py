"""The pages of a shop, of another origin than the server: what they embed, as a visitor uses it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from doubles import MemoryStores, films_stores, films_system
from playwright.sync_api import Browser, Page, Route, expect
from servers import served

from zhiyin.app.service import Service
from zhiyin.core.events import Events

pytestmark = pytest.mark.browser

Open = Callable[..., Page]


@contextmanager
def shop() -> Iterator[tuple[str, Callable[[str], None]]]:
    """Its address, and what puts a page there."""
    pages = [""]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(pages[0].encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", lambda page: pages.__setitem__(0, page)
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def stores() -> MemoryStores:
    return films_stores()


@pytest.fixture
def opened(browser: Browser, stores: MemoryStores) -> Iterator[Open]:
    """Opens a page of the shop with `body`; script: attributes of the script. allowed: whether the shop may ask."""
    context = browser.new_context()

    def open_page(body: str, *, script: str = 'data-user="ann"', language: str = "en", allowed: bool = True) -> Page:
        origins = [address] if allowed else []
        base = serving.enter_context(served(Service(films_system(), stores), origins=origins))
        put(f'<html lang="{language}"><script src="{base}/static/shop.js" {script} defer></script>{body}</html>')
        page = context.new_page()
        page.goto(address)
        return page

    with shop() as (address, put), ExitStack() as serving:
        yield open_page
        assert not context.cookies()
        context.close()


def told(stores: MemoryStores, event: str) -> Events:
    log = Events.concat(stores.events.read())
    return log.take(log.event == event)


def test_a_shelf_shows_the_list_and_tells_what_was_clicked(opened: Open, stores: MemoryStores) -> None:
    page = opened('<zhiyin-shelf n="3" href="/films/{id}"></zhiyin-shelf>')
    shelf = page.locator("zhiyin-shelf")
    expect(shelf.get_by_role("heading")).to_have_text("Recommended for you")
    expect(shelf.get_by_role("listitem")).to_have_count(3)
    link = shelf.get_by_role("link").nth(1)
    title = link.inner_text()
    link.click()
    page.wait_for_url("**/films/*")
    while not len(clicked := told(stores, "click")):
        assert page.url
    assert list(zip(clicked.user_id, clicked.position, strict=True)) == [("ann", 2)]
    assert page.url.endswith(f"/films/{clicked.item_id[0]}")
    assert stores.impressions.read(clicked.recommendation_id[0]).item_id[1] == clicked.item_id[0]
    assert title == Service(films_system(), stores).item(clicked.item_id[0]).title


def test_texts_follow_the_language_of_the_page_and_are_no_markup(opened: Open, stores: MemoryStores) -> None:
    page = opened(
        '<zhiyin-shelf heading="<b>x</b>"></zhiyin-shelf><zhiyin-shelf like="alien"></zhiyin-shelf>', language="zh-CN"
    )
    first, second = page.locator("zhiyin-shelf").all()
    expect(first.get_by_role("heading")).to_have_text("<b>x</b>")
    expect(second.get_by_role("heading")).to_have_text("相似的")
    expect(first.get_by_text("因为").first).to_be_visible()
    assert page.evaluate("document.querySelector('zhiyin-shelf').shadowRoot.querySelectorAll('b').length") == 0


def test_what_a_page_tells_is_recorded_once_though_the_server_was_away(opened: Open, stores: MemoryStores) -> None:
    page = opened("<p>x</p>")
    page.route("**/api/v1/events", lambda route: route.fulfill(status=503))
    with page.expect_response(lambda answer: answer.status == httpx.codes.SERVICE_UNAVAILABLE):
        page.evaluate("zhiyin.track('purchase', 'alien', {value: 2}); zhiyin.flush()")
    page.unroute("**/api/v1/events")
    with page.expect_response(lambda answer: answer.status == 200 and answer.request.method == "POST"):
        page.evaluate("zhiyin.flush()")
    bought = told(stores, "purchase")
    assert list(zip(bought.user_id, bought.item_id, bought.value, strict=True)) == [("ann", "alien", 2.0)]
    assert bought.session_id[0]


def test_nothing_is_lost_when_a_page_goes_after_the_server_was_away(opened: Open, stores: MemoryStores) -> None:
    page = opened("<p>x</p>")
    asked: list[int] = []

    def away(route: Route) -> None:
        asked.append(1)
        route.fulfill(status=408)

    page.route("**/api/v1/events", away)
    with page.expect_response(lambda answer: answer.status == httpx.codes.REQUEST_TIMEOUT):
        page.evaluate("for (let i = 0; i < 100; i++) zhiyin.track('purchase', `item-${i}`)")
    assert len(asked) == 1
    page.unroute("**/api/v1/events")
    page.goto("about:blank")
    while len(told(stores, "purchase")) < 100:
        assert page.url
    assert len(set(told(stores, "purchase").item_id)) == 100


def test_an_event_that_is_wrong_takes_no_other_with_it(opened: Open, stores: MemoryStores) -> None:
    page = opened("<p>x</p>")
    page.evaluate("zhiyin.track('like', 'x'.repeat(70000))")
    page.evaluate("for (const item of ['moon', '', 'up']) zhiyin.track('share', item)")
    with page.expect_response(lambda answer: answer.status == httpx.codes.OK and answer.request.method == "POST"):
        page.evaluate("zhiyin.flush()")
    assert list(told(stores, "share").item_id) == ["moon", "up"]


def test_a_visitor_has_an_id_of_their_own_that_lasts_as_the_shop_says(opened: Open) -> None:
    page = opened("<p>x</p>", script="")
    first = page.evaluate("zhiyin.user")
    page.reload()
    assert first != page.evaluate("zhiyin.user")
    page = opened("<p>x</p>", script="data-remember")
    kept = page.evaluate("zhiyin.user")
    page.reload()
    assert kept == page.evaluate("zhiyin.user")
    assert first.startswith("visitor-")


def test_another_site_gets_nothing(opened: Open, stores: MemoryStores) -> None:
    before = stores.events.last_sequence()
    page = opened("<zhiyin-shelf></zhiyin-shelf>", allowed=False)
    expect(page.locator("zhiyin-shelf")).to_be_hidden()
    with page.expect_event("requestfailed"):
        page.evaluate("zhiyin.track('purchase', 'alien'); zhiyin.flush()")
    assert stores.events.last_sequence() == before


def test_only_named_sites_are_let_in() -> None:
    with served(Service(films_system(), films_stores()), origins=["https://shop.example"]) as base:
        asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
        let_in = httpx.options(
            f"{base}/api/v1/events", headers={**asked, "Access-Control-Request-Headers": "X-API-Key"}
        )
        assert let_in.headers["access-control-allow-origin"] == "https://shop.example"
        refused = httpx.options(f"{base}/api/v1/events", headers={**asked, "Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in refused.headers
        assert "access-control-allow-credentials" not in let_in.headers
        script = httpx.get(f"{base}/static/shop.js").headers
        assert script["cross-origin-resource-policy"] == "cross-origin"
        assert httpx.get(f"{base}/static/app.js").headers["cross-origin-resource-policy"] == "same-origin"
