"""Attributes of users and items as numbers: one-hot for common words, standardised for numbers."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from zhiyin.core.arrays import TextVector
from zhiyin.core.catalog import Catalog, Users
from zhiyin.core.dataset import Features
from zhiyin.core.vocabulary import UNKNOWN, Vocabulary

MAX_VALUES = 50
"""Values of one attribute that get a column of their own, the most common first."""


def user_features(users: Users, vocabulary: Vocabulary) -> Features:
    """Features aligned with `vocabulary`; a user without attributes has a row of zeros."""
    rows = vocabulary.rows(users.user_id)
    known = rows != UNKNOWN
    columns = _columns({name: values[known] for name, values in users.attributes.items()})
    return _placed(columns, rows[known], len(vocabulary))


def item_features(catalog: Catalog) -> Features:
    """Categories, price and attributes of the items, aligned with `catalog`."""
    columns = _columns(catalog.attributes)
    counts = Counter(category for group in catalog.categories for category in group)
    for category, _ in counts.most_common(MAX_VALUES):
        columns[f"category={category}"] = np.array([category in group for group in catalog.categories], np.float32)
    if np.isfinite(catalog.price).any():
        columns["price"] = _standardised(catalog.price)
    return _placed(columns, np.arange(len(catalog)), len(catalog))


def _columns(attributes: Mapping[str, TextVector]) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {}
    for name, values in attributes.items():
        numbers = _numbers(values)
        if numbers is not None and len(np.unique(numbers[np.isfinite(numbers)])) > MAX_VALUES:
            columns[name] = _standardised(numbers)
            continue
        common = Counter(value for value in values if value is not None).most_common(MAX_VALUES)
        for value, _ in common:
            columns[f"{name}={value}"] = (values == value).astype(np.float32)
    return columns


def _numbers(values: TextVector) -> np.ndarray | None:
    try:
        return np.array([np.nan if value is None else float(value) for value in values], np.float64)
    except ValueError:
        return None


def _standardised(numbers: np.ndarray) -> np.ndarray:
    known = np.isfinite(numbers)
    spread = float(numbers[known].std()) or 1.0
    centred = (np.where(known, numbers, 0.0) - float(numbers[known].mean())) / spread
    return np.where(known, centred, 0.0).astype(np.float32)


def _placed(columns: Mapping[str, np.ndarray], rows: np.ndarray, n: int) -> Features:
    matrix = np.zeros((n, len(columns)), np.float32)
    if columns:
        matrix[rows] = np.stack(list(columns.values()), axis=1)
    return Features(tuple(columns), matrix)
