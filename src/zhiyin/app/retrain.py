"""Use case: train anew, and publish what is not worse than what serves on the latest events."""

import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime

import numpy as np

from zhiyin.app.comparison import refit
from zhiyin.app.divisions import drawn
from zhiyin.app.incumbent import answers_of
from zhiyin.app.loading import load_system
from zhiyin.app.prepare import people_of
from zhiyin.app.selection import TEST_START, WATCHED, evaluated
from zhiyin.app.system import System
from zhiyin.app.train import Choice, TrainReport, TrainRequest, choose, prepared, publish_choice
from zhiyin.core.dataset import Dataset, Split
from zhiyin.core.errors import ArtifactError, InputError
from zhiyin.core.events import MISSING_TIME
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.dataset.splits import next_events_since
from zhiyin.evaluation.intervals import Interval, bootstrap_interval

FEW = 20


@dataclass(frozen=True)
class Verdict:
    """NDCG@10 on the next item of each user in the window: of the system that serves, of what was chosen, fitted on
    what came before it, and their difference, user by user.
    """

    serving: Interval
    chosen: Interval
    difference: Interval

    @property
    def passed(self) -> bool:
        """Whether what was chosen is not worse by more than chance, which fewer than `FEW` users cannot tell."""
        return self.difference.high >= 0 or self.difference.n < FEW


@dataclass(frozen=True)
class RetrainReport:
    """training: what was published; None where nothing was. verdict: None where nothing was compared. why: what serves
    stays, where it does. manifest_id: of the version that is current now.
    """

    training: TrainReport | None
    verdict: Verdict | None
    manifest_id: str
    why: str = ""


def retrain(request: TrainRequest) -> RetrainReport:
    """`train`, whose choice goes live only where it is not worse than what serves.

    Both are asked about a window that neither has seen: the later half of the events since what serves was trained, at
    most the last tenth of all. Data is prepared as for what serves, unless the request says otherwise. Where nothing
    came since, or nothing that both can be asked about, what serves stays; where none is there, or none that can be
    loaded, what is chosen is published.
    """
    began = time.monotonic()
    serving = _serving(request)
    if serving is not None and request.preparation == PreparationSettings():
        request = replace(request, preparation=serving.settings)
    data = prepared(request)
    if serving is None:
        training = publish_choice(request, choose(request, data, _minutes(began)))
        return RetrainReport(training, None, training.manifest.manifest_id)
    stays = serving.manifest.manifest_id
    if serving.manifest.data.get("fingerprint") == data.fingerprint:
        return RetrainReport(None, None, stays, "nothing came in since")
    split = window(serving, data, request.seed)
    if split is None:
        return RetrainReport(
            None, None, stays, "nobody can be asked about later events: `zhiyin train` publishes without comparing"
        )
    choice = choose(request, data, _minutes(began))
    verdict = judged(serving, choice, split, request)
    if not verdict.passed:
        return RetrainReport(None, verdict, stays, "what was chosen is worse by more than chance")
    training = publish_choice(request, choice, {"gate": asdict(verdict)})
    return RetrainReport(training, verdict, training.manifest.manifest_id)


def window(serving: System, data: Dataset, seed: int) -> Split | None:
    """What came before it, and what it asks: the later half of what came since what serves was trained, at most the
    last tenth of all. None where nobody can be asked.
    """
    times = data.histories.timestamps
    times = np.sort(times[times != MISSING_TIME])
    new = times[times > _trained_until(serving)]
    if not len(new):
        return None
    try:
        split = next_events_since(data, int(max(new[len(new) // 2], np.quantile(times, TEST_START, method="higher"))))
    except InputError:
        return None
    return drawn(split, np.random.default_rng(seed)) if len(split.holdout) else None


def _trained_until(serving: System) -> int:
    """The time of its latest event; where a clock was ahead, that of its training. Epoch ms."""
    published = int(datetime.fromisoformat(serving.manifest.created).timestamp() * 1000)
    return min(int(serving.manifest.data.get("now", published)), published)


def _minutes(since: float) -> float:
    return (time.monotonic() - since) / 60.0


def judged(serving: System, choice: Choice, split: Split, request: TrainRequest) -> Verdict:
    """What serves and what was chosen, fitted on what came before, on what `split` asks."""
    chosen = choice.comparison.chosen
    request.announce(f"{chosen.model}, beside what serves")
    found = evaluated(refit(chosen, split.train, choice.comparing, "gate"), split).metrics[WATCHED]
    # An item that what serves does not know yet is one that it does not recommend.
    people = people_of(request.store, request.tenant)
    before = np.nan_to_num(answers_of(serving, choice.data, split.holdout, people))
    return Verdict(*map(bootstrap_interval, (before, found, found - before)))


def _serving(request: TrainRequest) -> System | None:
    try:
        return load_system(request.out)
    except ArtifactError:
        return None
