"""Which record of a copy counts."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from jobtool.catalog.catalog import Catalog
from jobtool.catalog.copy import STATES
from jobtool.catalog.writer import CatalogWriter
from jobtool.errors import UsageError
from tests.catalog.made import a_copy, at


def recorded(folder: Path, *copies, **options) -> list:
    """Record copies, each by a writer of its own, and return what the catalog answers."""
    for number, copy in enumerate(copies):
        writer = CatalogWriter(str(folder), f"w{number}", **options)
        writer.add([copy])
        writer.flush()
    return list(Catalog(str(folder)).copies())


def test_the_latest_evidence_counts_whoever_writes_last(tmp_path: Path) -> None:
    released = a_copy(seconds=5, state="released")
    assert recorded(tmp_path, released, a_copy(seconds=4)) == [released]


def test_a_later_look_finds_a_damaged_copy_present_again(tmp_path: Path) -> None:
    mended = a_copy(seconds=6)
    assert recorded(tmp_path, mended, a_copy(seconds=5, state="damaged")) == [mended]


@pytest.mark.parametrize("state", sorted(set(STATES) - {"present"}))
@pytest.mark.parametrize("is_first", [True, False])
def test_at_the_same_time_a_copy_that_is_not_usable_counts(
    tmp_path: Path, state: str, is_first: bool
) -> None:
    gone, present = a_copy(state=state), a_copy()
    given = (gone, present) if is_first else (present, gone)
    assert recorded(tmp_path, *given) == [gone]


def test_what_follows_from_a_record_counts_although_the_clock_is_behind(tmp_path: Path) -> None:
    recorded(tmp_path, a_copy(seconds=100))
    catalog = Catalog(str(tmp_path))
    (known,) = catalog.copies()
    writer = CatalogWriter(str(tmp_path), "behind")
    writer.add([a_copy(seconds=70, state="released")], after=known.verified_at)
    writer.flush()
    (found,) = catalog.copies()
    assert (found.state, found.verified_at) == ("released", at(100.000001))


def test_a_writer_whose_clock_stands_still_records_in_order(tmp_path: Path) -> None:
    writer = CatalogWriter(str(tmp_path), "w", clock=lambda: at(0))
    sizes = range(20)
    for size in sizes:
        writer.add([a_copy(size=size)])
    writer.flush()
    assert [copy.size for copy in Catalog(str(tmp_path)).copies()] == [sizes[-1]]


def test_times_of_other_zones_are_the_same_times(tmp_path: Path) -> None:
    local = datetime(2026, 2, 1, 2, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    (found,) = recorded(tmp_path, a_copy(verified_at=local))
    assert found.verified_at == local
    assert found.verified_at.isoformat() == "2026-02-01T01:00:00+00:00"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"item": ""}, "item"),
        ({"url": ""}, "url"),
        ({"package": ""}, "package"),
        ({"size": -1}, "size"),
        ({"files": 2**63}, "files"),
        ({"form": "tar"}, "form"),
        ({"state": "lost"}, "state"),
        ({"digest": "9e107d9d"}, "digest"),
        ({"verified_at": datetime(2026, 2, 1)}, "verified_at"),
        ({"url": "sftp://me:hunter22@host/x.tar"}, "url"),
    ],
)
def test_a_copy_that_is_none_is_refused_and_nothing_is_written(
    tmp_path: Path, changes: dict[str, object], expected: str
) -> None:
    writer = CatalogWriter(str(tmp_path / "catalog"), "w")
    with pytest.raises(UsageError, match=f"{expected}: expected") as raised:
        writer.add([a_copy(**changes)])
    assert "hunter22" not in str(raised.value)
    assert writer.flush() is None
    assert not (tmp_path / "catalog").exists()
