"""For whom a model works: figures by groups of users."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zhiyin.core.arrays import BoolVector, FloatVector, IntVector, TextVector
from zhiyin.core.dataset import Holdout
from zhiyin.core.errors import InputError
from zhiyin.evaluation.intervals import Interval, bootstrap_intervals

HISTORY_EDGES = (1, 5, 20, 50, 100)
HEAD_SHARE, MIDDLE_SHARE = 0.5, 0.8


@dataclass(frozen=True, eq=False)
class Slice:
    """Some rows of a hold-out. kind: what they are grouped by. rows: (n,) mask."""

    kind: str
    label: str
    rows: BoolVector


@dataclass(frozen=True)
class SliceFigures:
    """metrics: name -> mean with interval over the slice. users: rows in the slice."""

    kind: str
    label: str
    users: int
    metrics: Mapping[str, Interval]


def by_history_length(holdout: Holdout, edges: Sequence[int] = HISTORY_EDGES) -> list[Slice]:
    """Groups by the number of events in the query's history; `edges` are where the next group begins."""
    lengths = np.array([len(query.history) for query in holdout.queries], np.int64)
    starts = [0, *edges]
    group = np.searchsorted(np.asarray(edges), lengths, side="right")
    labels = [str(low) if high - low == 1 else f"{low}–{high - 1}" for low, high in zip(starts, edges, strict=False)]
    return _groups("History length", [*labels, f"{starts[-1]}+"], group)


def by_target_popularity(holdout: Holdout, popularity: IntVector) -> list[Slice]:
    """Groups by how popular the user's next item (the first target) is; use with figures on the first target.

    popularity: (n_items,) counts. Head items together have half of all counts, the middle the next 30 %, the
    tail the rest. Users without a target are in no group.
    """
    order = np.argsort(-popularity, kind="stable")
    before = np.cumsum(popularity[order]) - popularity[order]
    share = before / max(int(popularity.sum()), 1)
    band = np.empty(len(popularity), np.int64)
    band[order] = np.where(popularity[order] == 0, 2, np.digitize(share, [HEAD_SHARE, MIDDLE_SHARE]))
    group = np.array([band[rows[0]] if len(rows) else -1 for rows in holdout.targets], np.int64)
    return _groups("Next item's popularity", ["head", "middle", "tail"], group)


def by_attribute(name: str, values: TextVector, at_most: int = 8) -> list[Slice]:
    """Groups by an attribute of the users: `values` (n,), aligned with the hold-out, None where unknown.

    The `at_most` most frequent values have their own group, the others share "other".
    """
    counts = Counter(value for value in values if value is not None)
    labels = sorted(value for value, _ in counts.most_common(at_most))
    place = {value: row for row, value in enumerate(labels)}
    group = [len(labels) + 1 if value is None else place.get(value, len(labels)) for value in values]
    return _groups(name, [*labels, "other", "unknown"], np.array(group, np.int64))


def by_attributes(attributes: Mapping[str, TextVector], users: IntVector, at_most: int = 8) -> list[Slice]:
    """Groups by every attribute of the users that makes a few of them, aligned with `users`.

    attributes: name -> (all users,) text, None where unknown. An attribute of `at_most` different values is taken
    as it is, numbers of more values are cut in quartiles, and other text is left out.
    """
    slices: list[Slice] = []
    for name, column in attributes.items():
        values = column[users]
        different = {value for value in column if value is not None}
        numbers = _numbers(column)
        if 1 < len(different) <= at_most:
            slices += by_attribute(name, values, at_most)
        elif len(different) > at_most and numbers is not None:
            slices += by_quartile(name, numbers[users])
    return slices


def by_quartile(name: str, values: FloatVector) -> list[Slice]:
    """Four groups of about equal size by numbers (n,), NaN where unknown; equal numbers stay together."""
    known = values[~np.isnan(values)]
    edges = np.unique(np.quantile(known, [0.25, 0.5, 0.75])) if len(known) else np.empty(0)
    group = np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="left"))
    labels = [_span(values[group == place]) for place in range(len(edges) + 1)]
    return _groups(name, [*labels, "unknown"], np.where(group < 0, len(labels), group))


def slice_figures(metrics: Mapping[str, FloatVector], slices: Sequence[Slice], seed: int = 0) -> list[SliceFigures]:
    """The mean of each metric (name -> (n,) a user) in each slice, with bootstrap intervals."""
    figures = []
    for part in slices:
        for name, values in metrics.items():
            if len(values) != len(part.rows):
                raise InputError(f"metric {name!r} has {len(values)} users, slice {part.label!r} {len(part.rows)}")
        chosen = {name: values[part.rows] for name, values in metrics.items()}
        figures.append(SliceFigures(part.kind, part.label, int(part.rows.sum()), bootstrap_intervals(chosen, seed)))
    return figures


def _groups(kind: str, labels: Sequence[str], group: IntVector) -> list[Slice]:
    slices = [Slice(kind, label, group == place) for place, label in enumerate(labels)]
    return [part for part in slices if part.rows.any()]


def _span(values: FloatVector) -> str:
    if not len(values):
        return ""
    low, high = f"{values.min():g}", f"{values.max():g}"
    return low if low == high else f"{low}–{high}"


def _numbers(values: TextVector) -> FloatVector | None:
    """(n,) float64 with NaN where unknown; None where the text is no number, or a code such as "01234"."""
    if any(value is not None and value[:1] == "0" and value[1:2].isdigit() for value in values):
        return None
    try:
        numbers = np.array([np.nan if value is None else float(value) for value in values], np.float64)
    except ValueError:
        return None
    return None if np.isinf(numbers).any() else numbers
