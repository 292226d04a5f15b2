"""Several models as one: their standings added up, with other weights for items that training has not met."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StringConstraints

from zhiyin.core.arrays import BoolVector, FloatMatrix, FloatVector, IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.dataset import Dataset, Query, Split
from zhiyin.core.errors import ArtifactError, ConfigError
from zhiyin.core.models import (
    AdditiveModel,
    Candidates,
    FitReport,
    InductiveModel,
    Model,
    Parameters,
    Run,
    TunableModel,
    gather,
)
from zhiyin.core.results import Contributions
from zhiyin.core.scored import Scored, scored
from zhiyin.models.standing import FORMS, standings, steepness
from zhiyin.models.stored import ModelConfig, by_owner
from zhiyin.models.weighing import Asked, Weighing, alone, asked_of, new_share, weighed

OWN = "blend"
"""What parameters of the blend itself are named by, beside those of its parts."""

LEAST = 0.005
"""Share of the places that new items have at least: where none ever came, one that comes is shown to somebody."""


class BlendConfig(ModelConfig):
    """parts: settings by registered name, or by `NAME:LABEL` where one model stands here more than once. encoders:
    whose vectors those parts read that do not say it themselves.

    weights: part -> of known and of new items; none, and they are fitted on events that are held out for it, as are
    forms: part -> that of its standings (`standing`), and level: what new items have besides. searched: parts whose own
    alternatives are tried there first, over what their settings say. exposure: places of lists that the level gives to
    new items, over the share of late events that went to items new at the time.
    """

    parts: Mapping[Annotated[str, StringConstraints(pattern=r"^[^.]+$")], Mapping[str, Any]] = Field(
        default_factory=lambda: {"attentive": {}, "content": {}, "text-neighbours": {}}, min_length=1
    )
    encoders: tuple[str, ...] = ()
    weights: Mapping[str, tuple[float, float]] = Field(default_factory=dict)
    forms: Mapping[str, Literal["ranks", "deviations"]] = Field(default_factory=dict)
    level: float = 0.0
    searched: tuple[str, ...] = ("content", "text-neighbours")
    exposure: float = Field(default=1.0, gt=0)


@dataclass(frozen=True, eq=False)
class Told:
    """What a part says of some queries. factors: (items,) what its standings count, which are of this form. scored: of
    the part itself, None where it does not tell why or nobody will ask. scores: (queries, items). added: (queries,
    items) what its standings add to those of the blend.
    """

    factors: FloatVector
    form: str
    scored: Scored | None
    scores: FloatMatrix
    added: FloatMatrix


class Blend:
    """score_i = sum over models m of w_m standing_mi, and what new items have besides."""

    name: ClassVar[str] = "blend"
    Config: ClassVar[type[BlendConfig]] = BlendConfig

    def __init__(self, config: BlendConfig, parts: Mapping[str, Model]) -> None:
        self.config = config
        self.parts = dict(parts)
        self._known: BoolVector | None = None
        forms = np.array([FORMS.index(config.forms.get(name, FORMS[0])) for name in parts], np.int64)
        weights = np.array([config.weights.get(name, (1.0, 1.0)) for name in parts]).T
        self._weighing = Weighing(weights, config.level, forms)

    @classmethod
    def of_fitted(cls, config: BlendConfig, parts: Mapping[str, Model], data: Dataset) -> Self:
        """A blend with the weights in `config`, of parts that are fitted on `data`."""
        blend = cls(config, parts)
        blend._take(_met(data))
        return blend

    @classmethod
    def weighed_on(
        cls, held: Split, settings: Mapping[str, Mapping[str, Any]], parts: Mapping[str, Model], seed: int
    ) -> Self:
        """A blend of those `parts`, fitted on what `held` leaves to train on, that help to answer what it asks.

        settings: of each part, by which it is to be fitted on other data. New items get the share of the places that
        they have among the answers.
        """
        every = cls(cls.Config(parts=settings), parts)
        known = _met(held.train)
        every._weigh(held, seed, float(np.mean(~known[np.concatenate(held.holdout.targets)])))
        found = every._found()
        used = [name for name, pair in found["weights"].items() if any(pair)]
        chosen = {key: {name: found[key][name] for name in used} for key in ("weights", "forms")}
        config = cls.Config(parts={name: settings[name] for name in used}, **chosen, level=found["level"])
        return cls.of_fitted(config, {name: parts[name] for name in used}, held.train)

    def fit(self, data: Dataset, run: Run) -> FitReport:
        """Without weights in the settings, parts are fitted twice: on what is left when events are held out to fit the
        weights on, then on everything. Where `run` can hold nothing out, every part weighs 1.
        """
        settled: dict[str, Any] = {}
        held = None if self.config.weights else run.hold_out(data)
        if held is not None:
            settled = self._tune(data, held, run)
            run = replace(run, validate=None)
        self._fit_parts(data, run)
        return FitReport(settled=settled)

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        return gather(self._summed(queries), candidates)

    def scored(self, queries: Sequence[Query]) -> "BlendScored":
        known, _ = self._fitted()
        told = list(self._said(queries, kept=True))
        scores = self._level(len(queries))
        for each in told:
            scores += each.added
        return BlendScored(queries, scores, known, self._weighing.level, told)

    def contributions(self, query: Query, items: IntVector) -> Contributions:
        """parts: what each event adds; of a known item by ranks, what its standing adds in the proportions in which
        events speak for it there. What a model cannot tell event by event is in the base.
        """
        return self.scored([query]).contributions(0, items)

    def extended(self, catalog: Catalog, content: Mapping[str, FloatMatrix]) -> Self:
        """Raises `ConfigError` where no part can go on with new items; those that cannot say nothing of them."""
        known, _ = self._fitted()
        extended = {name: _extended(part, catalog, content) for name, part in self.parts.items()}
        if not any(extended.values()):
            raise ConfigError(f"{self.name}: no part reads content; set `encoders` and train again")
        other = type(self)(self.config, {name: extended[name] or part for name, part in self.parts.items()})
        other._weighing = self._weighing
        other._take(np.concatenate([known, np.zeros(len(catalog), np.bool_)]))
        return other

    def parameters(self) -> Parameters:
        known, _ = self._fitted()
        whole: dict[str, NDArray[Any]] = {
            f"{OWN}.known": known.astype(np.uint8),
            f"{OWN}.weights": self._weighing.weights,
            f"{OWN}.level": np.array([self._weighing.level]),
            f"{OWN}.forms": self._weighing.forms,
        }
        for name, part in self.parts.items():
            whole |= {f"{name}.{key}": array for key, array in part.parameters().items()}
        return whole

    def load_parameters(self, parameters: Parameters) -> None:
        named = by_owner(parameters)
        own = named.pop(OWN, {})
        if set(named) != set(self.parts) or set(own) != {"known", "weights", "level", "forms"}:
            raise ArtifactError(f"{self.name}: these parameters are not of {', '.join(self.parts)}; train it again")
        for part, mine in self.parts.items():
            mine.load_parameters(named[part])
        self._weighing = Weighing(np.asarray(own["weights"]), float(own["level"][0]), np.asarray(own["forms"]))
        self._take(np.asarray(own["known"]) > 0)

    def _fit_parts(self, data: Dataset, run: Run) -> None:
        for name, part in self.parts.items():
            part.fit(data, within(run, name))
        self._take(_met(data))

    def _summed(self, queries: Sequence[Query], singly: list[FloatMatrix] | None = None) -> FloatMatrix:
        """(queries, items) of all parts together; what each says that counts for known items is added to `singly`."""
        known, _ = self._fitted()
        scores = self._level(len(queries))
        for told in self._said(queries):
            scores += told.added
            if singly is not None and told.factors[known].any():
                singly.append(told.scores)
        return scores

    def _level(self, n: int) -> FloatMatrix:
        """(n, items) what new items have besides."""
        known, _ = self._fitted()
        return np.tile(self._weighing.level * ~known, (n, 1))

    def _tune(self, data: Dataset, held: Split, run: Run) -> dict[str, Any]:
        """The settings that say how the parts are trained and weighed, found on the events `held` out of `data`."""
        settled: dict[str, Mapping[str, Any]] = {}
        for name, part in self.parts.items():
            self.parts[name], report = self._settled(name, part, held, run)
            settled[name] = {**self.parts[name].config.model_dump(mode="json"), **report.settled}
        self._weigh(held, run.seed, new_share(data.histories))
        self.parts = {name: type(part)(type(part).Config(**settled[name])) for name, part in self.parts.items()}
        return {"parts": settled, **self._found()}

    def _weigh(self, held: Split, seed: int, share: float | None) -> None:
        """Finds what the parts, fitted on what `held` leaves to train on, count. share: of the places, for new items;
        None takes that which they have among the answers, as those of `held` are drawn.
        """
        parts, data = list(self.parts.values()), held.train
        nothing = data.catalog.take(np.zeros(0, np.int64)), {name: rows[:0] for name, rows in data.content.items()}
        inductive = np.array([_extended(part, *nothing) is not None for part in parts])
        asked = _asked(parts, held, seed)
        due = asked.new_answers if share is None else max(share, LEAST)
        self._weighing = weighed(asked, inductive, self.config.exposure * due)

    def _found(self) -> dict[str, Any]:
        """The weighing as settings."""
        weighing = self._weighing
        return {
            "weights": dict(zip(self.parts, map(tuple, weighing.weights.T.tolist()), strict=True)),
            "forms": dict(zip(self.parts, (FORMS[row] for row in weighing.forms), strict=True)),
            "level": weighing.level,
        }

    def _settled(self, name: str, part: Model, held: Split, run: Run) -> tuple[Model, FitReport]:
        """The part, fitted without the events `held` out, with those of its alternatives that answer them best.

        Its training is stopped by known items: of new ones, which are forgotten first, the other parts can speak.
        """

        def known(model: Model) -> float:
            return float(alone(_asked([model], held, run.seed))[0, 0])

        fitting = replace(within(run, f"{name}-held-out"), validate=known)
        given = self.config.parts[name]
        tried = [part]
        if name in self.config.searched and isinstance(part, TunableModel):
            own = part.config.model_dump()
            tried = [type(part)(type(part).Config(**{**own, **each, **given})) for each in part.search]
            tried = [each for row, each in enumerate(tried) if each.config not in [e.config for e in tried[:row]]]
        reports = [each.fit(held.train, fitting) for each in tried]
        if len(tried) == 1:
            return part, reports[0]
        figures = alone(_asked(tried, held, run.seed))
        best = int(np.argmax(figures.sum(axis=1)))
        return tried[best], reports[best]

    def _take(self, known: BoolVector) -> None:
        self._known = known
        self._factors = self._weighing.weights[(~known).astype(np.int64)]

    def _said(self, queries: Sequence[Query], *, kept: bool = False) -> Iterator[Told]:
        """What each part says that weighs anything. kept: whether it is to be asked why."""
        known, factors = self._fitted()
        for part, factor, form in zip(self.parts.values(), factors.T, self._weighing.forms, strict=True):
            if factor.any():
                own = scored(part, queries) if kept and isinstance(part, AdditiveModel) else None
                scores = part.score(queries) if own is None else own.scores
                if scores.shape[1] < len(known):
                    # What the part knows nothing of stands below all others.
                    lowest = scores.min(axis=1, initial=0.0)
                    silent = np.repeat(lowest[:, None], len(known) - scores.shape[1], axis=1)
                    scores = np.concatenate([scores, silent], axis=1)
                added = standings(scores, known, FORMS[form])
                added *= factor
                yield Told(factor, FORMS[form], own, scores, added)

    def _fitted(self) -> tuple[BoolVector, FloatMatrix]:
        """(n_items,) which items training met, and (n_items, parts) what standings by the parts count."""
        if self._known is None:
            raise ArtifactError(f"{self.name}: not fitted yet; fit it or load parameters first")
        return self._known, self._factors


@dataclass(frozen=True, eq=False)
class BlendScored:
    """What a blend says of some queries, and what each of its parts does. known: (items,) which training met. level:
    what new items have besides.
    """

    queries: Sequence[Query]
    scores: FloatMatrix
    known: BoolVector
    level: float
    told: Sequence[Told]

    def contributions(self, row: int, items: IntVector) -> Contributions:
        known = self.known[items]
        scores = self.level * ~known
        parts = np.zeros((len(items), len(self.queries[row].history)))
        for told in self.told:
            added = told.added[row, items]
            scores = scores + added
            if told.scored is not None:
                places = np.flatnonzero(told.factors[items])
                spoken = told.scored.contributions(row, items[places]).parts
                ranked = known[places] & (told.form == "ranks")
                parts[places[ranked]] += added[places[ranked], None] * _shared(spoken[ranked])
                if not ranked.all():
                    others = places[~ranked]
                    step = steepness(told.scores[row, self.known])
                    parts[others] += told.factors[items[others], None] * step * spoken[~ranked]
        return Contributions(scores - parts.sum(axis=1), parts)


def _shared(spoken: FloatMatrix) -> FloatMatrix:
    """Of each item, the share of every event in what speaks for it; zeros where nothing does."""
    speaking = np.maximum(spoken, 0.0)
    total = speaking.sum(axis=1, keepdims=True)
    shares: FloatMatrix = np.divide(speaking, total, out=np.zeros_like(speaking), where=total > 0)
    return shares


def _asked(models: Sequence[Model], held: Split, seed: int) -> Asked:
    return asked_of(models, held.holdout, _met(held.train), np.random.default_rng(seed))


def within(run: Run, name: str) -> Run:
    """What surrounds the fit of the part `name`."""
    before = run.before
    if before is not None:
        parts = before.model.parts if isinstance(before.model, Blend) else {}
        before = replace(before, model=parts[name]) if name in parts else None
    return replace(run.called(name), before=before)


def _met(data: Dataset) -> BoolVector:
    histories = data.histories
    met: BoolVector = np.bincount(histories.items, histories.weights > 0, minlength=len(data.items)) > 0
    return met


def _extended(part: Model, catalog: Catalog, content: Mapping[str, FloatMatrix]) -> Model | None:
    """None of a part that cannot go on with new items."""
    if not isinstance(part, InductiveModel):
        return None
    try:
        return part.extended(catalog, content)
    except ConfigError:
        return None
