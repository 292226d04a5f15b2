"""Attributes of users and items as numbers: one-hot for common words, standardised for numbers."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from zhiyin.core.arrays import FloatMatrix, FloatVector, TextVector
from zhiyin.core.catalog import Catalog, Users
from zhiyin.core.dataset import FeatureColumn, Features
from zhiyin.core.events import text
from zhiyin.core.vocabulary import UNKNOWN, Vocabulary

MAX_VALUES = 50
"""Values of one attribute that get a column of their own, the most common first."""


def user_features(users: Users, vocabulary: Vocabulary) -> Features:
    """Features aligned with `vocabulary`; a user without attributes has a row of zeros."""
    rows = vocabulary.rows(users.user_id)
    known = rows != UNKNOWN
    attributes = {name: values[known] for name, values in users.attributes.items()}
    columns = _columns(attributes)
    matrix = np.zeros((len(vocabulary), len(columns)), np.float32)
    matrix[rows[known]] = _encoded(columns, attributes, int(known.sum()))
    return Features(tuple(column.name for column in columns), matrix, columns)


def user_vector(columns: Sequence[FeatureColumn], attributes: Mapping[str, str]) -> FloatVector:
    """(columns,) float32: the row that `user_features` gives to a user of these attributes."""
    vector: FloatVector = _encoded(columns, {name: text([value]) for name, value in attributes.items()}, 1)[0]
    return vector


def item_features(catalog: Catalog) -> Features:
    """Categories, price and attributes of the items, aligned with `catalog`."""
    columns = _columns(catalog.attributes)
    names = [column.name for column in columns]
    parts = [_encoded(columns, catalog.attributes, len(catalog))]
    counts = Counter(category for group in catalog.categories for category in group)
    for category, _ in counts.most_common(MAX_VALUES):
        names.append(f"category={category}")
        parts.append(np.array([[category in group] for group in catalog.categories], np.float32))
    if np.isfinite(catalog.price).any():
        names.append("price")
        parts.append(_standardised(catalog.price, *_moments(catalog.price))[:, None])
    return Features(tuple(names), np.concatenate(parts, axis=1))


def _columns(attributes: Mapping[str, TextVector]) -> tuple[FeatureColumn, ...]:
    columns: list[FeatureColumn] = []
    for name, values in attributes.items():
        told = [value for value in values if value is not None]
        if all(_is_number(value) for value in told):
            numbers = _numbers(values)
            if len(np.unique(numbers[np.isfinite(numbers)])) > MAX_VALUES:
                columns.append(FeatureColumn(name, None, *_moments(numbers)))
                continue
        columns.extend(FeatureColumn(name, value) for value, _ in Counter(told).most_common(MAX_VALUES))
    return tuple(columns)


def _encoded(columns: Sequence[FeatureColumn], attributes: Mapping[str, TextVector], n: int) -> FloatMatrix:
    matrix = np.zeros((n, len(columns)), np.float32)
    for place, column in enumerate(columns):
        values = attributes.get(column.attribute)
        if values is None:
            continue
        if column.value is None:
            matrix[:, place] = _standardised(_numbers(values), column.mean, column.spread)
        else:
            matrix[:, place] = values == column.value
    return matrix


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _numbers(values: TextVector) -> FloatVector:
    return np.array([float(v) if v is not None and _is_number(v) else np.nan for v in values], np.float64)


def _moments(numbers: FloatVector) -> tuple[float, float]:
    known = numbers[np.isfinite(numbers)]
    return float(known.mean()), float(known.std()) or 1.0


def _standardised(numbers: FloatVector, mean: float, spread: float) -> FloatVector:
    known = np.isfinite(numbers)
    centred = (np.where(known, numbers, 0.0) - mean) / spread
    standardised: FloatVector = np.where(known, centred, 0.0).astype(np.float32)
    return standardised
