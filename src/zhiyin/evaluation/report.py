"""One HTML file that shows an evaluation and needs nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from zhiyin.core.arrays import IntVector
from zhiyin.core.dataset import Dataset
from zhiyin.core.events import MISSING_TIME
from zhiyin.evaluation import plots
from zhiyin.evaluation.beyond import gini, item_popularity
from zhiyin.evaluation.leaderboard import ERRORS, Leaderboard
from zhiyin.evaluation.slices import SliceFigures

MAIN_METRICS = ("ndcg@10", "recall@10", "hit@10", "mrr@10", "map@10", "gauc")
BEYOND_AXES = ("diversity", "coverage", "novelty")
SMALL_P = 0.001


@dataclass(frozen=True, eq=False)
class DataProfile:
    """What the models were fitted on. figures: label -> text. lengths: (n_users,) events a user.

    popularity: (n_items,) users an item.
    """

    figures: Mapping[str, str]
    lengths: IntVector
    popularity: IntVector


@dataclass(frozen=True, eq=False)
class ReportParts:
    """What a report may show besides the leaderboard; a part that is empty is left out.

    curves: model -> one mapping an epoch, as `FitReport.history`. slices: model -> figures, the main model first.
    exposures: model -> (n_items,) number of lists with each item. notes: paragraphs of plain text.
    """

    curves: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    slices: Mapping[str, Sequence[SliceFigures]] = field(default_factory=dict)
    slice_metric: str | None = None
    exposures: Mapping[str, IntVector] = field(default_factory=dict)
    notes: Sequence[str] = ()


def profile_of(data: Dataset) -> DataProfile:
    """The profile of a prepared data set."""
    lengths = data.histories.lengths
    popularity = item_popularity(data.histories, len(data.items))
    events, cells = int(lengths.sum()), len(data.users) * len(data.items)
    times = data.histories.timestamps[data.histories.timestamps > MISSING_TIME]
    figures = {
        "users": f"{len(data.users):,}",
        "items": f"{len(data.items):,}",
        "events": f"{events:,}",
        "of all pairs known": f"{popularity.sum() / cells:.2%}" if cells else "–",
        "events per user, median": f"{np.median(lengths):,.0f}" if len(lengths) else "–",
        "Gini index of items": f"{gini(popularity):.2f}" if events else "–",
    }
    if len(times):
        figures["from – to"] = f"{_day(int(times.min()))} – {_day(int(times.max()))}"
    for removal in data.removals:
        label = f"left out, {removal.step}: {removal.reason}"
        figures[label] = f"events {removal.events:,}, users {removal.users:,}"
    return DataProfile(figures, np.asarray(lengths, np.int64), popularity)


def write_report(
    path: Path,
    board: Leaderboard,
    profile: DataProfile,
    parts: ReportParts | None = None,
    *,
    title: str = "Evaluation",
    created: datetime | None = None,
) -> Path:
    """Writes the report to `path` (its folder is made) and returns it. The file makes no request of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_report(board, profile, parts, title=title, created=created), encoding="utf-8")
    return path


def render_report(
    board: Leaderboard,
    profile: DataProfile,
    parts: ReportParts | None = None,
    *,
    title: str = "Evaluation",
    created: datetime | None = None,
) -> str:
    """The report as HTML. Raises `InputError` where the leaderboard is empty."""
    parts = parts or ReportParts()
    metrics = _shown(board)
    axes = [name for name in BEYOND_AXES if any(np.isfinite(row.beyond.get(name, np.nan)) for row in board.rows)]
    environment = Environment(
        loader=PackageLoader("zhiyin.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": _figure, "p": _p}
    return environment.get_template("report.html").render(
        title=title,
        created=(created or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC"),
        board=board,
        upwards=board.metric not in ERRORS,
        main=board.main,
        gain=_gain(board),
        metrics=metrics,
        has={
            "validation": any(row.validation for row in board.rows) and not all(row.test is None for row in board.rows),
            "control": any(row.control for row in board.rows),
            "different": any(row.different for row in board.rows),
        },
        spans={metric: _span(board, metric) for metric in metrics},
        beyond=list(dict.fromkeys(name for row in board.rows for name in row.beyond)),
        profile=profile,
        notes=parts.notes,
        slices=parts.slices,
        slice_metric=parts.slice_metric or board.metric,
        plots={
            "histories": plots.histogram(profile.lengths) if len(profile.lengths) else "",
            "comparison": plots.comparison(board, metrics),
            "learning": plots.learning(parts.curves) if any(parts.curves.values()) else "",
            "accuracy": plots.accuracy_against(board, axes) if axes else "",
            "popularity": plots.popularity_curve(profile.popularity, parts.exposures)
            if profile.popularity.any()
            else "",
            "slices": plots.slice_panels(parts.slices, parts.slice_metric or board.metric, board.baseline)
            if any(parts.slices.values())
            else "",
        },
    )


def _shown(board: Leaderboard) -> list[str]:
    """The leaderboard's metric first, then the others worth a column."""
    known = dict.fromkeys(name for row in board.rows for name in row.metrics)
    others = [name for name in MAIN_METRICS if name in known] or [name for name in known if name != "mse"]
    return list(dict.fromkeys([board.metric, *others]))


def _gain(board: Leaderboard) -> float | None:
    """By which share the main model is better than the baseline."""
    base = next((row.metrics[board.metric].mean for row in board.rows if row.model == board.baseline), None)
    if base is None or not np.isfinite(base) or base == 0 or board.main.model == board.baseline:
        return None
    change = board.main.metrics[board.metric].mean / base - 1
    return -change if board.metric in ERRORS else change


def _span(board: Leaderboard, metric: str) -> tuple[float, float]:
    """Lowest and highest bound of a metric over all models, for the bars in the table."""
    bounds = [
        b for row in board.rows if metric in row.metrics for b in (row.metrics[metric].low, row.metrics[metric].high)
    ]
    known = [bound for bound in bounds if np.isfinite(bound)]
    return (min(known), max(*known, min(known) + 1e-9)) if known else (0.0, 1.0)


def _figure(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"


def _p(value: float) -> str:
    return f"p < {SMALL_P}" if value < SMALL_P else f"p = {value:.3f}"


def _day(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).date().isoformat()
