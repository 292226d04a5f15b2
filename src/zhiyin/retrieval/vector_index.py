"""The items whose vectors go best with that of a query, in catalogues too large to look at each."""

import hashlib
import json
import logging
import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np

from zhiyin.core.arrays import BoolVector, FloatMatrix, FloatVector, IntVector
from zhiyin.retrieval.subsets import Subsets
from zhiyin.retrieval.topn import best_of, top_n

LOG = logging.getLogger(__name__)

INDEXED = 60_000
"""Items from which on not each of them is looked at."""

RECALL = 0.995
"""Of the ten best items that sample queries have, the share that is to be found."""

STEP = 1.25
"""From one number of cells that is tried to the next."""

FEW = INDEXED
"""Items that are compared one by one: what little a filter leaves lies in many cells."""

CANDIDATES = 2
"""For each place, items that are compared exactly."""

TRAINED_ON = 64
"""Items for each cell that the cells are found by."""

TOP = 10
"""Items of a list whose recall is told."""

TOLD = 1_000
"""Vectors by which an index is known to be of a catalogue."""

ASKED = 100
"""Latest queries by which the recall is told."""


class VectorIndex:
    """An inverted file (Jégou, Douze and Schmid, 2011) of the first items of a catalogue.

    What it finds is compared by the vectors themselves, and so is what came after the index was made, and what little a
    filter leaves: a list may miss an item, but holds none in the wrong place. probed: cells that are looked through for
    a list that may hold everything; the less it may hold, the more.
    """

    def __init__(self, cells: Any, probed: int) -> None:
        self._cells, self.probed = cells, probed
        self.n_items = int(cells.ntotal)
        self._asked: deque[tuple[FloatVector, FloatMatrix]] = deque(maxlen=1)
        self._found: deque[float] = deque(maxlen=ASKED)
        self._subsets = Subsets()

    @classmethod
    def over(cls, vectors: FloatMatrix, sample: Callable[[], FloatMatrix], kept: Path | None = None) -> Self | None:
        """Of `vectors` (items, dim); None where each can be looked at, or where the package is missing that makes it.

        sample: queries (n, dim) by which it is found out how many cells are to be looked through. kept: a file in which
        it is found again, by several processes in the same memory.
        """
        if len(vectors) < INDEXED:
            return None
        if find_spec("faiss") is None:
            LOG.warning(
                "%d items are all looked at for each list: pip install 'zhiyin[large]' finds them by an index",
                len(vectors),
            )
            return None
        found = None if kept is None else _read(kept, vectors)
        if found is None:
            LOG.info("making an index of %d items", len(vectors))
            cells = _made(vectors)
            found = cells, _probed(cells, vectors, sample())
            if kept is not None and _write(*found, vectors, kept):
                found = _read(kept, vectors) or found
        index = cls(*found)
        LOG.info("an index of %d items answers: %d of %d cells are looked through", len(vectors), *index.cells)
        return index

    @property
    def cells(self) -> tuple[int, int]:
        """Those that are looked through, of how many."""
        return self.probed, int(self._cells.nlist)

    def best(self, query: FloatVector, vectors: FloatMatrix, n: int, mask: BoolVector) -> tuple[IntVector, FloatVector]:
        """Rows and products of about the `n` best where `mask` (items,) is true, best first; of equal ones the lower
        row. vectors: (items, dim), the first of them those that were indexed.
        """
        self._asked.append((query, vectors))
        known = mask[: self.n_items]
        allowed = int(np.count_nonzero(known))
        if allowed <= FEW:
            rows: IntVector | None = self._subsets.near(query, vectors, CANDIDATES * n, known)
        else:
            rows = self._near(query, n, known, allowed / self.n_items)
        if rows is None:
            rows = np.flatnonzero(known)
        later = self.n_items + np.flatnonzero(mask[self.n_items :])
        return _ordered(query, vectors, np.sort(np.concatenate([rows, later])), n)

    def recall(self) -> float | None:
        """Of the ten best items of what was asked lately, the share that is found; None where nothing was.

        Each call looks at all items for the latest query.
        """
        with suppress(IndexError):
            query, vectors = self._asked.pop()
            true, _ = _ordered(query, vectors, np.arange(self.n_items), TOP)
            found = self._near(query, TOP, np.ones(self.n_items, np.bool_), 1.0)
            mine = true[:0] if found is None else _ordered(query, vectors, np.sort(found), TOP)[0]
            self._found.append(float(np.isin(true, mine).mean()))
        return float(np.mean(self._found)) if self._found else None

    def _near(self, query: FloatVector, n: int, mask: BoolVector, share: float) -> IntVector | None:
        """Rows worth comparing, None where the index finds too few. share: of the items, that `mask` leaves."""
        faiss = _faiss()
        probed = min(self._cells.nlist, math.ceil(self.probed / math.sqrt(share)))
        chosen = None
        if share < 1.0:
            chosen = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
        asked = faiss.SearchParametersIVF(nprobe=probed, sel=chosen)
        _, found = self._cells.search(query[None].astype(np.float32), CANDIDATES * n, params=asked)
        rows: IntVector = found[0][found[0] >= 0]
        return rows if len(rows) >= n else None


def _faiss() -> Any:
    """An extra, whose own types do not tell what it takes."""
    return import_module("faiss")


def _ordered(query: FloatVector, vectors: FloatMatrix, rows: IntVector, n: int) -> tuple[IntVector, FloatVector]:
    """rows: (k,), sorted."""
    told = vectors[: len(rows)] @ query if len(rows) and rows[-1] == len(rows) - 1 else vectors[rows] @ query
    best, scores = best_of(told, n)
    return rows[best], scores


def _made(vectors: FloatMatrix) -> Any:
    faiss = _faiss()
    n_items, dim = vectors.shape
    n_cells = int(4 * math.sqrt(n_items))
    cells = faiss.index_factory(dim, f"IVF{n_cells},Flat", faiss.METRIC_INNER_PRODUCT)
    cells.cp.max_points_per_centroid = TRAINED_ON
    some = np.random.default_rng(0).choice(n_items, min(n_items, TRAINED_ON * n_cells), replace=False)
    cells.train(vectors[np.sort(some)].astype(np.float32))
    for start in range(0, n_items, INDEXED):
        cells.add(vectors[start : start + INDEXED].astype(np.float32))
    return cells


def _probed(cells: Any, vectors: FloatMatrix, sample: FloatMatrix) -> int:
    """How many cells `RECALL` of the best are found in, to within `STEP`."""
    faiss, narrow = _faiss(), sample.astype(np.float32)
    scores: FloatMatrix = np.concatenate(
        [sample @ vectors[start : start + INDEXED].T for start in range(0, len(vectors), INDEXED)], axis=1
    )
    true = top_n(scores, TOP).rows
    probed = 1
    while probed < cells.nlist:
        _, found = cells.search(narrow, TOP, params=faiss.SearchParametersIVF(nprobe=probed))
        if np.mean([np.isin(best, mine).mean() for best, mine in zip(true, found, strict=True)]) >= RECALL:
            break
        probed = math.ceil(STEP * probed)
    return min(probed, int(cells.nlist))


def _write(cells: Any, probed: int, vectors: FloatMatrix, path: Path) -> bool:
    """Whether it could be kept. What is read back is checked by its digest, which stands beside it."""
    building = path.with_name(f"{path.name}.{np.random.default_rng().integers(1 << 62):x}")
    try:
        path.parent.mkdir(exist_ok=True)
        _faiss().write_index(cells, str(building))
        digest = _digest(building)
        building.replace(path)
        _beside(path).write_text(json.dumps({"sha256": digest, "probed": probed, "of": _told(vectors)}), "utf-8")
    except (OSError, RuntimeError) as error:
        LOG.warning("the index is kept in memory alone: %s", error)
        with suppress(OSError):
            building.unlink()
        return False
    return True


def _read(path: Path, vectors: FloatMatrix) -> tuple[Any, int] | None:
    """The cells and how many are looked through; None where there are none of these vectors, or damaged ones."""
    faiss = _faiss()
    try:
        told = json.loads(_beside(path).read_text("utf-8"))
        probed = int(told["probed"])
        if _digest(path) != told["sha256"] or _told(vectors) != told["of"]:
            return None
        cells = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    # Threads that fetch ahead from a slow disk cost many times what looking through memory does.
    faiss.downcast_InvertedLists(cells.invlists).prefetch_nthread = 0
    fits = (cells.ntotal, cells.d) == vectors.shape and 1 <= probed <= cells.nlist
    return (cells, probed) if fits else None


def _told(vectors: FloatMatrix) -> str:
    """By which vectors are known again: a digest of some of them."""
    return hashlib.sha256(np.ascontiguousarray(vectors[:: 1 + len(vectors) // TOLD]).tobytes()).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
