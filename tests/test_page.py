"""The page in a real browser, as a person uses it."""

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from doubles import MemoryImpressions, MemoryStores, films_stores, films_system
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from zhiyin.app.service import Service
from zhiyin.web.application import create_app

pytestmark = pytest.mark.browser

PICTURES = Path(__file__).parents[1] / "ci-output"
CHROMIUM = shutil.which("chromium")


@pytest.fixture
def stores() -> MemoryStores:
    return films_stores()


@pytest.fixture
def address(stores: MemoryStores) -> Iterator[str]:
    """The application on a free port of the loopback."""
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started.set()

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = Server(uvicorn.Config(create_app(Service(films_system(), stores)), log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        assert started.wait(30)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("the page is not tested: there is no `chromium` on the path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A fresh page; at its end it must have asked nobody but the application, and complained of nothing."""
    context = browser.new_context(locale="en-GB", viewport={"width": 1360, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type in {"error", "warning"} else None)
    page.goto(address)
    yield page
    context.close()
    assert [url for url in asked if not url.startswith((address, "data:"))] == []
    assert complaints == []


@pytest.fixture
def keep(page: Page) -> Callable[[str], None]:
    """Keeps a picture of the page among the outputs of the run."""
    PICTURES.mkdir(exist_ok=True)

    def picture(name: str) -> None:
        page.screenshot(path=PICTURES / f"page-{name}.png", full_page=True)

    return picture


def titles(page: Page, kind: str) -> list[str]:
    return page.locator(f'.shelf[data-kind="{kind}"] .card h3').all_inner_texts()


def test_known_user_sees_reasons_and_changes_the_list(
    page: Page, keep: Callable[[str], None], stores: MemoryStores
) -> None:
    expect(page.get_by_role("button", name="ann")).to_be_visible()
    keep("welcome-en")
    page.get_by_label("Find by the start of the name").fill("an")
    expect(page.locator(".someone")).to_have_count(1)
    page.get_by_role("button", name="ann").click()
    expect(page.get_by_role("heading", name="For you")).to_be_visible()
    expect(page.get_by_role("heading", name="Because you rated Alien 5")).to_be_visible()
    expect(page.get_by_text("Because you rated Солярис 3").first).to_be_visible()
    expect(page.locator("#history")).to_contain_text("Rated 5")
    keep("shelves-en")
    boxes = [page.locator(".shelf-for-you .card").nth(place).bounding_box() for place in (0, 1)]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0]["y"] == boxes[1]["y"], "cards of a shelf stand side by side"
    assert boxes[1]["x"] > boxes[0]["x"] + boxes[0]["width"]

    before = titles(page, "for-you")
    page.get_by_role("button", name=f"Like: {before[0]}").first.click()
    expect(page.locator("#live")).to_contain_text("Your shelves are up to date")
    after = titles(page, "for-you")
    assert before[0] not in after
    assert after != before
    expect(page.locator("#history")).to_contain_text(before[0])
    told = stores.events.history("ann", 1)
    assert told.event[0] == "like"
    assert told.item_id[0] in stores.impressions.read(told.recommendation_id[0]).item_id

    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("heading", name="为你推荐")).to_be_visible()
    expect(page.get_by_text("因为你给《Солярис》打了 3 分").first).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "zh-Hans"
    page.get_by_role("button", name="深色").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    keep("shelves-zh-dark")
    before = titles(page, "for-you")
    page.get_by_role("button", name=f"不感兴趣：{before[0]}").first.click()
    expect(page.locator("#live")).to_contain_text("推荐已更新")
    assert before[0] not in titles(page, "for-you")
    page.reload()
    expect(page.get_by_role("heading", name="总有人懂你的弦外之音。")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.locator(".pick").first).to_be_visible()
    keep("welcome-zh-dark")


def test_new_visitor_is_served_by_their_picks_with_the_keyboard_alone(
    page: Page, keep: Callable[[str], None], stores: MemoryStores
) -> None:
    page.get_by_label("Find a title").focus()
    page.keyboard.type("totoro")
    expect(page.get_by_text("No title matches.")).to_be_visible()
    page.get_by_label("Find a title").fill("トトロ")
    expect(page.locator(".pick")).to_have_count(1)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator(".pick")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Because you liked となりのトトロ")).to_be_visible()
    expect(page.locator("#person-name")).to_have_text("You")
    page.locator(".card .act-dislike").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#live")).to_contain_text("Dislike")
    visitor = next(user for user, _ in stores.events.user_counts(10) if user.startswith("visitor-"))
    assert list(stores.events.history(visitor, 10).event) == ["like", "dislike"]
    assert page.evaluate("document.activeElement.dataset.event") == "dislike"


def test_the_first_shelf_can_be_narrowed_to_a_category(page: Page, stores: MemoryStores) -> None:
    page.get_by_role("button", name="ann").click()
    expect(page.get_by_role("heading", name="For you")).to_be_visible()
    assert isinstance(stores.impressions, MemoryImpressions)
    asked = len(stores.impressions.logged)
    page.get_by_label("Category of the first shelf").select_option("Animation")
    expect(page.locator(".shelf-for-you .tags").first).to_contain_text("Animation")
    assert set(titles(page, "for-you")) == {"WALL·E", "となりのトトロ", "千と千尋の神隠し", "Up"}
    assert len(stores.impressions.logged) == asked + 1, "what is logged as shown is what is on the page"
    page.locator(".shelf-for-you .act-like").first.click()
    expect(page.locator(".shelf-for-you .card")).to_have_count(3)
    page.get_by_label("Category of the first shelf").select_option("")
    expect(page.locator(".shelf-for-you .tags").first).not_to_contain_text("Animation")


def test_nobody_is_said_to_be_missing_before_the_answer_is_there(page: Page, address: str) -> None:
    page.goto("about:blank")
    held: list[Route] = []
    page.route("**/api/users?*", lambda route: held.append(route))  # noqa: PLW0108
    page.goto(address)
    expect(page.locator("#users")).to_have_text("One moment…")
    expect(page.locator(".pick").first).to_be_visible()
    (first,) = held
    first.continue_()
    expect(page.get_by_role("button", name="ann")).to_be_visible()


def test_small_screens_hold_everything_without_scrolling_sideways(page: Page, keep: Callable[[str], None]) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.locator(".pick").first).to_be_visible()
    keep("welcome-small")
    page.get_by_role("button", name="小明").click()
    expect(page.get_by_role("heading", name="For you")).to_be_visible()
    page.locator(".card .act-like").first.click()
    expect(page.locator("#live")).to_contain_text("Your shelves are up to date")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    keep("shelves-small")


def test_shelves_that_do_not_come_can_be_asked_for_again(page: Page) -> None:
    expect(page.get_by_role("button", name="ann")).to_be_visible()
    page.evaluate("() => { window.kept = window.fetch; window.fetch = () => Promise.reject(new TypeError('gone')); }")
    page.get_by_role("button", name="ann").click()
    expect(page.get_by_text("That did not work: the server does not answer")).to_be_visible()
    expect(page.get_by_role("heading", name="Lately")).to_be_hidden()
    page.evaluate("() => { window.fetch = window.kept; }")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("heading", name="For you")).to_be_visible()
    expect(page.get_by_role("heading", name="Lately")).to_be_visible()


def test_the_person_is_told_when_the_server_refuses(page: Page) -> None:
    page.get_by_role("button", name="ann").click()
    expect(page.get_by_role("heading", name="For you")).to_be_visible()
    page.evaluate("() => { window.fetch = () => Promise.reject(new TypeError('gone')); }")
    page.locator(".card .act-like").first.click()
    expect(page.locator("#live")).to_contain_text("the server does not answer")
