"""The page in a real browser, as a person uses it."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from doubles import MemoryImpressions, MemoryStores, films_stores, films_system
from playwright.sync_api import Browser, Page, Route, expect
from servers import served

from zhiyin.app.service import Service, Taste
from zhiyin.core.catalog import Catalog
from zhiyin.dataset.settings import PreparationSettings

pytestmark = pytest.mark.browser

PICTURES = Path(__file__).parents[1] / "ci-output"


@pytest.fixture
def stores() -> MemoryStores:
    return films_stores()


@pytest.fixture
def service(stores: MemoryStores) -> Service:
    system = replace(films_system(), settings=PreparationSettings(encoders=("hashed-ngrams",)))
    return Service(system, stores)


@pytest.fixture
def address(service: Service) -> Iterator[str]:
    with served(service) as url:
        yield url


@pytest.fixture
def forgiven() -> list[str]:
    """What the browser may complain of, where a test has the server refuse."""
    return []


@pytest.fixture
def page(browser: Browser, address: str, forgiven: list[str]) -> Iterator[Page]:
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
    assert [line for line in complaints if not any(part in line for part in forgiven)] == []


def keep_of(page: Page, name: str) -> None:
    """Keeps a picture of the page among the outputs of the run."""
    PICTURES.mkdir(exist_ok=True)
    page.screenshot(path=PICTURES / f"page-{name}.png", full_page=True)


@pytest.fixture
def keep(page: Page) -> Callable[[str], None]:
    return partial(keep_of, page)


def wait_held(page: Page, held: list[Route], number: int) -> None:
    """A request is told of before its handler is called: until `number` are held, lets the browser speak."""
    while len(held) < number:
        page.evaluate("null")


def coming_up(page: Page, address: str) -> Route:
    """Opens the page and keeps back the language that it comes up in."""
    page.goto("about:blank")
    held: list[Route] = []
    page.route("**/locales/en.json", lambda route: held.append(route))  # noqa: PLW0108
    page.goto(address)
    wait_held(page, held, 1)
    return held[0]


def titles(page: Page, kind: str) -> list[str]:
    return page.locator(f'.shelf[data-kind="{kind}"] .card h3').all_inner_texts()


def test_a_closed_shop_asks_for_a_key_until_it_is_good(browser: Browser, service: Service) -> None:
    context = browser.new_context(locale="zh-CN", reduced_motion="reduce")
    page = context.new_page()
    with served(service, keyed=True) as url:
        page.goto(url)
        expect(page.get_by_role("heading", name="需要密钥")).to_be_visible()
        keep_of(page, "key-zh")
        page.get_by_role("textbox", name="密钥").fill("zy-wrong")
        page.get_by_role("button", name="打开").click()
        expect(page.get_by_role("textbox", name="密钥")).to_have_value("")
        page.get_by_role("textbox", name="密钥").fill(service.access.create(["read", "ingest"])[0])
        page.get_by_role("button", name="打开").click()
        expect(page.get_by_role("button", name="ann")).to_be_visible()
        expect(page.get_by_role("dialog")).to_have_count(0)
        context.close()


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
    expect(page.get_by_role("heading", name="为你推荐")).to_be_visible()
    page.get_by_role("button", name="知音").click()
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
    stores.impressions.logged.clear()
    page.get_by_label("Category of the first shelf").select_option("Animation")
    expect(page.locator(".shelf-for-you .tags").first).to_contain_text("Animation")
    assert set(titles(page, "for-you")) == {"WALL·E", "となりのトトロ", "千と千尋の神隠し", "Up"}
    shown = [line.item_id for each in stores.impressions.logged for line in each.served.items]
    there = page.locator(".card").evaluate_all("cards => cards.map(card => card.dataset.item)")
    assert shown == there, "what is logged as shown is what is on the page"
    page.locator(".shelf-for-you .act-like").first.click()
    expect(page.locator(".shelf-for-you .card")).to_have_count(3)
    page.get_by_label("Category of the first shelf").select_option("")
    expect(page.locator(".shelf-for-you .tags").first).not_to_contain_text("Animation")


def test_nobody_is_said_to_be_missing_before_the_answer_is_there(page: Page, address: str) -> None:
    page.goto("about:blank")
    held: list[Route] = []
    page.route("**/api/v1/users?*", lambda route: held.append(route))  # noqa: PLW0108
    page.goto(address)
    expect(page.locator("#users")).to_have_text("One moment…")
    expect(page.locator(".pick").first).to_be_visible()
    wait_held(page, held, 1)
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


# -- words ------------------------------------------------------------------------------------------------------------

WORDS = "Say what you are in the mood for"


def look_for(page: Page, words: str, label: str = WORDS) -> None:
    page.get_by_label(label).fill(words)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("[?&]q="))
    expect(page.locator("#found")).to_have_attribute("aria-busy", "false")


def test_a_visitor_says_it_in_words_and_refines_it_with_the_keyboard_alone(
    page: Page, keep: Callable[[str], None]
) -> None:
    assert page.get_by_label(WORDS).get_attribute("placeholder") == "quiet science fiction about memory"
    look_for(page, "Blade Runner")
    expect(page.get_by_role("heading", name="For “Blade Runner”")).to_be_visible()
    assert titles(page, "words")[0] == "Blade Runner"
    expect(page.locator(".shelf-words .reason").first).to_have_text("Matches your words")
    expect(page.locator("#live")).to_contain_text("found for your words")

    page.get_by_role("button", name="More like this: Blade Runner").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("list", name="Examples").get_by_role("button")).to_have_text(["Blade Runner"])
    expect(page.locator(".shelf-words .reason").first).to_have_text("Matches your words and examples")
    assert "Blade Runner" not in titles(page, "words")
    second = titles(page, "words")[0]
    assert page.evaluate("document.activeElement.ariaLabel") == f"More like this: {second}"
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator(".chip")).to_have_text(["Blade Runner", second])
    expect(page.locator(".shelf-words .card", has_text=second)).to_have_count(0)
    keep("words-en")

    page.get_by_role("button", name=f"Remove the example. Not this: {second}").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".shelf-words .card", has_text=second)).to_have_count(1)
    assert page.evaluate("document.activeElement.ariaLabel") == "Remove the example. More like this: Blade Runner"
    page.keyboard.press("Enter")
    expect(page.locator(".shelf-words h3").first).to_have_text("Blade Runner")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#found")).to_be_hidden()
    assert "?" not in page.url


def test_examples_are_sent_with_the_words(page: Page) -> None:
    look_for(page, "Moon")
    with page.expect_request("**/api/v1/find") as asked:
        page.get_by_role("button", name="Not this: Moon").click()
    assert json.loads(asked.value.post_data or "") == {
        "text": "Moon", "like": [], "unlike": ["moon"], "categories": [], "n": 16, "user_id": None,
    }  # fmt: skip


def test_words_in_chinese_stay_through_reload_back_and_forward(page: Page, keep: Callable[[str], None]) -> None:
    page.get_by_role("button", name="中文").click()
    label = "说说你想看的"
    expect(page.get_by_label(label)).to_have_attribute("placeholder", "安静的、关于记忆的科幻")
    look_for(page, "重庆森林", label)
    expect(page.get_by_role("heading", name="“重庆森林”")).to_be_visible()
    expect(page.locator(".shelf-words .reason").first).to_have_text("符合你说的")
    page.get_by_role("button", name="不要这样的：重庆森林 Chungking Express").click()
    chip = page.get_by_role("button", name="去掉例子。不要这样的：重庆森林 Chungking Express")
    expect(chip).to_be_visible()
    page.get_by_label("查找结果的类别").select_option("Romance")
    expect(page.locator(".shelf-words .card")).to_have_count(4)
    page.get_by_role("button", name="深色").click()
    keep("words-zh-dark")

    page.reload()
    expect(page.locator(".shelf-words .card")).to_have_count(4)
    expect(chip).to_be_visible()
    expect(page.get_by_label(label)).to_have_value("重庆森林")
    expect(page.get_by_label("查找结果的类别")).to_have_value("Romance")
    page.go_back()
    expect(page.get_by_label("查找结果的类别")).to_have_value("")
    page.go_back()
    expect(page.locator(".chip")).to_have_count(0)
    page.go_back()
    expect(page.locator("#found")).to_be_hidden()
    expect(page.get_by_label(label)).to_have_value("")
    page.go_forward()
    expect(page.locator(".shelf-words h3").first).to_have_text("重庆森林 Chungking Express")


def test_words_that_are_sent_while_the_page_comes_up_are_heard(page: Page, address: str) -> None:
    language = coming_up(page, address)
    page.locator("#words-input").fill("Stalker")
    page.keyboard.press("Enter")
    language.continue_()
    expect(page.locator(".shelf-words h3").first).to_have_text("Stalker")
    expect(page.get_by_label(WORDS)).to_have_value("Stalker")


def test_a_language_that_is_chosen_while_the_page_comes_up_is_spoken(page: Page, address: str) -> None:
    language = coming_up(page, address)
    page.get_by_role("button", name="中文").click()
    language.continue_()
    expect(page.get_by_role("heading", name="用话说")).to_be_visible()


def test_the_taste_of_a_known_user_counts_and_is_told(page: Page) -> None:
    look_for(page, "Drama")
    page.get_by_role("button", name="ann").click()
    expect(page.get_by_role("heading", name="For you")).to_be_visible()
    reason = page.locator(".shelf-words .reason").first
    expect(reason).to_have_text("Matches your words; your taste counts, too")
    assert "Alien" not in titles(page, "words"), "what was seen is not found again"
    page.reload()
    expect(reason).to_have_text("Matches your words; your taste counts, too")
    expect(page.get_by_role("heading", name="For “Drama”")).to_be_visible()
    liked = titles(page, "for-you")[0]
    page.locator(".shelf-for-you .act-like").first.click()
    expect(page.locator(".shelf-words .card", has_text=liked)).to_have_count(0)
    page.go_back()
    expect(page.get_by_role("heading", name="Pick a few things")).to_be_visible()
    expect(reason).to_have_text("Matches your words")


def test_only_the_answer_to_the_last_words_is_shown_and_waiting_is_told(page: Page) -> None:
    expect(page.locator(".pick").first).to_be_visible()
    page.clock.install()
    held: list[Route] = []
    page.route("**/api/v1/find", lambda route: held.append(route))  # noqa: PLW0108
    page.get_by_label(WORDS).fill("Alien")
    with page.expect_request("**/api/v1/find"):
        page.keyboard.press("Enter")
    expect(page.locator("#found-wait")).to_have_text("Looking…")
    expect(page.locator("#found")).to_have_attribute("aria-busy", "true")
    page.clock.fast_forward(4000)
    expect(page.locator("#found-wait")).to_contain_text("may take half a minute")
    page.get_by_label(WORDS).fill("Stalker")
    with page.expect_request("**/api/v1/find"):
        page.keyboard.press("Enter")
    wait_held(page, held, 2)
    first, last = held
    last.continue_()
    expect(page.locator(".shelf-words h3").first).to_have_text("Stalker")
    with page.expect_response("**/api/v1/find"):
        first.continue_()
    expect(page.get_by_role("heading", name="For “Stalker”")).to_be_visible()
    expect(page.locator(".shelf-words h3").first).to_have_text("Stalker")
    expect(page.locator("#found-wait")).to_be_hidden()


@pytest.mark.parametrize(
    ("language", "told"),
    [("English", "Finding by words is not possible here: no encoder"), ("中文", "这里不能按文字查找：no encoder")],
)
def test_a_system_that_reads_no_words_says_so(page: Page, forgiven: list[str], language: str, told: str) -> None:
    forgiven.append("503")
    page.route("**/api/v1/find", lambda route: route.fulfill(status=503, json={"error": "no encoder"}))
    if language == "中文":
        page.get_by_role("button", name=language).click()
        expect(page.get_by_role("heading", name="用话说")).to_be_visible()
    page.locator("#words-input").fill("Moon")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text(told)
    page.unroute("**/api/v1/find")
    page.get_by_role("alert").get_by_role("button").click()
    expect(page.locator(".shelf-words h3").first).to_have_text("Moon")


def test_words_that_find_nothing_are_told(page: Page, address: str) -> None:
    page.goto(f"{address}/?q=Moon&category=Western")
    expect(page.get_by_text("Nothing to show for these words.")).to_be_visible()
    page.get_by_label("Category of what is found").select_option("")
    expect(page.locator(".shelf-words h3").first).to_have_text("Moon")


def test_what_others_wrote_is_text_and_marked_where_a_model_wrote_it(
    page: Page, address: str, service: Service
) -> None:
    hostile = '<img src=x onerror="document.title=1"><b>Moon</b>'
    service.add_items(
        Catalog.build(
            item_id=["moon", "up"],
            title=[hostile, "Up"],
            description=[f"{hostile} alone", "A house flies."],
            attributes={"description_source": ["generated", None]},
        )
    )
    page.goto(f"{address}/?q=%3Cb%3EMoon&like=up&unlike=moon")
    expect(page.get_by_role("heading", name="For “<b>Moon”")).to_be_visible()
    expect(page.locator(".chip")).to_have_text(["Up", hostile])
    page.locator(".chip").last.click()
    moon = page.locator('.shelf-words .card[data-item="moon"]')
    expect(moon.locator("h3")).to_have_text(hostile)
    expect(moon.locator(".told p")).to_have_text(f"{hostile} alone")
    expect(moon.get_by_role("button", name="AI: a language model wrote this description")).to_be_visible()
    page.locator(".chip").first.click()
    expect(page.locator('.shelf-words .card[data-item="up"] .told p')).to_have_text("A house flies.")
    expect(page.locator('.shelf-words .card[data-item="up"] .mark')).to_have_count(0)
    expect(page.locator("main img, main b")).to_have_count(0)
    page.get_by_role("button", name="中文").click()
    expect(moon.get_by_role("button", name="AI：这段介绍由语言模型撰写")).to_be_visible()


def test_words_and_examples_fit_a_small_screen(page: Page, address: str, keep: Callable[[str], None]) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{address}/?user=ann&q={'x' * 200}&like=up&unlike=chungking")
    expect(page.locator(".shelf-words .card").first).to_be_visible()
    expect(page.get_by_role("heading", name="For you")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    keep("words-small")


# -- a taste in words -------------------------------------------------------------------------------------------------


def test_a_taste_in_words_is_read_edited_and_cleared(page: Page, address: str, stores: MemoryStores) -> None:
    stores.tastes.write("ann", Taste("You like <b>ships</b>.", "generated"))
    page.get_by_role("button", name="ann").click()
    taste = page.get_by_role("region", name="Taste in words")
    expect(taste).to_contain_text("You like <b>ships</b>.")
    expect(taste).to_contain_text("Written by a language model")
    taste.get_by_role("button", name="Edit").click()
    words = taste.get_by_label("What you like, in your own words")
    expect(words).to_be_focused()
    words.fill("nothing")
    page.keyboard.press("Escape")
    expect(taste.get_by_role("button", name="Edit")).to_be_focused()
    page.keyboard.press("Enter")
    expect(words).to_have_value("You like <b>ships</b>.")
    words.fill("安静的科幻")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(taste).to_contain_text("In their own words")
    assert stores.tastes.read("ann") == Taste("安静的科幻", "edited")
    page.get_by_role("button", name="中文").click()
    taste = page.get_by_role("region", name="口味小结")
    expect(taste).to_contain_text("本人的话")
    taste.get_by_role("button", name="清除").click()
    expect(taste).to_be_hidden()
    assert stores.tastes.read("ann") is None


def test_the_first_shelf_says_what_it_comes_from(page: Page, address: str, stores: MemoryStores) -> None:
    stores.tastes.write("nova", Taste("Drama", "edited"))
    page.goto(f"{address}/?user=nova")
    expect(page.locator(".shelf-for-you")).to_contain_text("From your taste in your own words")
    page.get_by_role("button", name="中文").click()
    expect(page.locator(".shelf-for-you")).to_contain_text("根据你用自己的话写下的喜好")
    page.goto(f"{address}/?user=ann")
    expect(page.locator(".shelf-for-you")).to_contain_text("综合你至今的全部记录")


def test_without_a_taste_in_words_there_is_no_place_for_one(page: Page) -> None:
    with page.expect_response("**/taste?*"):
        page.get_by_role("button", name="ann").click()
    expect(page.get_by_role("heading", name="For you")).to_be_visible()
    expect(page.locator("#taste")).to_be_hidden()
