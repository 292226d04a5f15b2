"""Use case: train anew, and publish what is not worse than what serves on the latest events."""

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from zhiyin.app.comparison import refit
from zhiyin.app.divisions import MOST_ASKED
from zhiyin.app.incumbent import answers_of
from zhiyin.app.loading import load_system
from zhiyin.app.selection import TEST_START, WATCHED, evaluated
from zhiyin.app.system import System
from zhiyin.app.train import Choice, TrainReport, TrainRequest, choose, prepared, publish_choice
from zhiyin.core.errors import ArtifactError, InputError
from zhiyin.core.events import MISSING_TIME
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.dataset.splits import next_events_since
from zhiyin.evaluation.intervals import Interval, bootstrap_interval


@dataclass(frozen=True)
class Verdict:
    """NDCG@10 on the next item of each user in the window: of the system that serves, of what was chosen, fitted on
    what came before it, and their difference, user by user. since: when the window begins, in epoch ms.
    """

    since: int
    serving: Interval
    chosen: Interval
    difference: Interval

    @property
    def passed(self) -> bool:
        """Whether what was chosen is not worse by more than chance."""
        return self.difference.high >= 0


@dataclass(frozen=True)
class RetrainReport:
    """training: what was published; None where nothing was. verdict: None where there was nothing to compare with, or
    nobody to ask. manifest_id: of the version that is current now.
    """

    training: TrainReport | None
    verdict: Verdict | None
    manifest_id: str


def retrain(request: TrainRequest) -> RetrainReport:
    """`train`, whose choice goes live only where it is not worse than what serves.

    Both are asked about a window that neither has seen: the later half of the events since what serves was trained, at
    most the last tenth of all. Data is prepared as for what serves, unless the request says otherwise. Where nothing
    came since, what serves stays; where none is there, or none that can be loaded, what is chosen is published.
    """
    began = time.monotonic()
    serving = _serving(request)
    if serving is not None and request.preparation == PreparationSettings():
        request = replace(request, preparation=serving.settings)
    data = prepared(request)
    if serving is not None and serving.manifest.data.get("fingerprint") == data.fingerprint:
        return RetrainReport(None, None, serving.manifest.manifest_id)
    choice = choose(request, data, (time.monotonic() - began) / 60.0)
    verdict = None if serving is None else judged(serving, choice, request)
    if serving is not None and verdict is not None and not verdict.passed:
        return RetrainReport(None, verdict, serving.manifest.manifest_id)
    extra: dict[str, Any] = {} if verdict is None else {"gate": asdict(verdict)}
    training = publish_choice(request, choice, extra)
    return RetrainReport(training, verdict, training.manifest.manifest_id)


def judged(serving: System, choice: Choice, request: TrainRequest) -> Verdict | None:
    """None where nobody can be asked."""
    data = choice.data
    times = data.histories.timestamps
    times = np.sort(times[times != MISSING_TIME])
    new = times[times > serving.manifest.data.get("now", data.now)]
    if not len(new):
        return None
    since = int(max(new[len(new) // 2], np.quantile(times, TEST_START, method="higher")))
    try:
        split = next_events_since(data, since)
    except InputError:
        return None
    if len(split.holdout) > MOST_ASKED:
        drawn = np.random.default_rng(request.seed).choice(len(split.holdout), MOST_ASKED, replace=False)
        split = replace(split, holdout=split.holdout.take(np.sort(drawn)))
    request.announce(f"{choice.comparison.chosen.model}, beside what serves")
    candidate = refit(choice.comparison.chosen, split.train, choice.comparing, "gate")
    found = evaluated(candidate, split).metrics[WATCHED]
    # An item that what serves does not know yet is one that it does not recommend.
    before = np.nan_to_num(answers_of(serving, data, split.holdout, request.store))
    return Verdict(since, *map(bootstrap_interval, (before, found, found - before)))


def _serving(request: TrainRequest) -> System | None:
    try:
        return load_system(request.out)
    except ArtifactError:
        return None
