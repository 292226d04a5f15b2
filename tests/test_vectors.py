"""Vectors that the user brings along."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from zhiyin.app.prepare import prepare_dataset
from zhiyin.app.registry import make_encoder, make_model
from zhiyin.app.selection import Selection
from zhiyin.core.catalog import Catalog
from zhiyin.core.errors import ConfigError
from zhiyin.core.events import Events
from zhiyin.core.models import Content
from zhiyin.dataset.settings import PreparationSettings
from zhiyin.storage.opening import open_stores


def lines(folder: Path, *rows: dict[str, Any]) -> str:
    path = folder / "vectors.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return f"vectors:{path}"


def test_vectors_are_found_by_item_and_have_unit_length(tmp_path: Path) -> None:
    path = tmp_path / "vectors.parquet"
    pl.DataFrame({"item_id": ["a", "b", "c"], "vector": [[3.0, 4.0], [1e200, 0.0], [0.0, 0.0]]}).write_parquet(path)
    encoder = make_encoder(f"vectors:{path}")
    assert encoder.dim == 2
    found = encoder.encode([Content(item=item) for item in ("b", "a", "other", "c")] + [Content(text="a")])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.array([[1, 0], [0.6, 0.8], [0, 0], [0, 0], [0, 0]]), rtol=1e-6)
    assert encoder.encode([]).shape == (0, 2)


def test_numbers_are_ids_too_and_another_file_has_another_fingerprint(tmp_path: Path) -> None:
    first = make_encoder(lines(tmp_path, {"item_id": 7, "vector": [1, 0]}))
    np.testing.assert_array_equal(first.encode([Content(item="7")]), [[1, 0]])
    assert first.fingerprint != make_encoder(lines(tmp_path, {"item_id": 7, "vector": [0, 1]})).fingerprint


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([], "holds no vectors|cannot be read"),
        ([{"item_id": "a", "vector": [1, 2]}, {"item_id": "b", "vector": [1]}], "row 2: a vector that is not of 2"),
        ([{"item_id": "a", "vector": [1]}, {"item_id": "a", "vector": [2]}], "row 2: an item_id that was there before"),
        ([{"item_id": "a", "vector": [1]}, {"item_id": None, "vector": [2]}], "row 2: no item_id"),
        ([{"item_id": "a", "vector": []}], "row 1: no vector"),
        ([{"item_id": "a", "vector": [1]}, {"item_id": "b"}], "row 2: no vector"),
        ([{"item_id": "a", "vector": [1, None]}], "row 1: a number that is missing"),
        ([{"item_id": "a", "vector": "red"}], "cannot be read"),
        ([{"item": "a", "vector": [1]}], "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_by_row(tmp_path: Path, rows: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        make_encoder(lines(tmp_path, *rows)).encode([])


def test_what_is_no_such_file_is_told_at_once(tmp_path: Path) -> None:
    for argument in (tmp_path, tmp_path / "none.parquet", tmp_path / "vectors.csv"):
        with pytest.raises(ConfigError, match=r"no file of the kinds \.parquet, \.jsonl"):
            make_encoder(f"vectors:{argument}")


def test_items_are_recommended_by_them(tmp_path: Path) -> None:
    name = lines(
        tmp_path,
        *({"item_id": item, "vector": [1, 0]} for item in "ab"),
        *({"item_id": item, "vector": [0, 1]} for item in "cd"),
    )
    store = f"sqlite:///{tmp_path}/events.db"
    with closing(open_stores(store)) as stores:
        stores.events.append(Events.build(user_id=list("uuv"), item_id=list("cab"), event="like", timestamp=[1, 2, 3]))
        stores.catalog.upsert(Catalog.build(item_id=list("abcd")))
    data = prepare_dataset(store, PreparationSettings(encoders=(name,)))
    model: Any = make_model("content", {"encoders": (name,), "last": 1})
    model.fit(data, Selection().run())
    scores = model.score([data.query(data.users.row("v"))])[0]
    assert set(data.items.ids[np.argsort(-scores)[:2]]) == {"a", "b"}
