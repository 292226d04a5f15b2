"""What enters a comparison when nobody says what should."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from zhiyin.app.registry import model_class, reads_encoders, stoppable
from zhiyin.app.selection import Selection, Trial, candidates
from zhiyin.core.dataset import Dataset

MIXTURES = ("blend", "ranker")
"""Made of all the others, not tried by themselves."""

FIRST = (
    "popularity",
    "conditional-popularity",
    "profile",
    "linear",
    "ease",
    "item-neighbours",
    "text-neighbours",
    "content",
    "user-neighbours",
    "als",
)
"""In this order, what is missed most where time is short before the others; then come those that are not named, and
last those whose training can be stopped anywhere, in the time that is left.
"""

SHARES = {"linear": 3.0}
"""Of the time, one for each of the others: its alternatives differ most, and which one is right decides most."""


@dataclass(frozen=True)
class Contender:
    """label: a registered name, or `NAME:LABEL`. encoders: whose vectors it reads. like: the label of the one whose
    choices it takes over, where that one was tried.
    """

    label: str
    encoders: tuple[str, ...] = ()
    like: str = ""

    @property
    def share(self) -> float:
        """Of the time, beside those of the others."""
        return SHARES.get(self.label, 1.0)

    def within(self, selection: Selection, trials: Mapping[str, Trial]) -> Selection:
        if self.like in trials:
            return replace(selection, settings={**_choices(trials[self.like]), "encoders": self.encoders})
        return replace(selection, fixed={"encoders": self.encoders}) if self.encoders else selection


def contenders(data: Dataset) -> tuple[Contender, ...]:
    """Every model that this data can feed, reading content where it can; those that learn item by item without, too."""
    names = [name for name in candidates(data) if name not in MIXTURES]
    names.sort(key=lambda name: (stoppable(name), FIRST.index(name) if name in FIRST else len(FIRST)))
    encoders = tuple(data.content)
    found = [Contender(name, encoders if reads_encoders(name) else ()) for name in names]
    twins = [
        Contender(f"{each.label}:ids", (), each.label) for each in found if each.encoders and stoppable(each.label)
    ]
    return (*found, *twins)


def _choices(trial: Trial) -> dict[str, Any]:
    """The settings that a model's own alternatives are about, as they were chosen."""
    return {name: trial.config[name] for each in model_class(trial.model).search for name in each}
