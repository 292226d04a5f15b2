"""From files to a prepared data set, as benchmarks need it: by a store of its own, which is gone afterwards."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from zhiyin.app.ingest import IngestRequest, ingest
from zhiyin.app.prepare import prepare_dataset
from zhiyin.core.dataset import Dataset
from zhiyin.dataset.settings import PreparationSettings

SMALL = "ml-latest-small"


def small_ratings(data: Path) -> pl.DataFrame:
    """The events of MovieLens' small data set, 2016."""
    table = pl.read_csv(data / "ml-latest-small-2016" / "ratings.csv.gz", truncate_ragged_lines=True)
    return table.select(user_id="userId", item_id="movieId", rating="rating", timestamp="timestamp")


def prepared(
    events: Path | pl.DataFrame,
    items: Path | pl.DataFrame | None = None,
    encoders: Sequence[str] = (),
    work: Path | None = None,
) -> Dataset:
    """With the vectors of every encoder, which `work` keeps."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        store = f"sqlite:///{scratch / 'events.db'}"
        ingest(
            IngestRequest(
                events=[_file(events, scratch / "events.parquet")],
                store=store,
                catalogue=None if items is None else _file(items, scratch / "items.parquet"),
                refused=scratch / "refused.csv",
            )
        )
        return prepare_dataset(store, PreparationSettings(encoders=tuple(encoders)), work or scratch)


def _file(table: Path | pl.DataFrame, path: Path) -> Path:
    if isinstance(table, Path):
        return table
    table.write_parquet(path)
    return path
