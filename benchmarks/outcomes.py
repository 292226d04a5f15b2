"""What `accuracy.py --out` found: JSON that is committed, and the page that shows it.

    python benchmarks/outcomes.py

writes docs/accuracy.md anew from benchmarks/outcomes/*.json, whose rows stand beside those of published.json.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
PUBLISHED, FOUND = HERE / "published.json", HERE / "outcomes"
PAGE = HERE.parent / "docs" / "accuracy.md"
METRICS = ("recall@5", "recall@10", "ndcg@5", "ndcg@10")
TITLES = {"beauty": "Amazon Beauty", "toys": "Amazon Toys", "ml-1m": "MovieLens 1M"}
HEAD = """# Beside the published tables

Made by `python benchmarks/outcomes.py` from what is in `benchmarks/outcomes/`. All items are ranked, those in the
history left out, an answer that ties with others ranks last among them; settings are chosen on validation. Figures are
means over seeds, with their standard deviation; seconds are of one fit.
"""


def published(outcome: Mapping[str, Any]) -> list[tuple[str, Mapping[str, float]]]:
    """Rows of others by the same protocol."""
    if outcome["protocol"] != "leave-one-out":
        return []
    rows: Mapping[str, list[tuple[str, Mapping[str, float]]]] = json.loads(PUBLISHED.read_text("utf-8"))
    return rows.get(f"{outcome['table']}{'-shuffled' * outcome['shuffled']}", [])


def cells(figures: Mapping[str, Sequence[float]]) -> list[str]:
    """By metric, the mean and, of several seeds, its standard deviation."""
    told = []
    for metric in METRICS:
        values = figures.get(metric, ())
        spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
        told.append(f"{np.mean(values):.4f}{spread}" if len(values) else "-")
    return told


def lines(outcome: Mapping[str, Any]) -> Iterator[str]:
    """For the screen."""
    yield f"{outcome['table']}, {outcome['protocol']}, seeds {outcome['seeds']}: {', '.join(METRICS)}"
    for name, figures in published(outcome):
        yield _line(name, cells({metric: [value] for metric, value in figures.items()}))
    for row in outcome["rows"]:
        about = f"{np.mean(row['seconds']):.0f} s  validation {row['validation']:.4f}  {json.dumps(row['config'])}"
        yield f"{_line(row['model'], cells(row['figures']))}  {about}"
    if outcome["against"]:
        yield f"NDCG@10 less that of {outcome['against']}, with its 95 % interval over users:"
        for row in outcome["differences"]:
            yield f"  {row['model']:32} {'  '.join(f'{what} {_gain(gain)}' for what, gain in row['gains'].items())}"
    yield f"load average {', '.join(f'{value:.2f}' for value in outcome['load'])}"


def section(outcome: Mapping[str, Any]) -> Iterator[str]:
    """For the page."""
    order = ", the events of a day in random order" if outcome["shuffled"] else ""
    yield f"\n## {TITLES[outcome['table']]}, {outcome['protocol']}{order}\n"
    yield f"`{outcome['command']}`, {outcome['users']:,} users, load average {outcome['load'][0]:.1f}\n"
    yield "| | Recall@5 | Recall@10 | NDCG@5 | NDCG@10 | seconds | validation NDCG@10 |"
    yield "|---|---|---|---|---|---|---|"
    for name, figures in published(outcome):
        yield _row(name, *cells({metric: [value] for metric, value in figures.items()}), "", "")
    for row in outcome["rows"]:
        spent, chosen_by = f"{np.mean(row['seconds']):.0f}", f"{row['validation']:.4f}"
        yield _row(f"**`{row['model']}`**", *cells(row["figures"]), spent, chosen_by)
    if outcome["against"]:
        yield f"\nNDCG@10 less that of `{outcome['against']}`, with its 95 % interval over users:\n"
        columns = list(outcome["differences"][0]["gains"])
        yield _row("", *columns)
        yield _row(*("---" for _ in ("", *columns)))
        for row in outcome["differences"]:
            yield _row(f"`{row['model']}`", *(_gain(gain) for gain in row["gains"].values()))
    yield "\nSettings:\n"
    for row in outcome["rows"]:
        if "parts" not in row["config"]:
            yield f"- `{row['model']}`: `{json.dumps(row['config'])}`"


def page() -> str:
    outcomes = [
        json.loads(path.read_text("utf-8")) for path in sorted(FOUND.glob("*.json"), key=lambda path: path.stem)
    ]
    return "\n".join([HEAD.rstrip("\n"), *(line for outcome in outcomes for line in section(outcome))]) + "\n"


def _line(name: str, told: Sequence[str]) -> str:
    return f"  {name:32} {'  '.join(f'{cell:15}' for cell in told)}"


def _row(*told: str) -> str:
    return f"| {' | '.join(told)} |"


def _gain(gain: Mapping[str, Any]) -> str:
    return (
        f"({gain['users']:,} users) {gain['own']:.4f} against {gain['theirs']:.4f}: "
        f"{gain['mean']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]"
    )


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
