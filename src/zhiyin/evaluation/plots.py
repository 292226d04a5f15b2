"""Figures of the report as inline SVG whose colours follow the page's light or dark scheme."""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator

from zhiyin.core.arrays import IntVector
from zhiyin.evaluation.intervals import Interval
from zhiyin.evaluation.leaderboard import Leaderboard
from zhiyin.evaluation.slices import SliceFigures

INK, MUTED, GRID, SURFACE, ACCENT = "#010203", "#010204", "#010205", "#010206", "#010207"
SERIES = ("#010211", "#010212", "#010213", "#010214", "#010215", "#010216")
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "line", SURFACE: "surface", ACCENT: "accent"} | {
    colour: f"series-{place}" for place, colour in enumerate(SERIES)
}
"""Colours that no figure uses otherwise, each replaced by a variable of the page's style sheet."""

STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 2,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
WIDTH = 10.4
COLUMNS = 3


def comparison(board: Leaderboard, metrics: Sequence[str]) -> str:
    """One panel a metric: every model's mean with its interval, in the order of the leaderboard."""
    models = [row.model for row in board.rows]
    with mpl.rc_context(STYLE):
        figure, panels = _panels(len(metrics), 0.42 * len(models) + 1.1, share_y=True)
        for panel, metric in zip(panels, metrics, strict=True):
            for place, row in enumerate(board.rows):
                colour = ACCENT if row is board.main else MUTED if row.model == board.baseline else SERIES[0]
                _interval(panel, place, row.metrics.get(metric), colour)
            panel.set_title(metric)
            panel.set_yticks(range(len(models)), models)
            panel.set_ylim(len(models) - 0.5, -0.5)
            panel.grid(axis="y", visible=False)
            panel.xaxis.set_major_locator(MaxNLocator(4))
        return _svg(figure, "comparison", f"Means with 95 % intervals of {', '.join(metrics)} for {', '.join(models)}")


def learning(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """A column a model: loss above, the validation figure below with its best epoch marked."""
    drawn = {model: epochs for model, epochs in curves.items() if epochs}
    with mpl.rc_context(STYLE):
        columns = max(len(drawn), 2)
        figure = Figure(figsize=(WIDTH, 5.0), layout="constrained")
        FigureCanvasSVG(figure)
        grid = figure.subplots(2, columns, squeeze=False, sharex="col")
        for column in range(columns):
            if column >= len(drawn):
                grid[0][column].set_axis_off()
                grid[1][column].set_axis_off()
        for column, (model, epochs) in enumerate(drawn.items()):
            for row, (key, colour) in enumerate((("loss", SERIES[0]), ("validation", ACCENT))):
                panel = grid[row][column]
                known = [(i, e[key]) for i, e in enumerate(epochs, 1) if key in e and np.isfinite(e[key])]
                if not known:
                    panel.set_axis_off()
                    continue
                x, y = zip(*known, strict=True)
                panel.plot(x, y, color=colour, marker="o" if len(x) < 3 else None)
                if key == "validation":
                    best = int(np.argmax(y))
                    panel.plot(x[best], y[best], "o", color=colour, markersize=7)
                    panel.annotate(
                        f"best, epoch {x[best]}",
                        (x[best], y[best]),
                        xytext=(0, 9),
                        textcoords="offset points",
                        ha="center",
                        color=MUTED,
                    )
                    panel.margins(x=0.12, y=0.3)
                panel.set_title(model if row == 0 else "")
                panel.set_ylabel(key if column == 0 else "")
                panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            grid[1][column].set_xlabel("epoch")
            grid[0][column].set_title(model)
        return _svg(figure, "learning", f"Loss and validation figure by epoch of {', '.join(drawn)}")


def accuracy_against(board: Leaderboard, axes: Sequence[str]) -> str:
    """One panel for each of `axes` (figures beyond accuracy), with the leaderboard's metric upwards."""
    with mpl.rc_context(STYLE):
        figure, panels = _panels(len(axes), 4.2)
        for panel, name in zip(panels, axes, strict=True):
            known = [
                (row.beyond[name], row.metrics[board.metric], row.model)
                for row in board.rows
                if np.isfinite(row.beyond.get(name, np.nan)) and np.isfinite(row.metrics[board.metric].mean)
            ]
            for x, interval, model in known:
                colour = ACCENT if model == board.main.model else MUTED if model == board.baseline else SERIES[0]
                panel.plot([x, x], [interval.low, interval.high], color=colour, alpha=0.35, linewidth=2.5)
                panel.plot(x, interval.mean, "o", color=colour, markersize=8)
            _labels(panel, [(x, interval.mean, model) for x, interval, model in known])
            panel.set_xlabel(name.replace("_", " "))
            panel.set_title(f"{board.metric} against {name.replace('_', ' ')}")
            panel.margins(x=0.22, y=0.14)
        return _svg(figure, "accuracy", f"{board.metric} of every model against {', '.join(axes)}")


def popularity_curve(counts: IntVector, exposures: Mapping[str, IntVector]) -> str:
    """Left: users an item, most popular first. Right: share of all that goes to the most popular share of items.

    exposures: model -> (n_items,) number of lists with each item, drawn beside the data's own curve.
    """
    order = np.argsort(-counts, kind="stable")
    ranked = counts[order]
    with mpl.rc_context(STYLE):
        figure, (tail, share) = _panels(2, 4.2)
        positive = ranked[ranked > 0]
        places = np.arange(1, len(positive) + 1)
        tail.fill_between(places, positive, 0.8, color=ACCENT, alpha=0.15, linewidth=0)
        tail.plot(places, positive, color=ACCENT)
        tail.set_xscale("log")
        tail.set_yscale("log")
        plain = FuncFormatter(lambda value, _: f"{value:,.0f}")
        tail.xaxis.set_major_formatter(plain)
        tail.yaxis.set_major_formatter(plain)
        tail.set_xlabel("item, most popular first")
        tail.set_title("Users per item")
        if len(positive):
            head = int(np.searchsorted(np.cumsum(positive), positive.sum() / 2)) + 1
            tail.axvline(head, color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
            tail.annotate(
                f"{head:,} items ({head / len(counts):.1%})\nhold half of everything",
                (head, positive[0]),
                xytext=(-6, 2) if head > len(positive) ** 0.5 else (6, 2),
                textcoords="offset points",
                ha="right" if head > len(positive) ** 0.5 else "left",
                va="top",
                color=MUTED,
            )
            tail.set_ylim(0.8, positive[0] * 1.6)
        x = np.arange(len(counts) + 1) / max(len(counts), 1)
        share.plot([0, 1], [0, 1], color=GRID, linewidth=1.5)
        lines = {"the data": ranked, **{name: shown[order] for name, shown in exposures.items()}}
        for (name, values), colour in zip(lines.items(), (MUTED, ACCENT, *SERIES), strict=False):
            total = max(int(values.sum()), 1)
            share.plot(x, np.concatenate([[0], np.cumsum(values) / total]), color=colour, label=name)
        percent = FuncFormatter(lambda value, _: f"{value:.0%}")
        share.xaxis.set_major_formatter(percent)
        share.yaxis.set_major_formatter(percent)
        share.set_xlabel("of the items, most popular first")
        share.set_title("Share they receive")
        share.legend(loc="lower right")
        return _svg(figure, "popularity", "Popularity of items and the share of lists that popular items receive")


def slice_panels(figures: Mapping[str, Sequence[SliceFigures]], metric: str, baseline: str | None) -> str:
    """One panel a kind of slice; every model's mean with its interval, side by side in each slice."""
    kinds = list(dict.fromkeys(part.kind for parts in figures.values() for part in parts))
    labels = {kind: {p.label: p.users for parts in figures.values() for p in parts if p.kind == kind} for kind in kinds}
    tallest = max(len(names) for names in labels.values())
    with mpl.rc_context(STYLE):
        figure, panels = _panels(len(kinds), 0.62 * tallest + 1.6)
        for panel, kind in zip(panels, kinds, strict=True):
            place = {label: row for row, label in enumerate(labels[kind])}
            for series, (model, parts) in enumerate(figures.items()):
                offset = (series - (len(figures) - 1) / 2) * 0.2
                colour = MUTED if model == baseline else ACCENT if series == 0 else SERIES[(series - 1) % len(SERIES)]
                for part in parts:
                    if part.kind == kind:
                        _interval(panel, place[part.label] + offset, part.metrics.get(metric), colour)
                panel.plot([], [], "o", color=colour, label=model)
            panel.set_yticks(range(len(place)), [f"{label}  (n={n:,})" for label, n in labels[kind].items()])
            panel.set_ylim(tallest - 0.5, -0.5)
            panel.grid(axis="y", visible=False)
            panel.set_title(kind)
            panel.set_xlabel(metric)
            panel.xaxis.set_major_locator(MaxNLocator(4))
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=len(names))
        return _svg(figure, "slices", f"{metric} by {', '.join(kinds)}")


def histogram(lengths: IntVector) -> str:
    """How many users have histories of which length, on a logarithmic scale of lengths."""
    with mpl.rc_context(STYLE):
        figure, panels = _panels(1, 2.6)
        known = lengths[lengths > 0]
        top = int(known.max()) if len(known) else 1
        edges = np.unique(np.round(np.geomspace(1, top + 1, 32)).astype(np.int64))
        count, edges = np.histogram(known, bins=edges if len(edges) > 1 else np.array([1, 2]))
        panels[0].bar(edges[:-1], count, width=np.diff(edges) * 0.92, align="edge", color=ACCENT)
        panels[0].set_xscale("log")
        panels[0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        panels[0].grid(axis="x", visible=False)
        panels[0].set_title("Users by length of history")
        panels[0].set_xlabel("events")
        return _svg(figure, "histories", "Number of users by length of history")


def _panels(count: int, height: float, *, share_y: bool = False) -> tuple[Figure, list[Axes]]:
    columns = min(count, COLUMNS)
    lines = -(-count // columns)
    layout = ConstrainedLayoutEngine(wspace=0.06, hspace=0.08)
    figure = Figure(figsize=(WIDTH, height * lines), layout=layout)
    FigureCanvasSVG(figure)
    grid = figure.subplots(lines, columns, squeeze=False, sharey=share_y)
    panels = list(grid.ravel())
    for spare in panels[count:]:
        spare.set_axis_off()
    return figure, panels[:count]


def _interval(panel: Axes, y: float, interval: Interval | None, colour: str) -> None:
    if interval is None or not np.isfinite(interval.mean):
        return
    panel.plot([interval.low, interval.high], [y, y], color=colour, linewidth=3, alpha=0.4, solid_capstyle="round")
    panel.plot(interval.mean, y, "o", color=colour, markersize=7)


def _labels(panel: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Names beside the points, pushed apart vertically where they would lie on each other."""
    if not points:
        return
    heights = np.array([y for _, y, _ in points])
    widths = np.array([x for x, _, _ in points])
    low, high = heights.min(), heights.max()
    step, near = (high - low or 1) * 0.06, (widths.max() - widths.min() or 1) * 0.3
    placed: list[tuple[float, float]] = []
    for x, y, name in sorted(points, key=lambda point: point[1]):
        height = y
        while any(abs(x - other) < near and abs(height - taken) < step for other, taken in placed):
            height += step / 4
        placed.append((x, height))
        panel.annotate(name, (x, height), xytext=(9, 0), textcoords="offset points", va="center", color=INK)


def _svg(figure: Figure, salt: str, description: str) -> str:
    """The figure as an element for HTML: no prologue, no metadata, and text left to the page's own fonts."""
    buffer = io.StringIO()
    with warnings.catch_warnings(), mpl.rc_context({"svg.hashsalt": salt}):
        # The browser draws the text, so glyphs that matplotlib's own font lacks do not matter.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r"font:[^;\"]*?([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    # Ids are unique within a figure only, and the page holds several.
    svg = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{salt}-", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    width = re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+)', svg)
    shown = f'style="max-width: {width[1]}pt"' if width else ""
    label = description.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg \1 role="img" {shown}>', svg, count=1).replace(
        f"{shown}>", f'{shown} aria-label="{label}">', 1
    )
