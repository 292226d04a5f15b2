"""Bags of features as vectors, without a vocabulary: a vector does not depend on the other bags.

Features are hashed with signs (Weinberger et al., 2009) and projected at random onto few dimensions each (Kane and
Nelson, "Sparser Johnson-Lindenstrauss Transforms", 2014).
"""

from collections.abc import Mapping, Sequence
from functools import cache
from zlib import crc32

import numpy as np
from scipy.sparse import csr_array

from zhiyin.core.arrays import FloatMatrix

BUCKETS = 1 << 18
SIGN = 1 << 31
DRAWS = 8
"""Dimensions onto which a bucket is projected."""

BATCH = 4_096


def projected(bags: Sequence[Mapping[str, float]], dim: int) -> FloatMatrix:
    """(bags, dim) float32 of features and what they weigh."""
    starts = range(0, len(bags), BATCH)
    return np.concatenate([(_hashed(bags[at : at + BATCH]) @ _projection(dim)).toarray() for at in starts])


def _hashed(bags: Sequence[Mapping[str, float]]) -> csr_array:
    """(bags, buckets) float32."""
    columns: list[int] = []
    values: list[float] = []
    starts = [0]
    for bag in bags:
        for feature, weight in bag.items():
            key = crc32(feature.encode("utf-8", "surrogatepass"))
            columns.append(key % BUCKETS)
            values.append(weight if key & SIGN else -weight)
        starts.append(len(columns))
    return csr_array((np.array(values, np.float32), columns, starts), shape=(len(bags), BUCKETS))


@cache
def _projection(dim: int) -> csr_array:
    """(buckets, dim) float32, `DRAWS` entries of one size and either sign a row."""
    generator = np.random.Generator(np.random.PCG64(0))
    columns = generator.integers(0, dim, BUCKETS * DRAWS, np.int32)
    signs = generator.integers(0, 2, BUCKETS * DRAWS, np.int8) * 2.0 - 1.0
    starts = np.arange(0, BUCKETS * DRAWS + 1, DRAWS)
    return csr_array((signs.astype(np.float32), columns, starts), shape=(BUCKETS, dim))
