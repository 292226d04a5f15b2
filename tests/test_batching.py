"""What is asked at the same time is answered together, and each as if it were alone."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest
from doubles import NOW, MemoryStores, films_stores, films_system

from zhiyin.app.service import RecommendRequest, Service
from zhiyin.app.serving.batching import TOGETHER, Batcher
from zhiyin.core.errors import InputError, StoreError
from zhiyin.core.events import Events


@pytest.fixture
def service() -> Iterator[Service]:
    with closing(Service(films_system(), films_stores(), clock=lambda: NOW)) as opened:
        yield opened


def test_what_waits_is_answered_together_in_its_order() -> None:
    batches: list[list[int]] = []
    first, held = threading.Event(), threading.Event()

    def doubled(questions: Sequence[int]) -> list[int]:
        batches.append(list(questions))
        first.set()
        held.wait()
        return [2 * question for question in questions]

    with closing(Batcher(doubled)) as batcher:
        asked = [batcher.ask(0)]
        first.wait()
        asked += [batcher.ask(question) for question in range(1, TOGETHER + 3)]
        held.set()
        assert [answer.result() for answer in asked] == [2 * question for question in range(TOGETHER + 3)]
    assert batches == [[0], list(range(1, TOGETHER + 1)), [TOGETHER + 1, TOGETHER + 2]]


def test_an_error_is_of_the_one_who_asked_for_it() -> None:
    held = threading.Event()

    def root(questions: Sequence[int]) -> list[int | Exception]:
        held.wait()
        return [ValueError(question) if question < 0 else question for question in questions]

    with closing(Batcher(root)) as batcher:
        good, bad, other = batcher.ask(4), batcher.ask(-1), batcher.ask(9)
        held.set()
        assert (good.result(), other.result()) == (4, 9)
        with pytest.raises(ValueError, match="-1"):
            bad.result()


def test_an_error_of_the_whole_is_told_to_everybody_and_others_are_answered_after_it() -> None:
    def broken(questions: Sequence[str]) -> list[str]:
        if "bad" in questions:
            raise StoreError("does not answer")
        return list(questions)

    with closing(Batcher(broken)) as batcher:
        with pytest.raises(StoreError, match="does not answer"):
            batcher.ask("bad").result()
        assert batcher.ask("good").result() == "good"


def test_who_went_away_takes_nothing_from_others() -> None:
    first, held = threading.Event(), threading.Event()

    def same(questions: Sequence[int]) -> list[int]:
        first.set()
        held.wait()
        return list(questions)

    with closing(Batcher(same)) as batcher:
        answered = batcher.ask(1)
        first.wait()
        gone, stayed = batcher.ask(2), batcher.ask(3)
        assert gone.cancel()
        held.set()
        assert (answered.result(), stayed.result()) == (1, 3)


def test_several_threads_answer_side_by_side() -> None:
    meeting = threading.Barrier(3, timeout=60)

    def met(questions: Sequence[int]) -> list[int]:
        meeting.wait()
        return list(questions)

    with closing(Batcher(met, together=1, patience_s=0.0)) as batcher:
        assert sorted(answer.result() for answer in [batcher.ask(each) for each in range(3)]) == [0, 1, 2]


def test_all_that_was_asked_is_answered_before_it_closes() -> None:
    batcher = Batcher[int, int](list)
    asked = [batcher.ask(question) for question in range(100)]
    batcher.close()
    assert [answer.result(0) for answer in asked] == list(range(100))
    with pytest.raises(StoreError, match="closed"):
        batcher.ask(1)


def test_lists_that_are_asked_for_together_are_those_of_each_alone(service: Service) -> None:
    requests = [
        RecommendRequest("ann", 3),
        RecommendRequest("小明", 2, keep_seen=True),
        RecommendRequest("nobody", 4),
        RecommendRequest("ann", 2, ("Romance",)),
        RecommendRequest("ann", 2, skip=1),
        RecommendRequest("ann", 2, exclude=("alien",), behind=5),
    ]

    def told(served: object) -> object:
        return vars(served) | {"recommendation_id": None}

    together = [service.ask(request) for request in requests]
    assert [told(answer.result()) for answer in together] == [told(service.recommend(each)) for each in requests]


def test_a_request_that_cannot_be_used_harms_no_other(service: Service) -> None:
    good, bad, empty = (service.ask(RecommendRequest(user, n)) for user, n in (("ann", 3), ("", 3), ("ann", 0)))
    assert len(good.result().items) == 3
    for refused in (bad, empty):
        with pytest.raises(InputError):
            refused.result()


def test_lists_without_reasons_hold_the_same_items(service: Service) -> None:
    explained = service.recommend(RecommendRequest("ann", 3))
    plain = service.recommend(RecommendRequest("ann", 3, explain=False))
    assert [item.item_id for item in explained.items] == [item.item_id for item in plain.items]
    assert {item.reason.kind for item in explained.items} == {"history"}
    assert {item.reason.kind for item in plain.items} == {"none"}


def test_an_event_is_known_to_the_list_that_is_asked_for_after_it() -> None:
    stores: MemoryStores = films_stores()
    with closing(Service(films_system(), stores, clock=lambda: NOW)) as service:
        [first, *_] = service.ask(RecommendRequest("ann", 1)).result().items
        service.record(Events.build(user_id=["ann"], item_id=[first.item_id], event="purchase", timestamp=[NOW]))
        assert first.item_id not in {item.item_id for item in service.ask(RecommendRequest("ann", 9)).result().items}


def test_what_takes_long_holds_up_nobody_behind_it() -> None:
    stuck, free = threading.Event(), threading.Event()

    def slow(questions: Sequence[str]) -> list[str]:
        if "slow" in questions:
            stuck.set()
            free.wait()
        return list(questions)

    with closing(Batcher(slow, patience_s=0.01)) as batcher:
        late = batcher.ask("slow")
        stuck.wait()
        assert [batcher.ask(name).result(60) for name in ("a", "b", "c")] == ["a", "b", "c"]
        assert not late.done()
        free.set()
        assert late.result(60) == "slow"


class PanicError(BaseException):
    """As libraries in other languages raise it."""


@pytest.mark.parametrize("broken", [PanicError("lost"), None])
def test_no_error_ends_the_answering(broken: BaseException | None) -> None:
    def fragile(questions: Sequence[int]) -> list[int]:
        if -1 in questions:
            if broken is not None:
                raise broken
            return []
        return list(questions)

    with closing(Batcher(fragile, threads=1)) as batcher:
        with pytest.raises(RuntimeError, match=r"lost|0 answers"):
            batcher.ask(-1).result(60)
        assert batcher.ask(1).result(60) == 1


def test_settling_waits_for_what_had_begun_and_for_nothing_else() -> None:
    begun, free = threading.Event(), threading.Event()

    def held(questions: Sequence[int]) -> list[int]:
        begun.set()
        free.wait()
        return list(questions)

    with closing(Batcher(held, threads=1)) as batcher:
        first = batcher.ask(1)
        begun.wait()
        batcher.ask(2)
        settled = threading.Thread(target=batcher.settle)
        settled.start()
        assert settled.is_alive()
        free.set()
        settled.join(60)
        assert not settled.is_alive()
        assert first.done()


def test_a_history_that_breaks_the_model_harms_no_other(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    model = type(service.slot.state.model)
    score = model.score

    def fragile(self: Any, queries: Any, candidates: Any = None) -> Any:
        if any(len(query.history) == 1 for query in queries):
            raise ValueError("a history of one event")
        return score(self, queries, candidates)

    service.record(Events.build(user_id=["one"], item_id=["alien"], event="like", timestamp=[NOW]))
    monkeypatch.setattr(model, "score", fragile)
    broken, good = service._lists([RecommendRequest("one", 2), RecommendRequest("ann", 2)])
    assert isinstance(broken, ValueError)
    assert not isinstance(good, Exception)
    assert len(good.items) == 2


def test_many_lists_are_logged_only_where_all_of_them_are_given() -> None:
    stores = films_stores()
    with closing(Service(films_system(), stores, clock=lambda: NOW)) as service:
        with pytest.raises(InputError):
            service.recommend_many(["ann", ""])
        assert not list(stores.impressions.every())
