"""The plan of a job: what is copied where, in which order, and what a receipt proves of it."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import FileError, NotFoundError, SourceError
from jobtool.jobs.job import FilePair, Job
from jobtool.jobs.records import Receipt
from jobtool.stores.local import LocalStore
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Entry
from jobtool.transfer.plan import MAX_FAILURES, METADATA_NAMES, Plan, Route
from tests.stores.raw import LocalRaw, MemoryRaw
from tests.transfer.states import make_plan

LANE = Route(MemoryStore(Memory(), "memory://a"), MemoryStore(Memory(), "memory://b/c", "c"))

segments = st.sampled_from(
    ["a", "b", "a-b", "a.b", "a0", "c 0", "é", "\udcff", "x\ny", "->"]
    + [os.fsdecode(name) for name in METADATA_NAMES]
)
paths = st.lists(segments, min_size=1, max_size=5).map("/".join)
trees = st.lists(paths, max_size=25, unique=True)


def plan_of(found, route=LANE):
    plan = Plan()
    plan.start_route(route)
    for number, path in enumerate(found):
        plan.add(Entry(path, number % 5, number))
    return plan


def receipt_of(item, **changes):
    values = {
        "src_path": item.source_url,
        "dst_path": item.destination_url,
        "size": item.entry.size,
        "mtime_ns": item.entry.mtime_ns,
        "hashsum_src": "",
        "hashsum_dst": "",
        "verified_by": "read-back",
        "verified_at": "2026-11-20T14:31:00Z",
        "worker": "w",
        "attempt": 1,
    }
    return Receipt(**(values | changes))


def order_of(plan, large_bytes=3):
    phases = list(plan.phases(large_bytes=large_bytes))
    return [[plan.item(number).entry for number in phase] for phase in phases]


def name_of(entry):
    return os.fsencode(entry.path.rpartition("/")[2])


@given(trees)
def test_every_file_is_in_exactly_one_phase(found):
    plan = plan_of(found)
    listed = [entry.path for phase in order_of(plan) for entry in phase]
    assert sorted(listed) == sorted(found)
    assert len(plan) == len(found)
    assert plan.total_bytes == sum(number % 5 for number in range(len(found)))


@given(trees)
def test_metadata_goes_after_all_data_and_the_deepest_first(found):
    data, *metadata = order_of(plan_of(found))
    assert not [entry for entry in data if name_of(entry) in METADATA_NAMES]
    depths = [{entry.path.count("/") for entry in phase} for phase in metadata]
    assert all(len(depth) == 1 for depth in depths)
    assert [depth.pop() for depth in depths] == sorted(
        {path.count("/") for path in found if name_of(Entry(path, 0, 0)) in METADATA_NAMES},
        reverse=True,
    )


@given(trees)
def test_large_files_go_first_and_the_largest_before_all(found):
    data = order_of(plan_of(found))[0]
    sizes = [entry.size for entry in data]
    large = [size for size in sizes if size >= 3]
    assert sizes[: len(large)] == sorted(large, reverse=True)


@given(trees, st.randoms(use_true_random=False))
def test_a_receipt_finds_its_file_and_no_other_in_any_order_of_listing(found, random):
    random.shuffle(found)
    plan = plan_of(found)
    for number in range(len(plan)):
        receipt = receipt_of(plan.item(number))
        assert plan.find(receipt) == number
        assert plan.proves(receipt, number)
        assert not plan.proves(receipt_of(plan.item(number), size=99), number)
        assert not plan.proves(receipt_of(plan.item(number), mtime_ns=-1), number)
        for changes in (
            {"src_path": "memory://other/" + found[number]},
            {"dst_path": "memory://b/" + found[number]},
            {"src_path": receipt.src_path + "x"},
            {"dst_path": receipt.dst_path + "x"},
        ):
            assert plan.find(receipt_of(plan.item(number), **changes)) is None


NUMBERED = [f"{number:04}" for number in range(0, 1000, 2)]  # more than are looked at nearby


@given(st.lists(st.integers(-1, 1000), min_size=1, max_size=30), st.booleans())
def test_files_of_a_large_plan_are_found_whichever_was_found_before(numbers, is_sorted):
    listed = NUMBERED if is_sorted else NUMBERED[::-1]
    plan = plan_of(listed)
    for number in numbers:
        path = f"{number:04}"
        found = plan.find_path(0, path)
        assert found == (listed.index(path) if path in NUMBERED else None)


def test_a_plan_counts_a_changed_file_with_its_new_size():
    plan = plan_of(["a", "b", "c"])
    assert plan.total_bytes == 0 + 1 + 2
    plan.update(1, Entry("b", 10, 7))
    assert plan.total_bytes == 0 + 10 + 2
    assert plan.size_of(1) == 10
    assert plan.item(1).entry == Entry("b", 10, 7)
    assert not plan.is_tree


def test_a_plan_keeps_one_failure_more_than_a_job_may_have():
    plan = Plan()
    for number in range(MAX_FAILURES + 9):
        plan.fail(f"memory://a/{number}", SourceError("unreadable"))
    assert [failure.path for failure in plan.failures] == [
        f"memory://a/{number}" for number in range(MAX_FAILURES + 1)
    ]


@given(st.lists(st.tuples(paths, paths), unique=True, max_size=15))
def test_a_receipt_of_a_renamed_file_finds_the_pair(pairs):
    plan = Plan()
    for route in (LANE, Route(LANE.destination, LANE.source)):
        plan.start_route(route)
        for source, destination in pairs:
            plan.add(Entry(source, 1, 2), destination)
    assert [plan.find(receipt_of(plan.item(number))) for number in range(len(plan))] == list(
        range(len(plan))
    )
    found = [plan.item(number) for number in range(len(pairs))]
    assert [(item.entry.path, item.destination_path) for item in found] == pairs
    assert {item.route for item in found} <= {LANE}


@pytest.fixture
def stores():
    return StoreRegistry()


@pytest.fixture
def raw(stores):
    return MemoryRaw(stores.open("memory://src", "source").memory, "")


def planned(job, stores):
    plan = make_plan(job, stores)
    items = [plan.item(number) for number in range(len(plan))]
    return {item.source_url: item.destination_url for item in items}


def test_a_tree_goes_below_its_destination(stores, raw):
    for path in ("tree/a", "tree/b/c", "tree2/d"):
        raw.write(path, b"1")
    job = Job(name="j", source="memory://src/tree", destination="memory://dst/x")
    assert planned(job, stores) == {
        "memory://src/tree/a": "memory://dst/x/a",
        "memory://src/tree/b/c": "memory://dst/x/b/c",
    }


def test_a_source_that_is_one_file_goes_to_the_destination_itself(stores, raw):
    raw.write("folder/a", b"1")
    job = Job(name="j", source="memory://src/folder/a", destination="memory://dst/b")
    assert planned(job, stores) == {"memory://src/folder/a": "memory://dst/b"}


def test_a_local_file_goes_to_the_destination_itself(stores, folder):
    LocalRaw(str(folder)).write("a\udcff", b"1")
    job = Job(name="j", source=f"{folder}/a\udcff", destination="memory://dst/b")
    assert planned(job, stores) == {f"{folder}/a\udcff": "memory://dst/b"}


def test_an_empty_local_folder_is_a_plan_of_nothing(stores, folder):
    assert planned(Job(name="j", source=str(folder), destination="memory://dst/b"), stores) == {}


def test_named_files_may_be_relative_or_absolute(stores, raw, folder):
    for path in ("tree/a", "tree/b"):
        raw.write(path, b"1")
    LocalRaw(str(folder)).write("c", b"1")
    job = Job(
        name="j",
        source="memory://src/tree",
        destination="memory://dst/x",
        files=(
            FilePair(source="b", destination="renamed/b"),
            FilePair(source=f"{folder}/c", destination="c"),
            FilePair(source="a", destination="memory://elsewhere/a"),
        ),
    )
    assert planned(job, stores) == {
        "memory://src/tree/b": "memory://dst/x/renamed/b",
        f"{folder}/c": "memory://dst/x/c",
        "memory://src/tree/a": "memory://elsewhere/a",
    }


def test_named_files_that_are_missing_fail_alone_and_the_others_are_planned(stores, raw):
    for path in ("a", "b", "c"):
        raw.write(path, b"1")
    names = ("a", "gone 1", "b", "gone 2", "c", "gone 3")
    files = tuple(FilePair(source=name, destination=name) for name in names)
    job = Job(name="j", source="memory://src", destination="memory://dst", files=files)
    plan = make_plan(job, stores)
    assert [plan.item(number).entry.path for number in range(len(plan))] == ["a", "b", "c"]
    assert [failure.path for failure in plan.failures] == [
        f"memory://src/gone {number}" for number in (1, 2, 3)
    ]
    assert all(isinstance(failure.error, NotFoundError) for failure in plan.failures)


def test_all_spellings_of_a_folder_are_one(stores, raw, tmp_path):
    for path in ("a", "b"):
        raw.write(path, b"1")
    files = (
        FilePair(source="a", destination=f"file://{tmp_path}/out/a%20b"),
        FilePair(source="b", destination="c%20d"),
    )
    for destination in (f"file://{tmp_path}/out", f"{tmp_path}/out", f"{tmp_path}//./out/"):
        job = Job(name="j", source="memory://src", destination=destination, files=files)
        assert planned(job, stores) == {
            "memory://src/a": f"{tmp_path}/out/a b",
            "memory://src/b": f"{tmp_path}/out/c%20d",
        }


@pytest.mark.parametrize(
    ("destination", "target"),
    [
        ("file:///d/out", "/d/out/x"),
        ("/d/out", "file:///d/out/x"),
        ("MEMORY://dst/out", "memory://dst/out/x"),
        ("memory://dst/out/", "Memory://dst/out/x"),
    ],
)
def test_two_files_for_one_place_in_two_spellings_are_refused(stores, raw, destination, target):
    for path in ("a", "b"):
        raw.write(path, b"1")
    files = (FilePair(source="a", destination="x"), FilePair(source="b", destination=target))
    for order in (files, files[::-1]):
        job = Job(name="j", source="memory://src", destination=destination, files=order)
        with pytest.raises(FileError, match="two files"):
            make_plan(job, stores)


class WithFolders(MemoryStore):
    """A store in memory that can hold empty folders."""

    specials = frozenset({"empty-folder"})

    def make_special(self, special):
        self.made = special


class RootOnly:
    """Opens an empty folder as the source, and a store's root as the destination."""

    def __init__(self, source):
        self.source = source

    def open(self, url, role, **options):
        return LocalStore(self.source) if role == "source" else WithFolders(Memory(), url)


def test_an_empty_source_to_a_stores_root_makes_nothing(tmp_path):
    job = Job(name="j", source=str(tmp_path), destination="memory://dst")
    assert not make_plan(job, RootOnly(str(tmp_path))).has_specials
    job = Job(name="j", source=str(tmp_path), destination="memory://dst/out")
    assert make_plan(job, RootOnly(str(tmp_path))).has_specials


@pytest.mark.parametrize(
    ("pairs", "error"),
    [
        ([("../a", "x")], "without empty parts"),
        ([("a", "../x")], "without empty parts"),
        ([("a", "x/../../y")], "without empty parts"),
        ([("a", "x"), ("b", "x")], "two files"),
        ([("a", "x"), ("b", "memory://dst/out/x")], "two files"),
        ([("a", "memory://dst/out/x"), ("b", "x")], "two files"),
    ],
)
def test_named_files_that_make_no_sense_are_refused(stores, raw, pairs, error):
    for path in ("a", "b"):
        raw.write(path, b"1")
    files = tuple(FilePair(source=source, destination=to) for source, to in pairs)
    job = Job(name="j", source="memory://src", destination="memory://dst/out", files=files)
    with pytest.raises(FileError, match=error):
        make_plan(job, stores)


def test_a_relative_file_of_a_job_without_a_folder_is_refused(stores):
    job = Job(name="j", files=(FilePair(source="a", destination="memory://dst/a"),))
    with pytest.raises(FileError, match="relative"):
        make_plan(job, stores)


@pytest.mark.parametrize("source", ["memory://src/nothing", "/no/such/folder"])
def test_a_source_that_is_gone_is_named(stores, source):
    with pytest.raises(SourceError, match=source):
        make_plan(Job(name="j", source=source, destination="memory://dst"), stores)
