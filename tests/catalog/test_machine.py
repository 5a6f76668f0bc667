"""Writers, readers and compactions in any order, against a model that keeps all records."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from jobtool import failpoints
from jobtool.catalog import compaction, reading, recordfile
from jobtool.catalog.catalog import Catalog
from jobtool.catalog.compaction import compact
from jobtool.catalog.copy import FORMS, STATES, Copy, Record
from jobtool.catalog.counting import count_copies
from jobtool.catalog.folder import CatalogFolder
from jobtool.catalog.writer import CatalogWriter
from jobtool.names import quote
from jobtool.stores.registry import StoreRegistry
from tests.catalog.made import a_copy, answer, at
from tests.strategies import some_name

# Few values, so that records meet.
_items = st.sampled_from(["a", "c\udcff", "ä\n"])
_copies = st.builds(
    a_copy,
    item=_items,
    seconds=st.integers(0, 1),
    url=st.sampled_from(["/one", "s3://b/\udc80"]),
    package=st.none() | st.sampled_from(["p", "q\udcff"]),
    site=st.sampled_from(["chile", "cologne"]),
    location=st.sampled_from(["buffer", "archive"]),
    form=st.sampled_from(FORMS),
    size=st.integers(0, 2**63 - 1),
    files=st.integers(0, 2),
    digest=st.none() | st.sampled_from(["md5:00000000", "md5:11111111"]),
    state=st.sampled_from(STATES),
)

#: Where a compaction may be killed, or meets another one. The inputs come with a number.
_POINTS = (
    "before a compacted file is written",
    "after a compacted file is written",
    "after a compaction is marked",
    "before an input of a compaction is removed",
    "after the inputs of a compaction are removed",
)


class Killed(BaseException):
    """Stands for the end of a process."""


class Catalogs(RuleBasedStateMachine):
    """Small groups and little memory, so that few records take all ways through the merge."""

    @initialize(
        small_bytes=st.sampled_from([0, 1 << 20]),
        group=st.integers(1, 4),
        held=st.integers(1, 8),
        first=st.lists(_copies, min_size=2, max_size=3),
    )
    def begin(self, small_bytes: int, group: int, held: int, first: list[Copy]) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(reading, "SMALL_BYTES", small_bytes)
        self.patch.setattr(reading, "ROWS_IN_MEMORY", held)
        for module in (reading, recordfile, compaction):
            self.patch.setattr(module, "ROWS_PER_GROUP", group)
        self.stores = StoreRegistry()
        self.clock = count(1)
        self.folder = CatalogFolder("memory://catalog", self.stores, role="destination")
        self.writers = [
            CatalogWriter(self.folder, name, clock=self._now) for name in ("w", "w/\udcff", "_w")
        ]
        self.pending: list[list[Record]] = [[], [], []]
        self.records: list[Record] = []
        self.catalog = Catalog(self.folder)
        for copy in first:
            self.record(0, [copy])

    def _now(self) -> Any:
        return at(next(self.clock))

    @rule(which=st.integers(0, 2), copies=st.lists(_copies, min_size=1, max_size=6))
    def record(self, which: int, copies: list[Copy]) -> None:
        self.add(which, copies)
        self.flush(which)

    @rule(which=st.integers(0, 2), copies=st.lists(_copies, min_size=1, max_size=6))
    def add(self, which: int, copies: list[Copy]) -> None:
        name = ("w", "w/\udcff", "_w")[which]
        for copy in copies:
            time = at(next(self.clock) + 1)  # of the writer, which takes the next one
            self.writers[which].add([copy])
            self.pending[which].append(Record(copy=copy, recorded_at=time, writer=name))

    @rule(which=st.integers(0, 2))
    def flush(self, which: int) -> None:
        assert (self.writers[which].flush() is None) == (not self.pending[which])
        self.records += self.pending[which]
        self.pending[which] = []

    @rule()
    def compact(self) -> None:
        compact(self.folder)
        assert len(self.folder.listing()) <= 1

    @rule(point=st.sampled_from(_POINTS), nth=st.integers(1, 3))
    def compact_and_be_killed(self, point: str, nth: int) -> None:
        number = count(1)

        def hook(reached: str, *about: object) -> None:
            if reached == point and next(number) == nth:
                raise Killed

        failpoints.install(hook)
        try:
            compact(self.folder)
        except Killed:
            pass
        finally:
            failpoints.install(None)

    @rule(
        point=st.sampled_from(_POINTS),
        other=st.sampled_from([*_POINTS, "none"]),
        copies=st.lists(_copies, min_size=1, max_size=2),
    )
    def two_compactions_and_a_writer(self, point: str, other: str, copies: list[Copy]) -> None:
        """The second one runs, perhaps not to its end, while the first is at a point."""

        def hook(reached: str, *about: object) -> None:
            self.record(0, copies)
            self._read()
            if reached == point:
                failpoints.install(inner)
                try:
                    compact(self.folder)
                except Killed:
                    pass
                finally:
                    failpoints.install(None)

        def inner(reached: str, *about: object) -> None:
            if reached == other:
                raise Killed

        failpoints.install(hook)
        try:
            compact(self.folder)
        finally:
            failpoints.install(None)

    @rule(after=st.integers(1, 4))
    def read_while_a_compaction_removes_files(self, after: int) -> None:
        found: set[Copy] = set()
        for number, copy in enumerate(self.catalog.copies(), 1):
            assert copy not in found
            found.add(copy)
            if number == after:
                compact(self.folder)
        assert found == answer(self.records)

    @precondition(lambda self: self.records)
    @rule(data=st.data())
    def where(self, data: st.DataObject) -> None:
        items = data.draw(st.lists(st.sampled_from([r.copy.item for r in self.records]) | _items))
        expected = {copy for copy in answer(self.records) if copy.item in items}
        assert set(self.catalog.copies(items)) == expected

    @rule(site=st.sampled_from(["chile", "cologne"]), package=st.sampled_from(["p", "q\udcff"]))
    def select(self, site: str, package: str) -> None:
        expected = {
            copy for copy in answer(self.records) if copy.site == site and copy.package == package
        }
        assert set(self.catalog.copies(site=site, package=package)) == expected

    @rule(
        less_than=st.none() | st.integers(1, 3),
        by=st.sampled_from(["location", "site"]),
        site=st.none() | st.sampled_from(["chile", "cologne"]),
        state=st.none() | st.sampled_from(STATES),
        before=st.none() | st.integers(0, 4),
    )
    def count(self, less_than, by, site, state, before) -> None:
        options = {"less_than": less_than, "by": by, "site": site, "state": state}
        time = None if before is None else at(before)
        found = list(count_copies(self.catalog, verified_before=time, **options))
        assert found == sorted(found, key=lambda each: quote(each.item))
        assert {
            (each.item, frozenset(each.copies), each.locations, each.sites) for each in found
        } == set(_counted(answer(self.records), verified_before=time, **options))

    @invariant()
    def the_answer_is_that_of_all_records(self) -> None:
        self._read()

    def _read(self) -> None:
        found = list(self.catalog.copies())
        assert found == sorted(found, key=lambda copy: (quote(copy.item), quote(copy.url)))
        assert len(set(found)) == len(found)
        assert set(found) == answer(self.records)

    def teardown(self) -> None:
        failpoints.install(None)
        if hasattr(self, "patch"):
            self.patch.undo()


def _counted(
    copies: set[Copy], *, less_than, by, site, state, verified_before
) -> Iterator[tuple[str, frozenset[Copy], int, int]]:
    for item in {copy.item for copy in copies}:
        here = {copy for copy in copies if copy.item == item and site in (None, copy.site)}
        present = {copy for copy in here if copy.state == "present"}
        locations = len({copy.place for copy in present})
        sites = len({copy.site for copy in present})
        if less_than is not None and (locations if by == "location" else sites) >= less_than:
            continue
        if state is not None and not any(copy.state == state for copy in here):
            continue
        if verified_before is not None and not any(
            copy.verified_at < verified_before for copy in present
        ):
            continue
        if less_than is None and not here:
            continue
        yield item, frozenset(here), locations, sites


TestCatalogs = Catalogs.TestCase
PROFILE = settings.get_profile("jobtool")
TestCatalogs.settings = settings(
    PROFILE, max_examples=PROFILE.max_examples * 2 // 5, stateful_step_count=12
)


@given(items=st.lists(some_name, max_size=8), others=st.lists(some_name, min_size=4, max_size=4))
def test_any_names_come_back_as_they_were_added(items: list[str], others: list[str]) -> None:
    folder = CatalogFolder("memory://catalog", StoreRegistry(), role="destination")
    package, site, location, name = others
    copies = {
        a_copy(item, package=package, site=site, location=location, url=f"/{item}")
        for item in items
    }
    writer = CatalogWriter(folder, name)
    writer.add(copies)
    writer.flush()
    assert set(Catalog(folder).copies()) == copies
    assert [*Catalog(folder).copies(items[:1])] == [c for c in copies if [c.item] == items[:1]]


def test_any_values_come_back_as_they_were_added(tmp_path) -> None:
    copies = [
        a_copy("x" * 100_000, url="/" + "y" * 1000, files=0, digest=None, package=None),
        a_copy("\udcff\udc80", size=2**63 - 1, seconds=-(10**10)),
        replace(a_copy("z"), digest="md5:9e107d9d372bb6826bd81d3542a419d6-17"),
    ]
    writer = CatalogWriter(str(tmp_path), "x" * 500)
    writer.add(copies)
    writer.flush()
    assert set(Catalog(str(tmp_path)).copies()) == set(copies)
