"""How good lists are after the first events of a user, as a picture of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from zhiyin.evaluation.intervals import Interval
from zhiyin.evaluation.plots import STYLE, WIDTH

INK, MUTED, GRID, PAPER, ACCENT = "#1d2430", "#667085", "#e4e3dd", "#ffffff", "#b4472f"
SERIES = ("#33658a", "#2f855a", "#b7791f", "#6b4fa0", "#0f7c8a", "#a63d77")
COLOURS: Any = {
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "grid.color": GRID,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "figure.facecolor": PAPER,
}

Curve = Mapping[int, Interval]
"""Number of events -> a mean with its interval."""


def save_curves(
    path: Path, metric: str, curves: Mapping[str, Curve], ahead: Mapping[str, Curve], *, baseline: str, main: str
) -> None:
    """Left every model's curve; right, for those of `ahead`, how far each is above `baseline`, user by user.

    path: its suffix says the format (png, svg, pdf). main: the model that stands out.
    """
    hues = iter(SERIES * (1 + len(curves) // len(SERIES)))
    colours = {name: ACCENT if name == main else MUTED if name == baseline else next(hues) for name in curves}
    with mpl.rc_context({**STYLE, **COLOURS}):
        figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        for name, curve in curves.items():
            _draw(left, name, curve, colours[name])
        left.set_title(f"{metric} of users who are new")
        right.axhline(0, color=MUTED, linewidth=1.2)
        for name, curve in ahead.items():
            _draw(right, name, curve, colours[name])
        right.set_title(f"{metric} above {baseline}")
        for panel in (left, right):
            panel.set_xlabel("events that are known")
            panel.set_xticks(sorted({k for curve in curves.values() for k in curve}))
        handles, names = left.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=4)
        figure.savefig(path, dpi=150)


def _draw(panel: Axes, name: str, curve: Curve, colour: str) -> None:
    known = sorted(curve)
    panel.fill_between(
        known, [curve[k].low for k in known], [curve[k].high for k in known], color=colour, alpha=0.15, linewidth=0
    )
    panel.plot(known, [curve[k].mean for k in known], "o-", color=colour, markersize=5, label=name)
