"""What a shop's log holds that is no purchase of a product: named steps, each of which counts what it removes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from zhiyin.core.errors import ConfigError, InputError


@dataclass(frozen=True, eq=False)
class Step:
    """removes: true for a row that goes. needs: columns the file must have."""

    name: str
    needs: tuple[str, ...]
    removes: pl.Expr


_JUNK = r"(?i)^(POST|D|M|S|B|DOT|C2|C3|CRUK|PADS|GIFT|AMAZONFEE|BANK CHARGES|SP1002|ADJUST\d*|TEST\d*|GIFT_.*|DCGS.*)$"

_STEPS = {
    step.name: step
    for step in (
        Step("cancellations", ("session_id",), pl.col("session_id").str.contains(r"^[Cc]\d").fill_null(value=False)),
        Step("returns", ("quantity",), (pl.col("quantity").cast(pl.Float64, strict=False) <= 0).fill_null(value=False)),
        Step("non-positive-price", ("price",), (pl.col("price") <= 0).fill_null(value=False)),
        Step("junk-item-codes", (), pl.col("item_id").str.contains(_JUNK)),
    )
}

PRESETS = {"retail": ("cancellations", "returns", "non-positive-price", "junk-item-codes")}
"""Steps under one name, in the order in which they are applied."""


def steps(names: Sequence[str]) -> tuple[Step, ...]:
    """The steps and presets of these names, each once, in the given order. Raises `ConfigError` for another name."""
    chosen: dict[str, Step] = {}
    for name in names:
        for part in PRESETS.get(name, (name,)):
            if part not in _STEPS:
                raise ConfigError(
                    f"no cleaning step {part!r}; known: {', '.join((*_STEPS, *PRESETS))};"
                    " bots and repeats are left out when training, by the setting cleaning of [preparation]"
                )
            chosen.setdefault(part, _STEPS[part])
    return tuple(chosen.values())


def check_needs(chosen: Sequence[Step], columns: Sequence[str], file: str) -> None:
    """Raises `InputError` where a step reads a column that `file` does not have."""
    for step in chosen:
        for name in step.needs:
            if name not in columns:
                raise InputError(
                    f"{file}: cleaning by {step.name!r} reads a column {name}, which the file does not have"
                )


def apply(frame: pl.DataFrame, chosen: Sequence[Step]) -> tuple[pl.DataFrame, Counter[str]]:
    """What is left after the steps in their order, and how many rows each removed of what it was given."""
    removed: Counter[str] = Counter()
    for step in chosen:
        kept = frame.filter(~step.removes)
        removed[step.name] = frame.height - kept.height
        frame = kept
    return frame, removed
