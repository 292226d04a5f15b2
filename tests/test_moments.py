"""The popularity of a moment is told by what came before it."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zhiyin.core.events import MISSING_TIME
from zhiyin.core.histories import Histories
from zhiyin.models.moments import Moments

DAY = 86_400_000


def histories(items: list[int], days: list[float]) -> Histories:
    n = len(items)
    return Histories(
        np.array([0, n], np.int64),
        np.array(items, np.int64),
        np.ones(n, np.float32),
        np.full(n, np.nan, np.float32),
        (np.array(days) * DAY).astype(np.int64),
    )


def test_now_counts_what_is_recent() -> None:
    events = histories([0] * 300 + [1] * 300, [*np.linspace(0, 10, 300), *np.linspace(90, 100, 300)])
    last = Moments.of(events, 3, 100 * DAY, half_life_days=3.0).logs[-1]
    assert last[1] > last[0] > last[2]


def test_without_a_half_life_every_moment_has_the_whole_period() -> None:
    moments = Moments.of(histories([0, 0, 1], [0, 1, 2]), 2, 2 * DAY, half_life_days=None)
    np.testing.assert_allclose(np.exp(moments.logs), [[0.6, 0.4], [0.6, 0.4]], rtol=1e-6)
    assert set(moments.rows(np.array([0, DAY], np.int64))) == {0}


def test_an_event_of_unknown_time_counts_like_the_oldest() -> None:
    events = histories([0, 1, 2], [0, 1, 90])
    times = events.timestamps.copy()
    times[1] = MISSING_TIME
    moments = Moments.of(replace(events, timestamps=times), 3, 90 * DAY, half_life_days=3.0)
    assert len(moments.opens) > 1
    assert moments.logs[-1][2] > moments.logs[-1][1] == moments.logs[-1][0]


def test_a_log_without_times_has_no_moment() -> None:
    events = histories([0, 0, 1], [0, 1, 2])
    timeless = replace(events, timestamps=np.full(3, MISSING_TIME, np.int64))
    np.testing.assert_array_equal(
        Moments.of(timeless, 2, 0, half_life_days=3.0).logs, Moments.of(events, 2, 0, half_life_days=None).logs
    )


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 50)), min_size=2, max_size=40), st.integers(0, 39))
def test_a_moment_never_sees_its_own_or_later_events(pairs: list[tuple[int, float]], which: int) -> None:
    """Changing the events from some time on changes no moment that holds up to that time."""
    items, days = [item for item, _ in pairs], [day for _, day in pairs]
    events = histories(items, days)
    cut = events.timestamps[which % len(pairs)]
    changed = replace(events, items=np.where(events.timestamps >= cut, 4 - events.items, events.items))
    one, other = (Moments.of(each, 5, 60 * DAY, half_life_days=3.0) for each in (events, changed))
    row = one.rows(np.array([cut]))[0]
    np.testing.assert_allclose(one.logs[: row + 1], other.logs[: row + 1])
    np.testing.assert_allclose(np.exp(one.logs).sum(axis=1), 1.0, rtol=1e-5)
