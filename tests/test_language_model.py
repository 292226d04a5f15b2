"""The optional language model: what it is sent, what a list does with its grades, and what it can never do."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest
from chat_server import ChatServer, chat, running, told
from hypothesis import given
from hypothesis import strategies as st

from zhiyin.app.serving.judged import (
    REST_SECONDS,
    Judge,
    LanguageModelSettings,
    Liking,
    grade_of,
    prompt_of,
    reordered,
)
from zhiyin.core.errors import ConfigError
from zhiyin.core.models import Completion, Prompt
from zhiyin.encoders.language_model import KEY_VARIABLE, TEXT_CHARACTERS, ChatEndpoint, fenced, plain
from zhiyin.testing.hostile_texts import HOSTILE
from zhiyin.testing.small_language_model import small_model, small_model_server

LIKING = Liking(words="slow films", categories="Drama, Science fiction")
PROMPT = Prompt("Say what it is.", {"item": "Moon"}, "What is it?")
PATIENT = LanguageModelSettings(deadline_s=30)


def digit_of(asked: dict[str, Any]) -> str:
    """Grades an item by the sum of its letters, so that other text has another grade."""
    return str(sum(map(ord, told(asked)["item"])) % 10)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with running() as started:
        yield started


@pytest.fixture
def judge(server: ChatServer) -> Iterator[Judge]:
    with closing(Judge(ChatEndpoint(server.argument), PATIENT)) as made:
        yield made


# -- the client -------------------------------------------------------------------------------------------------------


def test_a_model_is_asked_in_two_messages_with_a_key(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    server.answer = lambda asked: " a film "
    assert ChatEndpoint(server.argument).complete(PROMPT, 7, 30).text == " a film "
    (asked,) = server.requests
    system, user = asked["messages"]
    assert (system["role"], system["content"]) == ("system", "Say what it is.")
    assert (user["role"], user["content"]) == ("user", '{"item": "Moon"}\nWhat is it?')
    assert (asked["model"], asked["max_tokens"], asked["temperature"]) == ("org/model", 7, 0)
    assert "logprobs" not in asked
    assert server.keys == ["Bearer secret"]


def test_probabilities_are_those_of_the_first_token_that_is_not_blank(server: ChatServer) -> None:
    server.answer = lambda asked: chat(" 7", {" ": 0.0}, {"7": -1.0, " 7": -2.0, "No": -3.0})
    completion = ChatEndpoint(server.argument).complete(PROMPT, 2, 30, weighed=True)
    assert server.requests[0]["top_logprobs"] == 20
    assert completion.first == pytest.approx({"7": 0.36788 + 0.13534, "No": 0.04979}, abs=1e-4)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{"message": {}}]}',
        b'{"choices": [{"message": {"content": 7}}]}',
        b'{"choices": [{"message": {"content": "7"}, "logprobs": {"content": [1]}}]}',
        b'{"choices": [{"message": {"content": "7"}, "logprobs": {"content": [{"token": "7"}]}}]}',
        b"[" * 100_000,
    ],
)
def test_an_answer_of_another_shape_is_told(server: ChatServer, body: bytes) -> None:
    server.answer = lambda asked: body
    with pytest.raises(ConfigError, match="OpenAI-compatible"):
        ChatEndpoint(server.argument).complete(PROMPT, 2, 30, weighed=True)


def test_an_answer_without_content_is_empty(server: ChatServer) -> None:
    server.answer = lambda asked: chat(None)
    assert ChatEndpoint(server.argument).complete(PROMPT, 2, 30) == Completion("")


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, f"set the environment variable {KEY_VARIABLE}"), (404, "where /chat/completions follows"), (503, "503")],
)
def test_a_refusal_is_told_once(server: ChatServer, monkeypatch: pytest.MonkeyPatch, status: int, message: str) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    server.status_of = lambda asked: status
    with pytest.raises(ConfigError, match=message) as caught:
        ChatEndpoint(server.argument).complete(PROMPT, 2, 30)
    assert "secret" not in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("key", ["sec\nret", "sécret", "秘密"])
def test_a_key_that_cannot_be_sent_is_told_but_not_shown(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, key)
    with pytest.raises(ConfigError, match=KEY_VARIABLE) as caught:
        ChatEndpoint(server.argument).complete(PROMPT, 2, 30)
    assert key not in str(caught.value)
    assert not server.requests


def test_an_answer_without_measure_is_not_read_to_its_end(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zhiyin.encoders.asking.MAX_BYTES", 100_000)
    server.answer = lambda asked: b" " * 1_000_000
    with pytest.raises(ConfigError, match="longer than 100,000 bytes"):
        ChatEndpoint(server.argument).complete(PROMPT, 2, 30)


def test_headers_that_never_end_are_late(server: ChatServer) -> None:
    server.dripping = True
    with pytest.raises(ConfigError, match="the answer comes too slowly"):
        ChatEndpoint(server.argument).complete(PROMPT, 2, 0.1)


def test_a_model_is_named_by_its_place() -> None:
    with pytest.raises(ConfigError, match="language model 'gpt' is not MODEL@URL"):
        ChatEndpoint("gpt")


@given(st.dictionaries(st.text(), st.text() | st.sampled_from(HOSTILE), max_size=4))
def test_nothing_ends_the_place_of_a_text(data: dict[str, str]) -> None:
    written = fenced(data)
    assert json.loads(written) == {name: plain(text, TEXT_CHARACTERS) for name, text in data.items()}
    assert not set("<>[]\n\r\x00") & set(written)
    written.encode()


def test_what_cannot_be_seen_is_not_sent() -> None:
    assert plain("Gr\u200bade\n\x00\ud800 \U000e0039\u202e 9 中文", 100) == "Grade 9 中文"
    assert len(plain("长" * 9_000, 100)) == 100


# -- grades -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("completion", "grade"),
    [
        (Completion("7", {"7": 0.5, "3": 0.5}), 5.0),
        (Completion("No", {"No": 0.6, "9": 0.2, "10": 0.1}), 9.0),
        (Completion("No", {"No": 0.9, "9": 0.001}), None),
        (Completion("7", {"seven": 1.0}), None),
        (Completion(" 7."), 7.0),
        (Completion("**0**"), 0.0),
        (Completion("10"), None),
        (Completion("Nine"), None),
        (Completion("７"), None),
        (Completion(""), None),
    ],
)
def test_a_grade_is_the_expected_digit(completion: Completion, grade: float | None) -> None:
    assert grade_of(completion) == grade


GRADES = st.lists(st.none() | st.floats(0, 9), max_size=30)


@given(GRADES, st.integers(1, 30))
def test_an_order_is_a_permutation_of_which_none_moves_too_far(grades: list[float | None], max_rise: int) -> None:
    order = reordered(grades, max_rise)
    assert sorted(order) == list(range(len(grades)))
    assert all(abs(place - now) <= max_rise for now, place in enumerate(order))


@given(GRADES.filter(bool), st.none() | st.floats(0, 9), st.integers(1, 30), st.data())
def test_the_grade_of_one_changes_nothing_in_the_order_of_the_others(
    grades: list[float | None], other: float | None, max_rise: int, data: st.DataObject
) -> None:
    one = data.draw(st.integers(0, len(grades) - 1))
    before, after = (reordered(given, max_rise) for given in (grades, [*grades[:one], other, *grades[one + 1 :]]))
    assert [place for place in before if place != one] == [place for place in after if place != one]


def test_a_better_grade_rises_as_far_as_it_may() -> None:
    assert reordered([None] * 5, 4) == [0, 1, 2, 3, 4]
    assert reordered([0.0] * 6 + [9.0], 3) == [0, 1, 2, 6, 3, 4, 5]
    assert reordered([9.0] * 7, 3) == list(range(7))


# -- lists ------------------------------------------------------------------------------------------------------------

FILMS = [f"Film {number}. Drama" for number in range(12)]


def test_every_item_is_asked_for_alone(server: ChatServer, judge: Judge) -> None:
    server.answer = digit_of
    order = judge.order(LIKING, FILMS)
    assert sorted(order) == list(range(12))
    assert sorted(told(asked)["item"] for asked in server.requests) == sorted(FILMS)
    assert all(sum(film in json.dumps(asked) for film in FILMS) <= 2 for asked in server.requests), "Film 1, Film 10"
    assert {told(asked)["likes"] for asked in server.requests} == {LIKING.categories}
    assert judge.grades(LIKING, FILMS) == [float(sum(map(ord, film)) % 10) for film in FILMS]


def test_only_the_top_of_a_list_is_judged_and_only_what_says_something(server: ChatServer) -> None:
    with closing(Judge(ChatEndpoint(server.argument), LanguageModelSettings(candidates=3, deadline_s=30))) as judge:
        server.answer = lambda asked: {"a": "0", "c": "9"}[told(asked)["item"]]
        assert judge.order(LIKING, ["a", None, "c", "d", "e"]) == [2, 1, 0, 3, 4]
        assert judge.order(LIKING, []) == []
    assert len(server.requests) == 2


def test_a_grade_is_asked_for_once(server: ChatServer, judge: Judge) -> None:
    assert judge.order(LIKING, FILMS) == judge.order(LIKING, FILMS)
    judge.order(LIKING, FILMS[::-1])
    assert len(server.requests) == 12
    judge.order(Liking(words="loud films"), FILMS)
    assert len(server.requests) == 24


def test_nothing_is_asked_about_a_person_of_whom_nothing_is_known(server: ChatServer, judge: Judge) -> None:
    assert judge.order(Liking(), FILMS) == list(range(12))
    assert not server.requests


@pytest.mark.parametrize("answer", ["No.", "", "10", "ten out of ten"])
def test_an_answer_without_a_grade_leaves_the_list(server: ChatServer, judge: Judge, answer: str) -> None:
    server.answer = lambda asked: answer
    assert judge.order(LIKING, FILMS) == list(range(12))
    judge.order(LIKING, FILMS)
    assert len(server.requests) == 12, "asked again, it would say the same"


@pytest.mark.parametrize("status", [200, 400])
def test_a_text_that_gets_no_grade_does_not_keep_others_from_being_judged(
    server: ChatServer, judge: Judge, status: int
) -> None:
    server.status_of = lambda asked: status if told(asked)["item"] == HOSTILE[0] else 200
    server.answer = lambda asked: "No." if told(asked)["item"] == HOSTILE[0] else "5"
    assert judge.grades(LIKING, [HOSTILE[0]]) == [None]
    assert judge.grades(LIKING, [HOSTILE[0], FILMS[0]]) == [None, 5.0]
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [401, 404, 503])
def test_a_server_that_refuses_everything_is_left_alone(server: ChatServer, judge: Judge, status: int) -> None:
    server.status_of = lambda asked: status
    assert judge.order(LIKING, FILMS) == list(range(12))
    asked = len(server.requests)
    assert judge.order(LIKING, FILMS) == list(range(12))
    assert len(server.requests) == asked


def test_an_endpoint_that_never_answers_is_left_at_the_deadline_and_then_alone(server: ChatServer) -> None:
    now = [0.0]
    server.silent = lambda asked: True
    settings = LanguageModelSettings(deadline_s=0.2, concurrency=2)
    with closing(Judge(ChatEndpoint(server.argument), settings, clock=lambda: now[0])) as judge:
        assert judge.order(LIKING, FILMS) == list(range(12))
        assert len(server.requests) <= 2, "what is late does not pile up"
        asked = len(server.requests)
        now[0] = REST_SECONDS / 2
        assert judge.order(LIKING, FILMS) == list(range(12))
        assert len(server.requests) == asked
        now[0] = REST_SECONDS
        server.silent = lambda asked: False
        judge.order(LIKING, FILMS)
        assert len(server.requests) > asked


def test_a_dead_endpoint_leaves_the_list(server: ChatServer) -> None:
    argument = server.argument
    server.shutdown()
    server.server_close()
    with closing(Judge(ChatEndpoint(argument), PATIENT)) as judge:
        assert judge.order(LIKING, FILMS) == list(range(12))


def test_a_model_that_fails_unexpectedly_leaves_the_list() -> None:
    class Broken:
        fingerprint = "broken"

        def complete(self, prompt: Prompt, tokens: int, deadline: float, *, weighed: bool = False) -> Completion:
            raise ZeroDivisionError

    with closing(Judge(Broken(), PATIENT)) as judge:
        assert judge.order(LIKING, FILMS) == list(range(12))


def test_who_answers_in_time_is_judged_while_others_are_late(server: ChatServer) -> None:
    server.silent = lambda asked: told(asked)["item"] == FILMS[0]
    server.answer = lambda asked: "9" if told(asked)["item"] == FILMS[4] else "0"
    with closing(Judge(ChatEndpoint(server.argument), LanguageModelSettings(deadline_s=2))) as judge:
        order = judge.order(LIKING, FILMS[:5])
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert order.index(4) < 4


class Parrot:
    """A model that does as every text says: the digit in it, or 0."""

    fingerprint = "parrot"

    def complete(self, prompt: Prompt, tokens: int, deadline: float, *, weighed: bool = False) -> Completion:
        text = plain(prompt.data["item"], 10_000)
        return Completion(next((letter for letter in text if letter in "0123456789"), "0"))


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("place", [0, 5, 9])
def test_a_hostile_text_moves_no_other_item(hostile: str, place: int) -> None:
    texts: list[str | None] = [f"Film {'abcdefghij'[number]} of {number * 7 % 10}" for number in range(10)]
    spoiled = [*texts[:place], hostile, *texts[place + 1 :]]
    with closing(Judge(Parrot(), PATIENT)) as judge:
        honest, judged = judge.grades(LIKING, texts), judge.grades(LIKING, spoiled)
        before, after = judge.order(LIKING, texts), judge.order(LIKING, spoiled)
    assert [*honest[:place], *honest[place + 1 :]] == [*judged[:place], *judged[place + 1 :]]
    assert [item for item in before if item != place] == [item for item in after if item != place]
    assert place - after.index(place) <= PATIENT.max_rise


def test_a_hostile_text_is_in_its_own_request_alone(server: ChatServer, judge: Judge) -> None:
    for hostile in HOSTILE:
        server.requests.clear()
        judge.order(LIKING, [*FILMS, hostile])
        others = [asked for asked in server.requests if told(asked)["item"] in FILMS]
        assert len(server.requests) - len(others) == 1
        assert all(asked["messages"][1]["content"].count("\n") <= 2 for asked in server.requests)


def test_prompts_of_a_list_differ_in_nothing_but_the_item() -> None:
    one, other = prompt_of(LIKING, "Moon"), prompt_of(LIKING, "Up")
    assert (one.instructions, one.question) == (other.instructions, other.question)
    assert list(one.data)[-1] == "item"
    assert {**one.data, "item": ""} == {**other.data, "item": ""}


# -- a real model -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(small_model() is None, reason="no small language model; see zhiyin.testing.small_language_model")
def test_a_real_model_grades_each_item_by_itself() -> None:
    weights = small_model()
    assert weights is not None
    texts: Sequence[str | None] = ["Alien. Horror", "Toy Story. Animation", HOSTILE[3]]
    with small_model_server(weights) as argument:
        with closing(Judge(ChatEndpoint(argument), LanguageModelSettings(deadline_s=60))) as judge:
            grades, order = judge.grades(LIKING, texts), judge.order(LIKING, texts)
        with closing(Judge(ChatEndpoint(argument), LanguageModelSettings(deadline_s=60))) as judge:
            alone = [judge.grades(LIKING, [text])[0] for text in texts[:2]]
    assert sorted(order) == [0, 1, 2]
    assert grades[:2] == alone
    assert all(grade is None or 0 <= grade <= 9 for grade in grades)
    assert None not in alone
