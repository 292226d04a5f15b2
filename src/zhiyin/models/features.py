"""Gradient-boosted trees over what is known of user, item and history."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.histories import Histories
from zhiyin.core.models import Candidates, FitReport, Parameters, Run
from zhiyin.models.inputs import decay
from zhiyin.models.stored import StoredModel
from zhiyin.models.trees import TreesConfig, as_array, from_array, grown

RECENT_DAYS = 30.0
"""Half life of the second popularity column: what is liked at present, besides what always was."""

NEWCOMERS = 0.2
"""Share of the likes learned from whose history is hidden."""

ROWS_AT_ONCE = 200_000


class FeatureTrees(StoredModel):
    """XGBoost on observed likes against sampled items.

    Columns: user features, item features, the mean item features of the likes before, the product of the two summed,
    the log count of those likes, the log popularity of the item, ever and of late.
    """

    class Config(TreesConfig):
        """negatives: sampled items a like. learn_from: share of likes, the latest, that are learned from with the
        popularity before them. positives: at most that many of these, drawn at random.
        """

        negatives: int = Field(default=4, ge=1)
        learn_from: float = Field(default=0.3, gt=0, le=1)
        positives: int = Field(default=50_000, ge=1)

    name: ClassVar[str] = "features"
    arrays: ClassVar[frozenset[str]] = frozenset({"booster", "item_columns", "item_features", "user_width"})
    search: ClassVar[tuple[dict[str, Any], ...]] = ({"learn_from": 0.1}, {"learn_from": 0.3})
    config: Config

    def fit(self, data: Dataset, run: Run) -> FitReport:
        generator = np.random.default_rng(run.seed)
        events, n_items = data.histories, len(data.items)
        item_features = np.asarray(data.item_features.matrix, np.float32)
        likes = (events.weights > 0).astype(np.float64)
        chosen = _latest(likes, events.timestamps, self.config.learn_from)
        # What a like of the window is learned from must have been known before it, as it will be when serving.
        earlier = likes.copy()
        earlier[chosen] = 0.0
        opening = int(events.timestamps[chosen].min()) if len(chosen) else data.now
        learning = _popularity(earlier, data, opening)
        users = events.users
        if len(chosen) > self.config.positives:
            chosen = np.sort(generator.choice(chosen, self.config.positives, replace=False))
        width = 1 + self.config.negatives
        items = np.repeat(events.items[chosen], width).reshape(-1, width)
        items[:, 1:] = generator.integers(0, max(1, n_items), (len(chosen), self.config.negatives))
        labels = np.zeros(items.shape, np.float32)
        labels[:, 0] = 1.0
        # Newcomers are rare among the latest likes; some users are shown as if they had just come.
        come = generator.random(len(chosen)) >= NEWCOMERS
        before, sums = _before(chosen, likes, data.histories, item_features)
        mean = come[:, None] * sums / np.maximum(before, 1.0)[:, None]
        rows = np.repeat(np.arange(len(chosen)), width)
        table = _table(
            np.asarray(data.user_features.matrix, np.float32)[users[chosen]][rows],
            mean.astype(np.float32)[rows],
            (come * before).astype(np.float32)[rows],
            items.ravel(),
            item_features=item_features,
            columns=learning,
        )
        # Free to rise and fall, trees tell single items apart by their exact popularity and learn them by heart.
        rising = (0,) * (table.shape[1] - 2) + (1, 1)
        booster = grown(table, labels.ravel(), self.config, run.seed, monotone_constraints=rising)
        self.load_parameters(
            {
                "booster": as_array(booster),
                "item_columns": _popularity(likes, data, data.now),
                "item_features": item_features,
                "user_width": np.array([data.user_features.matrix.shape[1]], np.int64),
            }
        )
        return FitReport()

    def _prepare(self, parameters: Parameters) -> None:
        self._booster = from_array(parameters["booster"])

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        """Log odds that the user likes the item; a user without features counts as unknown in each of them."""
        parameters = self.parameters()
        item_features, columns = parameters["item_features"], parameters["item_columns"]
        shared = np.arange(len(columns)) if candidates is None else candidates
        lines = np.broadcast_to(shared, (len(queries), shared.shape[-1]))
        scores = np.zeros(lines.shape)
        at_once = max(1, ROWS_AT_ONCE // max(1, lines.shape[1]))
        for start in range(0, len(queries), at_once):
            part = queries[start : start + at_once]
            if not lines.shape[1]:
                break
            known = [self._known(query, item_features, int(parameters["user_width"][0])) for query in part]
            rows = np.repeat(np.arange(len(part)), lines.shape[1])
            users, means, counts = (np.array(column, np.float32) for column in zip(*known, strict=True))
            items = lines[start : start + at_once]
            table = _table(
                users[rows], means[rows], counts[rows], items.ravel(), item_features=item_features, columns=columns
            )
            margins = self._booster.inplace_predict(table, predict_type="margin")
            scores[start : start + at_once] = np.asarray(margins, np.float64).reshape(items.shape)
        return scores

    def _known(
        self, query: Query, item_features: FloatMatrix, user_width: int
    ) -> tuple[FloatVector, FloatVector, float]:
        history = query.history
        liked = history.items[(history.weights > 0) & (history.items >= 0) & (history.items < len(item_features))]
        user = np.full(user_width, np.nan) if query.user_features is None else query.user_features
        mean = item_features[liked].sum(axis=0, dtype=np.float64) / max(1, len(liked))
        return user, mean, float(len(liked))


def _latest(likes: FloatVector, timestamps: IntVector, share: float) -> IntVector:
    """(n,) rows of the latest `share` of likes, in the order of rows."""
    liked = np.flatnonzero(likes)
    order = liked[np.argsort(timestamps[liked], kind="stable")]
    return np.sort(order[len(order) - int(np.ceil(share * len(order))) :])


def _popularity(likes: FloatVector, data: Dataset, now: int) -> FloatMatrix:
    """(items, 2) float32: likes ever, and likes that fade, as the log of 1 + their ratio to the mean item's."""
    events = data.histories
    recent = likes * decay(events.timestamps, now, RECENT_DAYS)
    counts = [np.bincount(events.items, weights, len(data.items)) for weights in (likes, recent)]
    ratios = [count / max(float(count.mean()), 1e-9) for count in counts]
    columns: NDArray[np.float32] = np.log1p(ratios).T.astype(np.float32)
    return columns


def _before(
    chosen: IntVector, likes: FloatVector, histories: Histories, item_features: FloatMatrix
) -> tuple[FloatVector, FloatMatrix]:
    """Likes of the same user before each chosen event: their count (n,) and the sum of their features (n, f)."""
    counts, sums = np.zeros(len(chosen)), np.zeros((len(chosen), item_features.shape[1]))
    owners, starts = np.unique(histories.users[chosen], return_index=True)
    for owner, start, stop in zip(owners, starts, [*starts[1:], len(chosen)], strict=True):
        first, end = histories.indptr[owner], chosen[stop - 1]
        liked, places = likes[first:end, None], chosen[start:stop] - first
        running = np.cumsum(liked * np.hstack([np.ones_like(liked), item_features[histories.items[first:end]]]), axis=0)
        known = np.vstack([np.zeros((1, running.shape[1])), running])[places]
        counts[start:stop], sums[start:stop] = known[:, 0], known[:, 1:]
    return counts, sums


def _table(
    users: FloatMatrix,
    means: FloatMatrix,
    counts: FloatVector,
    items: IntVector,
    *,
    item_features: FloatMatrix,
    columns: FloatMatrix,
) -> FloatMatrix:
    own = item_features[items]
    affinity = np.einsum("nf,nf->n", means, own)
    return np.column_stack([users, own, means, affinity, np.log1p(counts), columns[items]]).astype(np.float32)
