"""Use case: lists for many users, by the very path that serves one."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from zhiyin.app.serve import open_service
from zhiyin.core.errors import InputError
from zhiyin.core.results import Recommendations

WRITTEN = (".parquet", ".csv")


@dataclass(frozen=True)
class BatchRequest:
    """users: external ids. keep_seen: items in the user's history may come again."""

    store: str
    artifact: Path
    users: Sequence[str]
    n: int = 10
    keep_seen: bool = False
    tenant: str = "default"


def recommend_batch(request: BatchRequest) -> Sequence[Recommendations]:
    """One list a user, in their order."""
    if request.n < 1:
        raise InputError(f"a list needs at least one place, got n={request.n}")
    # One user's sums are small: threads inside them would spend their time waiting for each other.
    opened = open_service(request.store, request.artifact, tenant=request.tenant)
    with closing(opened) as service, threadpool_limits(1):
        return service.recommend_many(request.users, request.n, request.keep_seen)


def check_target(path: Path) -> None:
    """Raises `InputError` unless lists can be written to `path`; asked before the lists are made and logged."""
    if path.suffix not in WRITTEN:
        raise InputError(f"{path}: lists are written as {' or '.join(WRITTEN)}; choose one of these endings")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")


def write_lists(lists: Sequence[Recommendations], path: Path) -> None:
    """The table of `lists` as CSV or Parquet, by the ending. Raises `InputError` where it cannot be written."""
    check_target(path)
    table = as_table(lists)
    try:
        if path.suffix == ".csv":
            table.write_csv(path)
        else:
            table.write_parquet(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def as_table(lists: Sequence[Recommendations]) -> pl.DataFrame:
    """user_id, item_id, rank (from 1), score: one row a place."""
    rows = [(each.user_id, item.item_id, item.rank, item.score) for each in lists for item in each.items]
    schema = {"user_id": pl.String, "item_id": pl.String, "rank": pl.Int64, "score": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def read_users(path: Path) -> list[str]:
    """User ids, one a line, or the column `user_id` of a CSV or Parquet file. Raises `InputError` otherwise."""
    try:
        if path.suffix == ".parquet":
            table = pl.read_parquet(path)
        elif path.suffix == ".csv":
            table = pl.read_csv(path, infer_schema=False)
        else:
            return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path}: cannot be read as a list of users ({error})") from error
    if "user_id" not in table.columns:
        raise InputError(f"{path}: has no column 'user_id', only {', '.join(table.columns)}")
    return table["user_id"].cast(pl.String).drop_nulls().to_list()
