"""Lists from catalogues too large to look at each item: what an index finds, and what it may not change."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from doubles import NOW, MemoryStores, films_system

from zhiyin.app.service import RecommendRequest, Service
from zhiyin.app.serving.state import INDEXES
from zhiyin.app.system import System
from zhiyin.core.arrays import BoolVector, FloatMatrix, IntVector
from zhiyin.core.catalog import Catalog
from zhiyin.core.events import Events
from zhiyin.core.vocabulary import Vocabulary
from zhiyin.models.transformer import Transformer, TransformerConfig
from zhiyin.retrieval import subsets, vector_index
from zhiyin.retrieval.subsets import Subset
from zhiyin.retrieval.topn import top_n
from zhiyin.retrieval.vector_index import VectorIndex

pytest.importorskip("faiss")

ITEMS, DIM = 6_000, 16


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_index, "INDEXED", 2_000)
    monkeypatch.setattr(vector_index, "FEW", 200)


@pytest.fixture(scope="module")
def vectors() -> FloatMatrix:
    """Items in groups, a few of them popular."""
    generator = np.random.default_rng(0)
    groups = generator.standard_normal((60, DIM))
    told = groups[generator.integers(60, size=ITEMS)] + 0.5 * generator.standard_normal((ITEMS, DIM))
    return np.concatenate([told, generator.exponential(size=(ITEMS, 1))], axis=1)


def queries(vectors: FloatMatrix, n: int = 100) -> FloatMatrix:
    told = vectors[np.random.default_rng(1).choice(len(vectors), n)]
    told[:, DIM] = 1.0
    return told


def made(vectors: FloatMatrix, kept: Path | None = None) -> VectorIndex:
    index = VectorIndex.over(vectors, lambda: queries(vectors, 20), kept)
    assert index is not None
    return index


def exact(query: FloatMatrix, vectors: FloatMatrix, mask: BoolVector) -> IntVector:
    best: IntVector = top_n((vectors @ query)[None], 10, mask).rows[0]
    return best


@pytest.mark.parametrize("share", [1.0, 0.5, 0.05, 0.01])
def test_nearly_all_of_the_best_are_found_whatever_the_filter_leaves(vectors: FloatMatrix, share: float) -> None:
    index, mask = made(vectors), np.random.default_rng(2).random(ITEMS) < share
    found = 0
    for query in queries(vectors):
        rows, scores = index.best(query, vectors, 10, mask)
        assert mask[rows].all()
        np.testing.assert_allclose(scores, vectors[rows] @ query)
        assert (np.diff(scores) <= 0).all()
        found += len(np.intersect1d(rows, exact(query, vectors, mask)))
    assert found >= 980


def test_a_filter_that_others_asked_through_changes_nothing(
    vectors: FloatMatrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """People ask within one category, each without what they have seen of it, and within others between."""
    monkeypatch.setattr(vector_index, "FEW", ITEMS)
    monkeypatch.setattr(subsets, "WORTH_KEEPING", 50)
    index, generator = made(vectors), np.random.default_rng(3)
    picked: list[Subset] = []
    pick = Subset.of

    def counted(mask: BoolVector, vectors: FloatMatrix) -> Subset:
        picked.append(pick(mask, vectors))
        return picked[-1]

    monkeypatch.setattr(Subset, "of", counted)
    categories = [np.arange(ITEMS) % 20 == which for which in range(3)]
    for turn, query in enumerate(queries(vectors, 60)):
        mask = categories[turn % 3].copy()
        mask[generator.choice(ITEMS, 40)] = False
        np.testing.assert_array_equal(index.best(query, vectors, 10, mask)[0], exact(query, vectors, mask))
    assert len(picked) == len(categories)


def test_what_came_after_the_index_is_found(vectors: FloatMatrix) -> None:
    index, query = made(vectors), queries(vectors)[0]
    longer = np.concatenate([vectors, [10 * query]])
    rows, _ = index.best(query, longer, 10, np.ones(ITEMS + 1, np.bool_))
    assert rows[0] == ITEMS
    hidden = np.arange(ITEMS + 1) < ITEMS
    assert ITEMS not in index.best(query, longer, 10, hidden)[0]


def test_a_list_longer_than_what_the_cells_hold_is_exact(vectors: FloatMatrix) -> None:
    index, query, mask = made(vectors), queries(vectors)[0], np.ones(ITEMS, np.bool_)
    index.probed = 1
    rows, _ = index.best(query, vectors, 3_000, mask)
    np.testing.assert_array_equal(rows, top_n((vectors @ query)[None], 3_000, mask).rows[0])


def test_a_catalogue_that_can_be_looked_at_has_no_index(vectors: FloatMatrix) -> None:
    assert VectorIndex.over(vectors[:1_999], lambda: queries(vectors)) is None


def test_the_recall_of_what_was_asked_is_told(vectors: FloatMatrix) -> None:
    index = made(vectors)
    assert index.recall() is None
    index.best(queries(vectors)[0], vectors, 10, np.ones(ITEMS, np.bool_))
    recall = index.recall()
    assert recall is not None
    assert 0.9 <= recall <= 1.0


@pytest.mark.parametrize("damage", ["none", "flipped", "cut", "of-another", "half-right"])
def test_what_was_kept_is_found_again_unless_it_is_damaged(vectors: FloatMatrix, tmp_path: Path, damage: str) -> None:
    kept = tmp_path / "indexes" / "one.faiss"
    mask, query = np.ones(ITEMS, np.bool_), queries(vectors)[3]
    first = made(vectors, kept).best(query, vectors, 10, mask)
    content = bytearray(kept.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 8
        kept.write_bytes(content)
    elif damage == "cut":
        kept.write_bytes(content[:-100])
    elif damage == "of-another":
        made(vectors[::-1], kept)
    elif damage == "half-right":
        beside = kept.with_name(f"{kept.name}.json")
        beside.write_text(json.dumps({**json.loads(beside.read_text("utf-8")), "probed": 0}), "utf-8")
    told = kept.stat().st_mtime_ns
    again = made(vectors, kept)
    np.testing.assert_array_equal(again.best(query, vectors, 10, mask)[0], first[0])
    assert (kept.stat().st_mtime_ns == told) == (damage == "none")


def test_an_index_that_cannot_be_kept_answers_from_memory(vectors: FloatMatrix, tmp_path: Path) -> None:
    (tmp_path / "indexes").write_text("no folder")
    index = made(vectors, tmp_path / "indexes" / "one.faiss")
    assert len(index.best(queries(vectors)[0], vectors, 10, np.ones(ITEMS, np.bool_))[0]) == 10


def shop(vectors: FloatMatrix, folder: Path | None = None) -> tuple[System, MemoryStores]:
    """A system of a network whose items are these vectors, and a visitor who liked some of them."""
    model = Transformer(TransformerConfig(dim=DIM, length=5, layers=1, heads=1))
    network = model.sized(len(vectors), [])
    parameters = {name: value.numpy() for name, value in network.state_dict().items()}
    parameters["table.weight"] = np.concatenate([vectors[:, :DIM], np.zeros((1, DIM))]).astype(np.float32)
    parameters["item_bias"] = vectors[:, DIM].astype(np.float32)
    model.load_parameters(parameters)
    items = [f"i{row}" for row in range(len(vectors))]
    catalog = Catalog.build(item_id=items, categories=[("rare",) if row % 20 == 0 else () for row in range(len(items))])
    films = films_system()
    system = replace(
        films, model=model, fallback=model, items=Vocabulary(items), catalog=catalog, profile=None, vectors=folder
    )
    stores = MemoryStores()
    stores.events.append(
        Events.build(
            user_id=["ann"] * 3, item_id=["i5", "i70", "i800"], event="like", timestamp=[NOW - 3, NOW - 2, NOW]
        )
    )
    return system, stores


def test_lists_by_an_index_are_those_by_all_scores(vectors: FloatMatrix, monkeypatch: pytest.MonkeyPatch) -> None:
    system, stores = shop(vectors)
    told = {}
    for indexed in (True, False):
        if not indexed:
            monkeypatch.setattr(vector_index, "INDEXED", 10 * ITEMS)
        service = Service(system, stores, clock=lambda: NOW)
        assert service.indexed() == (ITEMS if indexed else 0, None)
        requests = (RecommendRequest("ann"), RecommendRequest("ann", categories=("rare",)), RecommendRequest("new"))
        told[indexed] = [
            [(item.item_id, round(item.score, 9)) for item in service.recommend(request).items] for request in requests
        ]
        assert {"i5", "i70", "i800"}.isdisjoint(item for item, _ in told[indexed][0])
        assert len(service.shelves("ann").shelves) >= 1
    for mine, true in zip(told[True], told[False], strict=True):
        assert len(set(mine) & set(true)) >= 9


def test_indexes_go_with_their_versions(vectors: FloatMatrix, tmp_path: Path) -> None:
    system, stores = shop(vectors, tmp_path / "vectors")
    (tmp_path / system.manifest.manifest_id).mkdir()
    old = tmp_path / INDEXES / "gone.faiss"
    old.parent.mkdir()
    old.write_bytes(b"")
    (old.parent / "lost+found.faiss").mkdir()
    Service(system, stores, clock=lambda: NOW)
    names = {path.name for path in old.parent.iterdir() if path.is_file()}
    assert names == {f"{system.manifest.manifest_id}.faiss", f"{system.manifest.manifest_id}.faiss.json"}
