"""Attributes as vectors: what items have in common counts, however it is written."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhiyin.app.prepare import contents_of
from zhiyin.app.registry import make_encoder
from zhiyin.core.arrays import FloatMatrix
from zhiyin.core.catalog import Catalog
from zhiyin.core.events import MISSING_TIME
from zhiyin.core.models import Content


def encoded(*lines: str | None) -> FloatMatrix:
    return make_encoder("attributes").encode([Content(attributes=each) for each in lines])


def test_items_are_as_near_as_what_they_have_in_common() -> None:
    alike, half, apart = encoded("brand=A\ncolour=red", "brand=A\ncolour=blue", "brand=B\ncolour=green")
    assert alike @ half == pytest.approx(0.5, abs=0.15)
    assert abs(alike @ apart) < 0.2
    np.testing.assert_allclose(encoded("colour=Red\nbrand=a")[0], alike, atol=1e-6)


def test_near_numbers_are_nearer_than_far_ones() -> None:
    ten, eleven, thousand = encoded("price=10", "price=11", "price=1000")
    assert ten @ eleven > ten @ thousand + 0.2


def test_attribute_of_many_values_does_not_outweigh_the_others() -> None:
    many, brand, tags = encoded("brand=A\ntags=" + "|".join("abcdefgh"), "brand=A", "tags=" + "|".join("abcdefgh"))
    assert many @ brand == pytest.approx(many @ tags, abs=0.15)


def test_a_list_of_values_is_read_as_such_however_it_is_written() -> None:
    catalog = Catalog.build(item_id=list("abc"), attributes={"tags": ['["sea", "salt", 3]', "sea|salt|3", "[sea"]})
    assert catalog.lines() == ["tags=sea|salt|3", "tags=sea|salt|3", "tags=[sea"]


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=8), max_size=4))
def test_any_attributes_make_a_vector_or_none(attributes: dict[str, str]) -> None:
    catalog = Catalog.build(item_id=["a"], attributes={name: [value or None] for name, value in attributes.items()})
    content = contents_of(catalog)[0]
    length = np.linalg.norm(make_encoder("attributes").encode([content]))
    assert length == pytest.approx(1.0, abs=1e-5) if content.attributes else length == 0


def test_categories_and_price_are_attributes() -> None:
    catalog = Catalog.build(
        item_id=["a", "b"],
        categories=[["Comedy", "Drama"], []],
        price=[2.5, np.nan],
        attributes={"year": ["1995", None]},
    )
    lines = [content.attributes for content in contents_of(catalog)]
    assert lines == ["category=Comedy\ncategory=Drama\nyear=1995\nprice=2.5", None]


def test_items_that_appeared_together_are_near() -> None:
    day = 86_400_000
    appeared = [20_000 * day, 20_003 * day, 19_900 * day, 21_000 * day]
    catalog = Catalog.build(item_id=["a", "b", "c", "d", "e"], available_from=[*appeared, MISSING_TIME])
    lines = catalog.lines()
    assert lines[4] is None
    one, same_month, same_year, later = encoded(*(line or "" for line in lines[:4]))
    assert one @ same_month == pytest.approx(1.0)
    assert one @ same_month > one @ same_year > one @ later + 0.2
