"""Models side by side: settings and model chosen on validation data, tested on a part that no choice has seen."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from zhiyin.app.budget import LATER, TRAINED_LATER, Budget
from zhiyin.app.contenders import MIXTURES, Contender, contenders
from zhiyin.app.divisions import Divisions
from zhiyin.app.mixing import evaluated_stages, joined, mixed
from zhiyin.app.registry import make_model, stoppable
from zhiyin.app.selection import (
    WATCHED,
    Selection,
    Trial,
    best_fit,
    evaluated,
    share_of_the_chosen,
)
from zhiyin.core.arrays import IntVector, TextVector
from zhiyin.core.catalog import Users
from zhiyin.core.dataset import Dataset, Split
from zhiyin.core.errors import InputError
from zhiyin.core.models import Model, Progress, Silent, TaughtModel
from zhiyin.core.vocabulary import UNKNOWN
from zhiyin.evaluation.beyond import evaluate_beyond, exposure, item_popularity
from zhiyin.evaluation.controls import different_lists, swapped
from zhiyin.evaluation.intervals import Interval
from zhiyin.evaluation.leaderboard import Entry, Leaderboard, LeaderboardRow
from zhiyin.evaluation.ranking import RankingResult
from zhiyin.evaluation.report import ReportParts
from zhiyin.evaluation.slices import SliceFigures, by_attributes, by_history_length, by_target_popularity, slice_figures
from zhiyin.models.ranker import Ranker
from zhiyin.models.weighing import surely

BASELINE = "popularity"
FED = 3_000
"""Users who are answered from others' histories, too."""

LEADERS = 3
"""Models drawn in slices and popularity curves, besides the baseline."""


@dataclass(frozen=True)
class ComparisonRequest:
    """models: none means all that fit the data. settings: model -> over its defaults; where there are none, its own
    alternatives are tried. only: the model that is chosen whatever the figures. minutes: to choose, test and refit in;
    None takes as long as it takes. checkpoints: folder for interrupted trainings. people: what users told of
    themselves, for slices. device: where networks are trained; None takes the best. progress: told of each training.
    announce: told of each step.
    """

    models: Sequence[str] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    only: str | None = None
    minutes: float | None = None
    seed: int = 0
    checkpoints: Path | None = None
    people: Users | None = None
    device: str | None = None
    progress: Progress = field(default_factory=Silent)
    announce: Callable[[str], None] = lambda _: None

    def selection(self, model: str, protocol: str = "time") -> Selection:
        return Selection(
            self.seed,
            self.settings.get(model, {}),
            self.progress,
            self.checkpoints,
            protocol=protocol,
            device=self.device,
        )


@dataclass(frozen=True, eq=False)
class Comparison:
    """trials: best first by validation. chosen: what to publish. board: of the test, or of validation without one.

    protocol: of the divisions; empty where there were none.
    """

    trials: tuple[Trial, ...]
    chosen: Trial
    board: Leaderboard
    parts: ReportParts
    tested: bool
    protocol: str = ""


def compare(data: Dataset, parts: Divisions, request: ComparisonRequest) -> Comparison:
    """Every model at its best settings by validation, refitted on all that comes before the test part, and tested.

    Where no models are asked for, all that fit the data are tried, in the time there is, and a blend of them besides. A
    model that raises `InputError` is left out and noted, unless it was asked for by name.
    """
    trials, notes = _chosen(data, parts, request)
    ranked = sorted(trials, key=lambda trial: -trial.validation)
    chosen = next((trial for trial in ranked if trial.model == request.only), None)
    if chosen is None:
        chosen, why = _preferred(ranked, made=not request.models)
        notes = [*notes, *why]
    baseline = BASELINE if any(trial.model == BASELINE for trial in trials) else None
    if parts.test is None:
        board = _validation_board(ranked, chosen, baseline, parts.words)
        told = ReportParts(curves=_curves(ranked), notes=notes)
        return Comparison(tuple(ranked), chosen, board, told, False, parts.protocol)
    bench = _Bench(data, parts.test, request)
    bench.test(trials, made=not request.models)
    board = Leaderboard.build(
        bench.entries,
        protocol=parts.words,
        metric=WATCHED,
        baseline=baseline,
        chosen=chosen.model,
        seed=request.seed,
    )
    return Comparison(tuple(ranked), chosen, board, bench.parts(board, ranked, notes), True, parts.protocol)


def _preferred(ranked: Sequence[Trial], *, made: bool) -> tuple[Trial, list[str]]:
    """The first mixture `made` of others, unless a later one is surely better than it, or a single model than both; and
    notes of what is better and not surely so.

    What leads by chance leads nowhere else. A mean of many errs less than one, and less than trees that put its best in
    order: these know what people took in the time that they were taught on, which another time need not follow.
    """
    best = ranked[0]
    by_name = {trial.model: trial for trial in ranked if made}
    mixtures = [by_name[name] for name in MIXTURES if name in by_name]
    if not mixtures:
        return best, []
    chosen = mixtures[0]
    notes = []
    for other in (*mixtures[1:], *([] if best.model in MIXTURES else [best])):
        if surely(other.users - chosen.users):
            chosen = other
        elif other.validation > chosen.validation:
            notes.append(
                f"{other.model} has {WATCHED} {other.validation:.4f} on validation, {chosen.model} "
                f"{chosen.validation:.4f}, not surely less: {chosen.model} was chosen, since it errs less elsewhere."
            )
    return chosen, notes


def without_comparison(model: str, settings: Mapping[str, Any], notes: Sequence[str]) -> Comparison:
    """The place of a comparison where the data has room for none."""
    nothing = Interval(float("nan"), float("nan"), float("nan"), 0)
    config = make_model(model, settings).config.model_dump(mode="json")
    trial = Trial(model, config, validation=nothing.mean, intervals={WATCHED: nothing}, seconds=0.0)
    board = _validation_board([trial], trial, None, "nothing could be compared")
    return Comparison((trial,), trial, board, ReportParts(notes=notes), False)


def refit(trial: Trial, data: Dataset, request: ComparisonRequest, purpose: str) -> Model:
    """The trial's model fitted on `data`; `purpose` tells its checkpoints from those of other fits."""
    model = make_model(trial.model, trial.config)
    if isinstance(model, TaughtModel):
        model.take(trial.learned)
    model.fit(data, request.selection(trial.model).run().called(f"{trial.model}-{purpose}"))
    return model


class _Bench:
    """Tests one model after another on the same questions."""

    def __init__(self, data: Dataset, split: Split, request: ComparisonRequest) -> None:
        self._data, self._split, self._request = data, split, request
        self._popularity = item_popularity(split.train.histories, len(data.items))
        self._results: dict[str, RankingResult] = {}
        self.entries: list[Entry] = []

    def test(self, trials: Sequence[Trial], *, made: bool) -> None:
        """Where mixtures are `made` of others, these come first, and are fitted once."""
        mixtures = [trial for trial in trials if made and trial.model in MIXTURES]
        needed = {name for trial in mixtures for name in trial.config["parts"]}
        parts: dict[str, Model] = {}
        for trial in trials[: len(trials) - len(mixtures)]:
            self._request.announce(f"{trial.model}, refitting for the test")
            began = time.perf_counter()
            model = refit(trial, self._split.train, self._request, "test")
            if trial.model in needed:
                parts[trial.model] = model
            self._test(trial, model, partial(evaluated, model), began)
        if mixtures:
            self._request.announce(f"{' and '.join(MIXTURES)}, test")
            self._test_mixtures({trial.model: trial for trial in mixtures}, parts)

    def _test_mixtures(self, mixtures: Mapping[str, Trial], parts: Mapping[str, Model]) -> None:
        whole = {name: joined(trial, parts, self._split.train) for name, trial in mixtures.items()}
        stages = cache(partial(evaluated_stages, cast(Ranker, whole[Ranker.name])))

        def answers(name: str, split: Split) -> RankingResult:
            return stages(split)[name]

        for name, trial in mixtures.items():
            self._test(trial, whole[name], partial(answers, name), time.perf_counter())

    @cached_property
    def _others(self) -> tuple[IntVector, Split]:
        """Places of at most `FED` users, and what they are asked with others' histories."""
        users = len(self._split.holdout)
        places = np.random.default_rng(self._request.seed).permutation(users)[:FED]
        fed = swapped(self._split.holdout.take(places), self._request.seed)
        return places, replace(self._split, holdout=fed)

    def _test(self, trial: Trial, model: Model, answers: Callable[[Split], RankingResult], began: float) -> None:
        result = answers(self._split)
        holdout = self._split.holdout
        different = different_lists(model, holdout)
        vectors = next(iter(self._data.content.values()), None)
        beyond = evaluate_beyond(result.lists, holdout, self._popularity, len(self._data.users), vectors)
        metrics = {
            **result.metrics,
            **{f"first {name}": values for name, values in result.first.items()},
            **{f"last {name}": values for name, values in result.last.items()},
        }
        fed = None
        if different.lists > 1:
            places, others = self._others
            fed = np.full(len(holdout), np.nan)
            fed[places] = answers(others).metrics[WATCHED]
        self._results[trial.model] = result
        self.entries.append(
            Entry(
                trial.model,
                trial.config,
                metrics,
                trial.seconds + time.perf_counter() - began,
                beyond=beyond.totals,
                validation=trial.intervals[WATCHED],
                swapped=fed,
                different=different,
            )
        )

    def parts(self, board: Leaderboard, trials: Sequence[Trial], notes: Sequence[str]) -> ReportParts:
        """What the report shows of the models worth drawing: the chosen one first, the leaders, the baseline."""
        leaders = [row.model for row in board.rows[:LEADERS]]
        shown = list(dict.fromkeys([board.main.model, *leaders, *([board.baseline] if board.baseline else [])]))
        return ReportParts(
            curves=_curves(trials),
            slices={name: self._slices(self._results[name]) for name in shown},
            slice_metric=WATCHED,
            exposures={name: exposure(self._results[name].lists, len(self._data.items)) for name in shown},
            notes=notes,
        )

    def _slices(self, result: RankingResult) -> list[SliceFigures]:
        holdout, seed = self._split.holdout, self._request.seed
        groups = [*by_history_length(holdout), *by_attributes(self._attributes(), holdout.users)]
        return [
            *slice_figures({WATCHED: result.metrics[WATCHED]}, groups, seed),
            *slice_figures({WATCHED: result.first[WATCHED]}, by_target_popularity(holdout, self._popularity), seed),
        ]

    def _attributes(self) -> dict[str, TextVector]:
        """name -> (all users of the data set,) text, None where unknown."""
        people = self._request.people
        if people is None:
            return {}
        rows = self._data.users.rows(people.user_id)
        attributes: dict[str, TextVector] = {}
        for name, column in people.attributes.items():
            attributes[name] = np.full(len(self._data.users), None, object)
            attributes[name][rows[rows != UNKNOWN]] = column[rows != UNKNOWN]
        return attributes


def _chosen(data: Dataset, parts: Divisions, request: ComparisonRequest) -> tuple[list[Trial], list[str]]:
    """Trials in the order in which they were made, mixtures last, and notes."""
    entered = contenders(data) if not request.models else [Contender(name) for name in request.models]
    budget, notes = Budget(request.minutes), list(parts.notes)
    trials: dict[str, Trial] = {}
    fitted: dict[str, Model] = {}
    for place, contender in enumerate(entered):
        label = contender.label
        selection = contender.within(request.selection(label, parts.protocol), trials)
        times = TRAINED_LATER if stoppable(label) else LATER
        of_time = contender.share / sum(each.share for each in entered[place:])
        until = budget.until(of_time, times * share_of_the_chosen(label, selection))
        if trials and until is not None and until <= time.monotonic():
            notes.append(f"{label} was left out: the time was up.")
            continue
        request.announce(f"{label}, choosing settings")
        began = time.perf_counter()
        try:
            trial, model = best_fit(label, parts.validation, replace(selection, until=until))
        except InputError as error:
            if request.models:
                raise
            notes.append(f"{label} was left out: {error}.")
            continue
        budget.reserve(times * trial.seconds)
        trials[label] = replace(trial, seconds=time.perf_counter() - began)
        if not request.models:
            fitted[label] = model
    if not trials:
        raise InputError(f"no model takes this data. {' '.join(notes)}")
    if len(fitted) >= 2 and len(parts.validation.holdout) >= 2:
        request.announce(f"{' and '.join(MIXTURES)}, learning")
        trials |= mixed(trials, fitted, parts.validation, request.seed)
    return list(trials.values()), notes


def _curves(trials: Sequence[Trial]) -> dict[str, Sequence[Mapping[str, float]]]:
    return {trial.model: trial.history for trial in trials if trial.history}


def _validation_board(trials: Sequence[Trial], chosen: Trial, baseline: str | None, words: str) -> Leaderboard:
    rows = [
        LeaderboardRow(trial.model, trial.config, trial.intervals, trial.seconds, validation=trial.intervals[WATCHED])
        for trial in trials
    ]
    return Leaderboard.of_rows(rows, protocol=words, metric=WATCHED, baseline=baseline, chosen=chosen.model)
