"""Accuracy of ranked lists, one figure a user."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntMatrix, IntVector
from zhiyin.core.dataset import Holdout, Query
from zhiyin.core.errors import InputError
from zhiyin.core.models import Model

NO_ITEM = -1
"""Fills a list where fewer unseen items exist than the list has places."""

CELLS = 2**24
"""Scores that are held at once, whatever the batch."""

FEW = 40
"""Targets of a user up to which counting what scores as high as each is quicker than to sort all scores."""


@dataclass(frozen=True, eq=False)
class RankingResult:
    """How a model ranked for each of `n` users of a hold-out.

    metrics: name ("recall@10", "gauc") -> (n,) figures over all targets; NaN where a figure is undefined (no
    target, or for "gauc" nothing to compare with). first, last: the same where only the user's next, or final,
    target is to be found. lists: (n, max k) item rows, best first, filled with `NO_ITEM`. seconds: wall time.

    "gauc" is the AUC of each user's list, whose mean is the GAUC (Zhu et al. 2017) with every user alike. None is
    pooled over users: their scores need have no common scale.
    """

    users: IntVector
    ks: tuple[int, ...]
    metrics: Mapping[str, FloatVector]
    first: Mapping[str, FloatVector]
    last: Mapping[str, FloatVector]
    lists: IntMatrix
    seconds: float

    def means(self) -> dict[str, float]:
        """Mean over the users for whom a figure is defined, every user alike."""
        return {name: mean_defined(values) for name, values in self.metrics.items()}


@dataclass(frozen=True, eq=False)
class View:
    """Which answers of a hold-out are asked for, and among which items; item rows, None for all.

    An answer that is not among the items is not asked for.
    """

    targets: IntVector | None = None
    among: IntVector | None = None


def evaluate_ranking(
    model: Model, holdout: Holdout, n_items: int, ks: Sequence[int] = (10, 20), batch: int = 256
) -> RankingResult:
    """Ranks all `n_items` for every query, without the rows it has `seen`, and compares with its targets.

    A target that ties with other items ranks last among them, so constant scores earn nothing.
    Raises `InputError` for a cut-off below 1, rows outside the catalogue, or scores of another shape or not finite.
    """
    return evaluate_views(model, holdout, n_items, {"all": View()}, ks=ks, batch=batch)["all"]


def evaluate_views(
    model: Model,
    holdout: Holdout,
    n_items: int,
    views: Mapping[str, View],
    *,
    ks: Sequence[int] = (10, 20),
    batch: int = 256,
) -> dict[str, RankingResult]:
    """`evaluate_ranking` by name of view, of scores asked for once; a user whom a view asks for nothing has NaN."""
    named = [rows for view in views.values() for rows in (view.targets, view.among) if rows is not None]
    _check_rows("rows of a view", named, n_items)
    asked = _asked(lambda queries: {model.name: model.score(queries)}, holdout, n_items, views, ks=ks, batch=batch)
    return {name: asked[model.name, name] for name in views}


def evaluate_stages(
    score: Callable[[Sequence[Query]], Mapping[str, FloatMatrix]],
    holdout: Holdout,
    n_items: int,
    ks: Sequence[int] = (10, 20),
    batch: int = 256,
) -> dict[str, RankingResult]:
    """`evaluate_ranking` by name of what scores (queries, items) at once, as one of it is made of the other."""
    asked = _asked(score, holdout, n_items, {"all": View()}, ks=ks, batch=batch)
    return {name: result for (name, _), result in asked.items()}


def _asked(
    score: Callable[[Sequence[Query]], Mapping[str, FloatMatrix]],
    holdout: Holdout,
    n_items: int,
    views: Mapping[str, View],
    *,
    ks: Sequence[int],
    batch: int,
) -> dict[tuple[str, str], RankingResult]:
    """By name of what scores, and of the view."""
    if not ks or min(ks) < 1:
        raise InputError(f"cut-offs must be 1 or more, got {tuple(ks)}; pass for example ks=(10, 20)")
    if batch < 1:
        raise InputError(f"batch must be 1 or more, got {batch}")
    for name, rows in (("targets", holdout.targets), ("seen", holdout.seen)):
        _check_rows(name, rows, n_items)
    cuts, began = tuple(sorted(set(ks))), time.perf_counter()
    batch = max(1, min(batch, CELLS // max(1, n_items)))
    askings: dict[tuple[str, str], _Asking] = {}
    # An empty hold-out is asked, too, so that there is a result of everything.
    for start in range(0, max(1, len(holdout)), batch):
        span = slice(start, start + batch)
        owner, seen = _flatten(holdout.seen[span])
        for name, told in score(holdout.queries[span]).items():
            scores = _checked(name, told, holdout, span, n_items)
            scores[owner, seen] = -np.inf
            for view, asks in views.items():
                asking = askings.setdefault((name, view), _Asking(asks, n_items, cuts))
                asking.ask(scores, holdout.targets[span])
    users, seconds = np.asarray(holdout.users, np.int64), time.perf_counter() - began
    return {names: asking.result(users, seconds) for names, asking in askings.items()}


class _Asking:
    """One view of a hold-out, batch by batch."""

    def __init__(self, view: View, n_items: int, cuts: tuple[int, ...]) -> None:
        self._among = np.arange(n_items) if view.among is None else np.unique(view.among)
        self._place = np.full(n_items, NO_ITEM)
        self._place[self._among] = np.arange(len(self._among))
        self._asked = self._place != NO_ITEM
        if view.targets is not None:
            self._asked &= np.isin(np.arange(n_items), view.targets)
        self._cuts = cuts
        self._figures: dict[str, list[Mapping[str, FloatVector]]] = {"all": [], "first": [], "last": []}
        self._lists: list[IntMatrix] = []

    def ask(self, scores: FloatMatrix, targets: Sequence[IntVector]) -> None:
        """scores: (n, items), -inf where a list may not hold an item; targets: per row, in the order of time."""
        n = len(scores)
        scores = scores if len(self._among) == len(self._place) else scores[:, self._among]
        asked = [self._place[rows[self._asked[rows]]] for rows in targets]
        askers = np.flatnonzero([len(columns) > 0 for columns in asked])
        mine = scores[askers]
        for which, chosen in (
            ("all", [np.unique(asked[row]) for row in askers]),
            ("first", [asked[row][:1] for row in askers]),
            ("last", [asked[row][-1:] for row in askers]),
        ):
            owner, ranks, rivals = _ranks(mine, chosen)
            owner = askers[owner]
            figures = ranking_metrics(owner, ranks, n, self._cuts)
            self._figures[which].append(figures | {"gauc": _auc(owner, ranks, rivals, n)})
        places = top_k(scores, self._cuts[-1])
        self._lists.append(np.where(places == NO_ITEM, NO_ITEM, self._among[places]))

    def result(self, users: IntVector, seconds: float) -> RankingResult:
        joined = {which: _join(parts, self._cuts) for which, parts in self._figures.items()}
        return RankingResult(
            users=users,
            ks=self._cuts,
            metrics=joined["all"],
            first=joined["first"],
            last=joined["last"],
            lists=np.concatenate(self._lists) if self._lists else np.empty((0, self._cuts[-1]), np.int64),
            seconds=seconds,
        )


def metric_names(ks: Sequence[int]) -> tuple[str, ...]:
    """The names of all figures at the cut-offs `ks`."""
    kinds = ("recall", "precision", "hit", "ndcg", "mrr", "map")
    return (*(f"{kind}@{k}" for k in ks for kind in kinds), "gauc")


def ranking_metrics(owner: IntVector, ranks: IntVector, n: int, ks: Sequence[int]) -> dict[str, FloatVector]:
    """Name -> (n,) figures from the ranks of targets, as trec_eval defines them for binary relevance.

    owner, ranks: (t,) the user (0 .. n-1) and the place (from 1) of each target, sorted by owner, then rank.
    ndcg divides by the best gain in k places, map by the number of targets, mrr is 0 past place k.
    """
    count = np.bincount(owner, minlength=n)
    defined = count > 0
    starts = np.cumsum(count) - count
    found_before = np.arange(len(owner)) - starts[owner] + 1
    first = np.full(n, np.inf)
    first[defined] = ranks[starts[defined]]
    metrics: dict[str, FloatVector] = {}
    for k in ks:
        within = ranks <= k
        hits = np.bincount(owner[within], minlength=n).astype(np.float64)
        gain = np.bincount(owner[within], 1 / np.log2(ranks[within] + 1), minlength=n)
        ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, k + 2)))])[np.minimum(count, k)]
        precisions = np.bincount(owner[within], found_before[within] / ranks[within], minlength=n)
        figures = {
            "recall": _divide(hits, count),
            "precision": hits / k,
            "hit": (hits > 0).astype(np.float64),
            "ndcg": _divide(gain, ideal),
            "mrr": np.where(first <= k, 1 / first, 0.0),
            "map": _divide(precisions, count),
        }
        metrics |= {f"{name}@{k}": np.where(defined, values, np.nan) for name, values in figures.items()}
    return metrics


def top_k(scores: FloatMatrix, k: int) -> IntMatrix:
    """(n, k) columns of the highest finite scores, best first, the lower column first among equals."""
    n, width = scores.shape
    places = min(k, width)
    lists = np.full((n, k), NO_ITEM, np.int64)
    if n == 0 or places == 0:
        return lists
    threshold = -np.partition(-scores, places - 1, axis=1)[:, places - 1 : places]
    above = scores > threshold
    level = scores == threshold
    room = places - above.sum(axis=1)
    crowded = np.flatnonzero(level.sum(axis=1) > room)
    level[crowded] &= np.cumsum(level[crowded], axis=1) <= room[crowded, None]
    columns = np.nonzero(above | level)[1].reshape(n, places)
    values = np.take_along_axis(scores, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    columns = np.take_along_axis(columns, order, axis=1)
    lists[:, :places] = np.where(np.isfinite(np.take_along_axis(values, order, axis=1)), columns, NO_ITEM)
    return lists


def mean_defined(values: FloatVector) -> float:
    """The mean of what is not NaN; NaN where nothing is."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else float("nan")


def _checked(name: str, told: FloatMatrix, holdout: Holdout, span: slice, n_items: int) -> FloatMatrix:
    """A copy of the scores that `name` told."""
    scores, asked = np.array(told), len(holdout.queries[span])
    if scores.shape != (asked, n_items):
        raise InputError(f"model {name!r} gave scores of shape {scores.shape}, not {(asked, n_items)}")
    if not np.isfinite(scores).all():
        raise InputError(f"model {name!r} gave scores that are not finite in hold-out {holdout.name!r}")
    return scores


def _check_rows(name: str, rows: Sequence[IntVector], n_items: int) -> None:
    flat = np.concatenate(rows) if rows else np.empty(0, np.int64)
    if len(flat) and (flat.min() < 0 or flat.max() >= n_items):
        raise InputError(f"{name} of the hold-out lie outside the {n_items} items: {flat.min()} to {flat.max()}")


def _flatten(rows: Sequence[IntVector]) -> tuple[IntVector, IntVector]:
    owner = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    return owner, np.concatenate(rows).astype(np.int64) if rows else np.empty(0, np.int64)


def _ranks(scores: FloatMatrix, targets: Sequence[IntVector]) -> tuple[IntVector, IntVector, IntVector]:
    """(t,) owners, ranks and numbers of unseen other items of the targets, by owner, then rank."""
    n = len(scores)
    owner, columns = _flatten(targets)
    values = scores[owner, columns]
    order = np.lexsort((-values, owner))
    owner, values = owner[order], values[order]
    count = np.bincount(owner, minlength=n)
    bounds = np.concatenate([[0], np.cumsum(count)])
    at_least = np.empty(len(owner), np.int64)
    for row in range(n):
        span = slice(bounds[row], bounds[row + 1])
        at_least[span] = _at_least(scores[row], values[span])
    place = np.arange(len(owner)) - bounds[owner]
    last_equal = np.zeros(len(owner), np.int64)
    for row in range(n):
        span = slice(bounds[row], bounds[row + 1])
        last_equal[span] = np.searchsorted(-values[span], -values[span], side="right")
    ranks = at_least - last_equal + place + 1
    # A target the list may not hold is never found, whatever its score.
    ranks[np.isneginf(values)] = np.iinfo(np.int64).max // 2
    listed = np.isfinite(scores).sum(axis=1)
    found = np.bincount(owner, np.isfinite(values), minlength=n).astype(np.int64)
    return owner, ranks, (listed - found)[owner]


def _at_least(scores: FloatVector, values: FloatVector) -> IntVector:
    """(n,) how many of the `scores` are not below each of the `values` (n,)."""
    if len(values) <= FEW:
        return np.array([np.count_nonzero(scores >= value) for value in values], np.int64)
    return len(scores) - np.searchsorted(np.sort(scores), values, side="left")


def _auc(owner: IntVector, ranks: IntVector, rivals: IntVector, n: int) -> FloatVector:
    """(n,) share of (target, unseen other item) pairs in the right order; equals the area under the ROC curve
    where no scores tie."""
    count = np.bincount(owner, minlength=n)
    bounds = np.cumsum(count) - count
    above = ranks - 1 - (np.arange(len(owner)) - bounds[owner])
    right = _divide(np.maximum(rivals - above, 0), rivals)
    return _divide(np.bincount(owner, right, minlength=n), count)


def _divide(numerator: FloatVector | IntVector, denominator: FloatVector | IntVector) -> FloatVector:
    empty = denominator == 0
    return np.where(empty, np.nan, numerator / np.where(empty, 1, denominator))


def _join(parts: Sequence[Mapping[str, FloatVector]], ks: Sequence[int]) -> dict[str, FloatVector]:
    empty = np.empty(0, np.float64)
    return {name: np.concatenate([empty, *(part[name] for part in parts)]) for name in metric_names(ks)}
