"""A second stage: the best of what a blend finds, put in order by trees that know what each of its parts said.

The candidates of a query are the known items that the blend puts first. Of each the trees read how far it is ahead by
the blend and by each part (deviations among known items, and its place among the candidates), and how popular it is;
and of the history how long it is and how popular what it holds is. So a part may count more for short histories than
for long ones, or for rare items than for popular ones, which weights alone cannot say. Their loss is logistic: did the
user go on to this candidate? (Stacked generalisation, Wolpert, 1992, with trees by Chen and Guestrin, 2016.)

Where it is known what users were shown before they went on, that is learned from beside the candidates, and the trees
read in which place of a list it was: what stood in front was looked at, what was not shown could not be taken. When the
trees are asked, all candidates stand in the first place, so that what is due to the place is left out of the order (as
in Zhao et al., 2019).

Where some of what people do is worth more than the rest, the candidates stand in the order of what they are likely to
be worth, for which each kind of event has trees of its own (`heads`).

The candidates get the blend's scores of them in the order of the trees, so that items training has not met, of which
the trees say nothing, keep the places that the blend gives them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self, cast

import numpy as np
import xgboost
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat

from zhiyin.core.arrays import FloatMatrix, FloatVector, IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Dataset, Holdout, Query, Split
from zhiyin.core.errors import ArtifactError, InputError
from zhiyin.core.exposures import Shown
from zhiyin.core.models import Candidates, FitReport, Parameters, Run, gather
from zhiyin.core.results import Contributions
from zhiyin.models.blend import Blend, BlendConfig, BlendScored, within
from zhiyin.models.heads import PREFIX, Heads, of_candidates, usual_outcomes
from zhiyin.models.standing import places, steepness
from zhiyin.models.taking import appeal_when_shown
from zhiyin.models.trees import TreesConfig, as_array, from_array, grown

TREES, APPEAL, TAKING = "ranker.trees", "ranker.appeal", "ranker.taking"
USUAL, SCALE = "ranker.usual", "ranker.scale"

SHOWN = ("taken when shown", "place in a list that was shown")
"""The last columns, where it was known what was shown when the trees were taught."""

FIRST = 1
"""Place in which the trees are asked about candidates; it stands for one that is unknown, too."""

QUESTIONS = 10_000
"""At most so many of those that are held out are learned from."""

CELLS = 20_000_000
"""Scores by all parts that are held at once."""

DRAWN = 0.7
"""Share of the rows, and of the columns, that a tree is grown from."""


class RankerConfig(BlendConfig, TreesConfig):
    """candidates: so many of the blend's best items are put in another order. worth: by kind of event, what one is
    worth to whoever runs the shop, of `rating` the best one; none, and whatever is taken is worth the same.
    """

    worth: Mapping[str, FiniteFloat] = Field(default_factory=dict)
    candidates: int = Field(default=100, ge=1)
    trees: int = Field(default=150, ge=1)
    depth: int = Field(default=3, ge=1, le=16)
    learning_rate: float = Field(default=0.05, gt=0, le=1)
    min_child_weight: float = Field(default=5.0, ge=0)


class Ranker(Blend):
    """The blend's scores, which its candidates share out among themselves by the trees. Without trees, the blend."""

    name: ClassVar[str] = "ranker"
    Config: ClassVar[type[RankerConfig]] = RankerConfig
    config: RankerConfig

    def __init__(self, config: RankerConfig, parts: Mapping[str, Any]) -> None:
        super().__init__(config, parts)
        self._trees: xgboost.Booster | None = None
        self._appeal: FloatVector = np.zeros(0)
        self._taking: FloatVector = np.zeros(0)
        self._heads: Heads | None = None
        self._usual: FloatMatrix = np.zeros((0, 0))
        self._scale: tuple[float, float] | None = None

    @classmethod
    def of_fitted(cls, config: BlendConfig, parts: Mapping[str, Any], data: Dataset) -> Self:
        ranker = super().of_fitted(config, parts, data)
        ranker._count(data)
        return ranker

    @classmethod
    def taught_on(cls, held: Split, blend: Blend, seed: int) -> Self:
        """Over a `blend` of parts that are fitted on what `held` leaves to train on, taught by what it asks."""
        ranker = cls.of_fitted(cls.Config(**blend.config.model_dump()), blend.parts, held.train)
        ranker._teach(held, seed)
        return ranker

    def fit(self, data: Dataset, run: Run) -> FitReport:
        """Where no trees were taken over, later events are held out to teach them, once the blend is fitted on the
        rest; then the blend is fitted on everything. Raises `InputError` where something is worth anything that nobody
        ever did.
        """
        unknown = sorted(set(self.config.worth) - set(data.histories.kind_names))
        if unknown:
            there = ", ".join(data.histories.kind_names) or "none that are told apart"
            raise InputError(f"{self.name}: `worth` names {', '.join(unknown)}; the data has events of {there}")
        before = None if run.before is None else run.before.model
        if isinstance(before, Ranker) and set(before.config.worth) == set(self.config.worth):
            self.take(before.learned())
        held = None if self._trees is not None else run.hold_out(data)
        if held is None:
            report = super().fit(data, run)
        else:
            taught, report = self._taught(held, run)
            self.take(taught.learned())
            self._weighing = taught._weighing
            self.parts = {name: type(part)(part.config) for name, part in taught.parts.items()}
            self._fit_parts(data, replace(run, validate=None))
        self._count(data)
        return report

    def _taught(self, held: Split, run: Run) -> tuple[Self, FitReport]:
        """Fitted on what `held` leaves to train on, and what that settled."""
        first = Blend(self.config, self.parts)
        report = first.fit(held.train, within(run, "held-out"))
        settled = type(self.config)(**{**self.config.model_dump(), **report.settled})
        taught = type(self).of_fitted(settled, first.parts, held.train)
        taught._teach(held, run.seed)
        return taught, report

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        return gather(self.stages(queries)[self.name], candidates)

    def stages(self, queries: Sequence[Query]) -> dict[str, FloatMatrix]:
        """(queries, items) scores of the blend and of the ranker, by their registered names."""
        known, _ = self._fitted()
        blended = np.empty((len(queries), len(known)))
        at_once = self._at_once(len(known))
        ranked = blended if self._trees is None else np.empty_like(blended)
        for start in range(0, len(queries), at_once):
            part = queries[start : start + at_once]
            total, singly = self._told(part)
            blended[start : start + at_once] = total
            if self._trees is not None:
                ranked[start : start + at_once] = self._reordered(self._trees, part, total, singly)
        return {Blend.name: blended, self.name: ranked}

    def scored(self, queries: Sequence[Query]) -> BlendScored:
        blended = super().scored(queries)
        trees = self._trees
        if trees is None:
            return blended
        singly = [told.scores for told in blended.told if told.factors[blended.known].any()]
        ranked = self._reordered(trees, queries, blended.scores, singly)
        return RankerScored(queries, ranked, blended.known, blended.level, blended.told)

    def extended(self, catalog: Catalog, content: Mapping[str, FloatMatrix]) -> Self:
        other = super().extended(catalog, content)
        other._trees = self._trees
        other._appeal = np.concatenate([self._appeal, np.zeros(len(catalog))])
        other._taking = np.concatenate([self._taking, np.zeros(len(catalog))])
        other._heads, other._scale = self._heads, self._scale
        other._usual = np.concatenate([self._usual, np.zeros((len(catalog), self._usual.shape[1]))])
        return other

    def learned(self) -> Parameters:
        """What a fit on more data takes over."""
        heads = {} if self._heads is None else self._heads.parameters()
        return {} if self._trees is None else {TREES: as_array(self._trees), **heads}

    def take(self, learned: Parameters) -> None:
        if TREES in learned:
            self._trees = from_array(learned[TREES])
            self._heads = Heads.of_parameters(learned).telling() if self.config.worth else None

    def parameters(self) -> Parameters:
        more: dict[str, NDArray[Any]] = {APPEAL: self._appeal}
        if self._reads_shown:
            more[TAKING] = self._taking
        if self._heads is not None:
            more[USUAL] = self._usual
        if self._heads is not None and self._scale is not None:
            more[SCALE] = np.array(self._scale)
        return {**super().parameters(), **self.learned(), **more}

    def load_parameters(self, parameters: Parameters) -> None:
        if APPEAL not in parameters:
            raise ArtifactError(f"{self.name}: these parameters are not of a ranker; train it again")
        own = {TREES, APPEAL, TAKING, USUAL, SCALE}
        of_parts = {key: rows for key, rows in parameters.items() if key not in own and not key.startswith(PREFIX)}
        super().load_parameters(of_parts)
        self.take(parameters)
        self._appeal = np.asarray(parameters[APPEAL])
        self._taking = np.asarray(parameters.get(TAKING, np.zeros(len(self._appeal))))
        self._usual = np.asarray(parameters.get(USUAL, np.zeros((len(self._appeal), 0))))
        self._scale = None
        if SCALE in parameters:
            low, high = parameters[SCALE].tolist()
            self._scale = low, high

    @property
    def columns(self) -> tuple[str, ...]:
        """What the trees read of a candidate, by name."""
        return (*self._read, *SHOWN) if self._reads_shown else self._read

    def importance(self) -> dict[str, float]:
        """By column, its share of what the trees gain; empty without trees."""
        if self._trees is None:
            return {}
        gains = cast(dict[str, float], self._trees.get_score(importance_type="total_gain"))
        total = sum(gains.values()) or 1.0
        return {name: gains.get(f"f{place}", 0.0) / total for place, name in enumerate(self.columns)}

    def _teach(self, held: Split, seed: int) -> None:
        """From what `held` asks, where the answer is among the candidates."""
        known, _ = self._fitted()
        holdout, generator = held.holdout, np.random.default_rng(seed)
        order = np.sort(generator.permutation(len(holdout))[:QUESTIONS])
        kinds = [holdout.kinds.index(kind) for kind in self.config.worth] if holdout.outcomes else []
        tables: list[FloatMatrix] = []
        labels: list[NDArray[np.float32]] = []
        taken: list[FloatMatrix] = []
        came: list[FloatMatrix] = []
        at_once = self._at_once(len(known))
        for start in range(0, len(order), at_once):
            asked = order[start : start + at_once]
            queries = [holdout.queries[question] for question in asked]
            total, singly = self._told(queries)
            for row, question in enumerate(asked):
                may = known.copy()
                may[holdout.seen[question]] = False
                shown = holdout.shown[question].among(may) if holdout.shown else None
                chosen = _best(np.where(may, total[row], -np.inf), self.config.candidates)
                chosen = chosen if shown is None else np.union1d(chosen, shown.items)
                answers = np.isin(chosen, holdout.targets[question])
                if answers.any():
                    found = [scores[row] for scores in singly]
                    tables.append(self._table(queries[row], chosen, total[row], found, shown))
                    labels.append(answers.astype(np.float32))
                    if kinds:
                        taken.append(self._of_heads(tables[-1], queries[row], chosen)[answers])
                        came.append(_outcomes(holdout, question, chosen[answers])[:, kinds])
        if not tables:
            return
        table, liked = np.concatenate(tables), np.concatenate(labels)
        self._trees = grown(table, liked, self.config, seed, subsample=DRAWN, colsample_bytree=DRAWN)
        if kinds:
            outcomes = dict(zip(self.config.worth, np.concatenate(came).T, strict=True))
            self._heads = Heads.taught(np.concatenate(taken), outcomes, self.config, seed, DRAWN).telling()

    @property
    def _read(self) -> tuple[str, ...]:
        """Columns that are always there."""
        read = [f"{what} by {name}" for name in self._speaking() for what in ("ahead", "place")]
        history = ("length of the history", "popularity of the history", "popularity of the last item")
        return ("ahead", "place", "popularity", *history, *read)

    @property
    def _reads_shown(self) -> bool:
        return self._trees is not None and self._trees.num_features() > len(self._read)

    def _count(self, data: Dataset) -> None:
        """What the trees read of items, in `data`."""
        exposures, n_items = data.exposures, len(data.items)
        self._appeal = _appeal(data)
        self._taking = np.zeros(n_items)
        if exposures is not None:
            self._taking = appeal_when_shown(exposures, data.histories, n_items)
        self._usual, self._scale = usual_outcomes(data, tuple(sorted(self.config.worth))), data.rating_scale

    def _at_once(self, n_items: int) -> int:
        """Queries whose scores by all parts are held together."""
        return max(1, CELLS // max(1, n_items * (1 + len(self.parts))))

    def _speaking(self) -> list[str]:
        """The parts that count for known items."""
        return [name for name, weight in zip(self.parts, self._weighing.weights[0], strict=True) if weight]

    def _told(self, queries: Sequence[Query]) -> tuple[FloatMatrix, list[FloatMatrix]]:
        """(queries, items) scores of the blend, and of each of its parts that counts for known items."""
        singly: list[FloatMatrix] = []
        return self._summed(queries, singly), singly

    def _reordered(
        self, trees: xgboost.Booster, queries: Sequence[Query], total: FloatMatrix, singly: Sequence[FloatMatrix]
    ) -> FloatMatrix:
        """(queries, items) the scores `total` of the blend, by its parts `singly`, as `_ranked` deals them out."""
        ranked = np.empty_like(total)
        for row, query in enumerate(queries):
            ranked[row] = self._ranked(trees, query, total[row], [scores[row] for scores in singly])
        return ranked

    def _ranked(
        self, trees: xgboost.Booster, query: Query, total: FloatVector, singly: Sequence[FloatVector]
    ) -> FloatVector:
        """(items,) scores, those of candidates dealt out anew. What the history holds takes no candidate's place."""
        known, _ = self._fitted()
        met = np.unique(query.history.items[(query.history.items >= 0) & (query.history.items < len(total))])
        met = met[known[met]]
        others = np.where(known, total, -np.inf)
        others[met] = -np.inf
        chosen = _best(others, self.config.candidates)
        if not len(chosen):
            return total
        chosen = np.union1d(chosen, met[total[met] >= total[chosen].min()])
        shown = Shown(chosen, np.full(len(chosen), FIRST)) if self._reads_shown else None
        table = self._table(query, chosen, total, singly, shown)
        if self._heads is None:
            worth = np.asarray(trees.inplace_predict(table, predict_type="margin"), np.float64)
        else:
            come = self._heads.worth(self._of_heads(table, query, chosen), self.config.worth)
            worth = np.asarray(trees.inplace_predict(table), np.float64) * come
        ranked = total.copy()
        ranked[chosen[np.lexsort((total[chosen], worth))]] = np.sort(total[chosen])
        return ranked

    def _of_heads(self, table: FloatMatrix, query: Query, chosen: IntVector) -> FloatMatrix:
        return of_candidates(table, self._usual[chosen], query.history, self._scale)

    def _table(
        self, query: Query, chosen: IntVector, total: FloatVector, singly: Sequence[FloatVector], shown: Shown | None
    ) -> NDArray[np.float32]:
        """(chosen, columns). chosen: sorted, with all that was `shown`; None reads nothing of what was."""
        known, _ = self._fitted()
        history = query.history.items[query.history.weights > 0]
        appeals = self._appeal[history[(history >= 0) & (history < len(known))]]
        mean, last = (float(appeals.mean()), float(appeals[-1])) if len(appeals) else (np.nan, np.nan)
        columns = [*_standing(total, known, chosen), self._appeal[chosen]]
        columns += [np.full(len(chosen), value) for value in (np.log1p(len(history)), mean, last)]
        for found in singly:
            columns += _standing(found, known, chosen)
        if shown is not None:
            listed = np.full(len(chosen), np.nan)
            listed[np.searchsorted(chosen, shown.items)] = np.maximum(shown.places, FIRST)
            columns += [self._taking[chosen], listed]
        return np.stack(columns, axis=1).astype(np.float32)


class RankerScored(BlendScored):
    """What a ranker says of some queries, and what each part of the blend under it does."""

    def contributions(self, row: int, items: IntVector) -> Contributions:
        """What each event adds to the blend's score; what the trees make of that is in the base."""
        parts = super().contributions(row, items).parts
        return Contributions(self.scores[row, items] - parts.sum(axis=1), parts)


def _outcomes(holdout: Holdout, question: int, items: IntVector) -> FloatMatrix:
    """(items, kinds) what came of those answers to the question."""
    order = np.argsort(holdout.targets[question])
    found: FloatMatrix = holdout.outcomes[question][order[np.searchsorted(holdout.targets[question][order], items)]]
    return found


def _standing(scores: FloatVector, known: NDArray[np.bool_], chosen: IntVector) -> tuple[FloatVector, IntVector]:
    """Of the items `chosen`, how far they are ahead of the known ones, and their places among each other."""
    others = scores[known]
    mean = others.mean() if len(others) else 0.0
    mine = scores[chosen]
    return (mine - mean) * steepness(others), places(mine)


def _best(shown: FloatVector, n: int) -> IntVector:
    """(at most n,) places of the highest of those that may be shown, sorted."""
    n = min(n, int(np.isfinite(shown).sum()))
    return np.sort(np.argpartition(-shown, n - 1)[:n]) if n else np.zeros(0, np.int64)


def _appeal(data: Dataset) -> FloatVector:
    """(items,) log of 1 + the ratio of the likes of an item to those of the mean item."""
    histories = data.histories
    counts = np.bincount(histories.items, histories.weights > 0, len(data.items))
    appeal: FloatVector = np.log1p(counts / max(float(counts.mean()), 1e-9))
    return appeal
