"""Counting copies of more items than a few."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobtool.catalog.catalog import Catalog
from jobtool.catalog.counting import count_copies
from jobtool.catalog.writer import CatalogWriter
from tests.catalog.made import a_copy


@pytest.mark.parametrize("count", [40, 400])
def test_each_of_many_items_has_its_own_copies(tmp_path: Path, count: int) -> None:
    places = [f"site{number}" for number in range(9)]
    for site in places:
        writer = CatalogWriter(str(tmp_path), site)
        writer.add(
            a_copy(f"item{number:03d}", site=site, url=f"/{site}/{number}")
            for number in range(count)
        )
        writer.flush()
    found = list(count_copies(Catalog(str(tmp_path)), less_than=10))
    assert [each.item for each in found] == [f"item{number:03d}" for number in range(count)]
    for each in found:
        assert (each.locations, each.sites) == (9, 9)
        assert sorted(copy.site for copy in each.copies) == places
        assert {copy.item for copy in each.copies} == {each.item}
    assert list(count_copies(Catalog(str(tmp_path)), less_than=9)) == []
