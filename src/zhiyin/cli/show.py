"""What several commands print: a leaderboard, and the progress of a training."""

import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from zhiyin.app.selection import Trial
from zhiyin.evaluation.leaderboard import Leaderboard

SHOWN = ("ndcg@10", "recall@10", "hit@10", "mrr@10", "rmse", "mae")


def leaderboard(trials: Sequence[Trial], console: Console) -> None:
    """Models with 95 % bootstrap intervals over users, best first."""
    metrics = [name for name in SHOWN if name in trials[0].intervals]
    users = trials[0].intervals[metrics[0]].n
    table = Table("model", *metrics, "seconds", title=f"validation, {users} users, mean and 95 % interval")
    for trial in trials:
        cells = [f"{i.mean:.4f} [{i.low:.4f}, {i.high:.4f}]" for i in (trial.intervals[name] for name in metrics)]
        table.add_row(trial.model, *cells, f"{trial.seconds:.1f}")
    console.print(table)


def tested(board: Leaderboard, console: Console) -> None:
    """Models on the test split, best first, with p of the paired test against the baseline."""
    metrics = [name for name in SHOWN if name in board.best.metrics]
    table = Table("model", *metrics, "p", "seconds", title=board.protocol)
    for row in board.rows:
        cells = [f"{i.mean:.4f} [{i.low:.4f}, {i.high:.4f}]" for i in (row.metrics[name] for name in metrics)]
        table.add_row(row.model, *cells, "" if row.test is None else f"{row.test.p:.4f}", f"{row.seconds:.1f}")
    console.print(table)


class Line:
    """One line of progress, rewritten in place on a terminal and silent elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._validation = ""

    def epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        watched = metrics.get("validation")
        self._validation = "" if watched is None else f"  validation {watched:.4f}"
        self._write(f"epoch {epoch}/{epochs}  loss {metrics['loss']:.4f}{self._validation}")

    def batch(self, done: int, total: int, loss: float) -> None:
        self._write(f"batch {done}/{total}  loss {loss:.4f}{self._validation}")

    def _write(self, line: str) -> None:
        if self._live:
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
