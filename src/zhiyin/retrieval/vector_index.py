"""The items whose vectors go best with that of a query, in catalogues too large to look at each."""

import hashlib
import logging
import math
from collections import deque
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np

from zhiyin.core.arrays import BoolVector, FloatMatrix, FloatVector, IntVector
from zhiyin.retrieval.topn import top_n

LOG = logging.getLogger(__name__)

INDEXED = 200_000
"""Items from which on not each of them is looked at."""

PROBED = 64
"""Cells that are looked through for a list that may hold everything; the rarer what it may hold, the more."""

FEW = 10_000
"""Items that are compared one by one."""

CANDIDATES = 4
"""For each place, items that are compared exactly: a number of one byte tells them apart but roughly."""

TRAINED_ON = 64
"""Items for each cell that the cells are found by."""

ASKED = 100
"""Latest queries by which the recall is told."""


class VectorIndex:
    """An inverted file (Jégou, Douze and Schmid, 2011) of the first items of a catalogue, numbers of one byte each.

    What it finds is compared by the vectors themselves, and so is what came after the index was made, and what little a
    filter leaves: a list may miss an item, but holds none in the wrong place.
    """

    def __init__(self, cells: Any) -> None:
        self._cells = cells
        self.n_items = int(cells.ntotal)
        self._asked: deque[tuple[FloatVector, FloatMatrix]] = deque(maxlen=1)
        self._found: deque[float] = deque(maxlen=ASKED)

    @classmethod
    def over(cls, vectors: FloatMatrix, kept: Path | None = None) -> Self | None:
        """Of `vectors` (items, dim); None where each can be looked at, or where the package is missing that makes it.

        kept: a file in which it is found again, by several processes in the same memory.
        """
        if len(vectors) < INDEXED:
            return None
        if find_spec("faiss") is None:
            LOG.warning(
                "%d items are all looked at for each list: pip install 'zhiyin[large]' finds them by an index",
                len(vectors),
            )
            return None
        cells = None if kept is None else _read(kept, vectors.shape)
        if cells is None:
            LOG.info("making an index of %d items", len(vectors))
            cells = _made(vectors)
            if kept is not None and _write(cells, kept):
                cells = _read(kept, vectors.shape) or cells
        return cls(cells)

    def best(self, query: FloatVector, vectors: FloatMatrix, n: int, mask: BoolVector) -> tuple[IntVector, FloatVector]:
        """Rows and products of about the `n` best where `mask` (items,) is true, best first; of equal ones the lower
        row. vectors: (items, dim), the first of them those that were indexed.
        """
        allowed = int(np.count_nonzero(mask))
        rows = np.flatnonzero(mask) if allowed <= FEW else self._near(query, n, mask, allowed / len(mask))
        if rows is None:
            rows = np.flatnonzero(mask)
        else:
            self._asked.append((query, vectors))
        return _ordered(query, vectors, rows, n)

    def recall(self) -> float | None:
        """Of the ten best items of what was asked lately, the share that is found; None where nothing was.

        Each call looks at all items for the latest query.
        """
        if self._asked:
            query, vectors = self._asked.pop()
            everything = np.ones(len(vectors), np.bool_)
            true = set(_ordered(query, vectors, np.arange(len(vectors)), 10)[0].tolist())
            found = self._near(query, 10, everything, 1.0)
            mine = set() if found is None else set(_ordered(query, vectors, found, 10)[0].tolist())
            self._found.append(len(true & mine) / max(1, len(true)))
        return float(np.mean(self._found)) if self._found else None

    def _near(self, query: FloatVector, n: int, mask: BoolVector, share: float) -> IntVector | None:
        """Rows worth comparing; None where the index finds too few. share: of the items, that `mask` leaves."""
        faiss = _faiss()
        probed = min(self._cells.nlist, math.ceil(PROBED / math.sqrt(share)))
        chosen = None
        if share < 1.0:
            packed = np.packbits(mask[: self.n_items], bitorder="little")
            chosen = faiss.IDSelectorBitmap(packed)
        asked = faiss.SearchParametersIVF(nprobe=probed, sel=chosen)
        _, found = self._cells.search(query[None].astype(np.float32), CANDIDATES * n, params=asked)
        rows = found[0][found[0] >= 0]
        if len(rows) < n:
            return None
        later: IntVector = self.n_items + np.flatnonzero(mask[self.n_items :])
        return np.sort(np.concatenate([rows, later]))


def _faiss() -> Any:
    """An extra, whose own types do not tell what it takes."""
    return import_module("faiss")


def _ordered(query: FloatVector, vectors: FloatMatrix, rows: IntVector, n: int) -> tuple[IntVector, FloatVector]:
    """rows: (k,), sorted."""
    told = vectors @ query if len(rows) == len(vectors) else vectors[rows] @ query
    best = top_n(told[None], n)
    kept = best.rows[0] >= 0
    return rows[best.rows[0][kept]], best.scores[0][kept]


def _made(vectors: FloatMatrix) -> Any:
    faiss = _faiss()
    n_items, dim = vectors.shape
    n_cells = int(4 * math.sqrt(n_items))
    cells = faiss.index_factory(dim, f"IVF{n_cells},SQ8", faiss.METRIC_INNER_PRODUCT)
    cells.cp.max_points_per_centroid = TRAINED_ON
    some = np.random.default_rng(0).choice(n_items, min(n_items, TRAINED_ON * n_cells), replace=False)
    cells.train(vectors[np.sort(some)].astype(np.float32))
    for start in range(0, n_items, INDEXED):
        cells.add(vectors[start : start + INDEXED].astype(np.float32))
    return cells


def _write(cells: Any, path: Path) -> bool:
    """Whether it could be kept. What is read back is checked by its digest, which stands beside it."""
    building = path.with_name(f"{path.name}.{np.random.default_rng().integers(1 << 62):x}")
    try:
        path.parent.mkdir(exist_ok=True)
        _faiss().write_index(cells, str(building))
        digest = _digest(building)
        building.replace(path)
        _beside(path).write_text(digest, "utf-8")
    except (OSError, RuntimeError) as error:
        LOG.warning("the index is kept in memory alone: %s", error)
        building.unlink(missing_ok=True)
        return False
    return True


def _read(path: Path, shape: tuple[int, ...]) -> Any | None:
    """None where there is none for vectors of this shape, or one that is damaged."""
    faiss = _faiss()
    try:
        if _digest(path) != _beside(path).read_text("utf-8"):
            return None
        cells = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    except (OSError, RuntimeError, UnicodeDecodeError):
        return None
    return cells if (cells.ntotal, cells.d) == shape else None


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
