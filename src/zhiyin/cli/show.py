"""What several commands print: a leaderboard, and the progress of trainings."""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from zhiyin.app.figures import Interval, Leaderboard, LeaderboardRow
from zhiyin.core.dataset import Removal

SHOWN = ("ndcg@10", "recall@10", "rmse", "mae")
PLAIN_WIDTH = 132
"""Columns where the output is no terminal."""


def console(*, stderr: bool = False) -> Console:
    """A console whose tables keep their shape in a file."""
    made = Console(stderr=stderr)
    return made if made.is_terminal else Console(stderr=stderr, width=PLAIN_WIDTH)


def leaderboard(board: Leaderboard, console: Console) -> None:
    """Models, best first, with 95 % bootstrap intervals over users and p of the paired tests."""
    metrics = [name for name in SHOWN if name in board.best.metrics]
    tested = any(row.test for row in board.rows)
    controlled = any(row.control for row in board.rows)
    users = board.best.metrics[metrics[0]].n
    caption = f"{users} users; mean [95 % interval]"
    caption += f"; p: difference from {board.baseline}" if tested else ""
    caption += ", and from itself fed with others' histories" if controlled else ""
    table = Table(box=SIMPLE_HEAD, title=board.protocol, caption=caption, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for name in metrics:
        table.add_column(name, justify="right")
    for name in (
        *(("p", "validation") if tested else ()),
        *(("others' histories", "p", "lists") if controlled else ()),
        "seconds",
    ):
        table.add_column(name, justify="right")
    for row in board.rows:
        cells = [interval(row.metrics[name]) for name in metrics]
        if tested:
            cells += ["" if row.test is None else _p(row.test.p), _mean(row.validation)]
        if controlled:
            cells += _control(row)
        chosen = row.model == board.chosen
        table.add_row(f"{row.model} *" if chosen else row.model, *cells, f"{row.seconds:.1f}", style="bold" * chosen)
    console.print(table)


def cleaned(removals: Sequence[Removal]) -> None:
    """What cleaning took out, a line a step and reason, on the error stream."""
    screen = console(stderr=True)
    for removal in removals:
        counts = f"events {removal.events:,}, users {removal.users:,}"
        screen.print(f"left out, {removal.step}: {counts} ({removal.reason})", highlight=False, soft_wrap=True)


def choice(board: Leaderboard, console: Console) -> None:
    """Which model is marked in the leaderboard, and why."""
    figure = board.main.validation
    reason = f"chosen by validation {board.metric} {interval(figure)}" if figure and figure.n else "nothing to compare"
    console.print(f"* {board.main.model}: {reason}", soft_wrap=True)


def interval(value: Interval) -> str:
    """A mean with its bounds, or a dash."""
    return f"{value.mean:.3f} [{value.low:.3f}–{value.high:.3f}]" if value.n else "–"


class Bars:
    """One bar a training, with epoch, loss and validation figure; without a terminal, a line as each begins.

    A context manager: `begin` names the training that follows, and what it reached stays as a line.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}", style="cyan"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            refresh_per_second=4,
            disable=not console.is_terminal,
        )
        self._current: TaskID | None = None
        self._name, self._reached, self._validation = "", "", ""
        self._began, self._epoch, self._epochs = 0.0, 0, 0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._bars.stop()

    def begin(self, name: str) -> None:
        self._end()
        if not self._console.is_terminal:
            self._console.print(name, style="dim", soft_wrap=True)
        self._name = name
        self._began, self._epoch, self._epochs = time.perf_counter(), 0, 0
        self._reached = self._validation = ""
        self._current = self._bars.add_task(name, total=None, figures="")

    def epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        watched = metrics.get("validation")
        self._epoch, self._epochs = epoch, epochs
        self._validation = "" if watched is None else f"  validation {watched:.4f}"
        self._reached = f"  epoch {epoch}/{epochs}  loss {metrics['loss']:.4f}{self._validation}"
        self._show(epoch, self._reached)

    def batch(self, done: int, total: int, loss: float) -> None:
        part = done / total if done < total else 0.0
        self._show(
            self._epoch + part, f"  epoch {self._epoch + 1}, batch {done}/{total}  loss {loss:.4f}{self._validation}"
        )

    def _show(self, completed: float, figures: str) -> None:
        if self._current is not None:
            self._bars.update(self._current, completed=completed, total=self._epochs or None, figures=figures)

    def _end(self) -> None:
        if self._current is None:
            return
        if self._console.is_terminal:
            line = f"{self._name}{self._reached}  {time.perf_counter() - self._began:.1f} s"
            self._console.print(line, style="dim", highlight=False, soft_wrap=True)
        self._bars.remove_task(self._current)
        self._current = None


def _control(row: LeaderboardRow) -> list[str]:
    lists = "" if row.different is None else f"{row.different.lists}/{row.different.users}"
    if row.control is None:
        return ["", "", lists]
    return [interval(row.control.others), _p(row.control.test.p), lists]


def _mean(value: Interval | None) -> str:
    return f"{value.mean:.3f}" if value is not None and value.n else "–"


def _p(value: float) -> str:
    return f"{value:.4f}"
