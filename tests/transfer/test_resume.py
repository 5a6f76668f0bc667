"""Taking up a job again: what its records say, as far as the destination bears it out."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import CredentialsError, StoreError
from jobtool.jobs.records import PartRecord, Receipt, UploadRecord
from jobtool.stores.local import LocalStore
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Attributes, Entry
from jobtool.testing.faults import Fault
from jobtool.testing.faulty_store import FaultyStore
from jobtool.transfer.checksum import md5_of
from jobtool.transfer.existing import Existing
from jobtool.transfer.plan import Plan, Route
from jobtool.transfer.resume import Resumption, Unfinished, remove_leftovers
from tests.stores.raw import LocalRaw, MemoryRaw
from tests.transfer.states import resume

SIZE, MTIME_NS, PART_SIZE = 10, 7, 5
PATHS = ("a", "b/c", "b/d -> e", "not UTF-8 \udcff")


def make_plan(destination, paths=PATHS, size=SIZE):
    plan = Plan()
    plan.is_tree = True
    plan.start_route(Route(MemoryStore(Memory(), "memory://from"), destination))
    for path in sorted(paths, key=os.fsencode):
        plan.add(Entry(path, size, MTIME_NS))
    return plan


def plan_and_existing(sizes):
    """A plan, and what its destination holds: files of these sizes."""
    memory = Memory()
    for path, size in sizes.items():
        MemoryRaw(memory, "").write(path, b"x" * size)
    plan = make_plan(MemoryStore(memory, "memory://to"))
    return plan, Existing(plan)


WHOLE = dict.fromkeys(PATHS, SIZE)


def receipt(path, **changes):
    values = {
        "src_path": f"memory://from/{path}",
        "dst_path": f"memory://to/{path}",
        "size": SIZE,
        "mtime_ns": MTIME_NS,
        "hashsum_src": "",
        "hashsum_dst": "",
        "verified_by": "read-back",
        "verified_at": "2026-11-20T14:31:00Z",
        "worker": "w",
        "attempt": 1,
    }
    return Receipt(**(values | changes))


def upload(path, token, **changes):
    values = {
        "src_path": f"memory://from/{path}",
        "dst_path": f"memory://to/{path}",
        "size": SIZE,
        "mtime_ns": MTIME_NS,
        "part_size": PART_SIZE,
        "token": token,
    }
    return UploadRecord(**(values | changes))


def part(token, number, md5="0" * 32):
    offset = (number - 1) * PART_SIZE
    return PartRecord(token=token, number=number, offset=offset, size=PART_SIZE, md5=md5)


def number_of(plan, path):
    (found,) = [number for number in range(len(plan)) if plan.item(number).entry.path == path]
    return found


def done_of(plan, resumption):
    return {plan.item(number).entry.path for number, flag in enumerate(resumption.done) if flag}


def unfinished_of(plan, resumption):
    return {plan.item(number).entry.path: found for number, found in resumption.unfinished.items()}


DIFFERENT = [
    {"size": SIZE + 1},
    {"size": 0},
    {"mtime_ns": MTIME_NS + 1},
    {"src_path": "memory://from/other"},
    {"src_path": "memory://elsewhere/a"},
    {"dst_path": "memory://to/other"},
    {"dst_path": "memory://elsewhere/a"},
    {"dst_path": "memory://to/b/c"},
]


# Receipts


@given(
    st.lists(st.sampled_from(PATHS)), st.dictionaries(st.sampled_from(PATHS), st.integers(9, 11))
)
def test_a_receipt_counts_if_the_destination_has_a_file_of_that_size(paths, sizes):
    plan, existing = plan_and_existing(sizes)
    found = resume(plan, map(receipt, paths), existing)
    assert done_of(plan, found) == {path for path in paths if sizes.get(path) == SIZE}
    assert found.unfinished == {}


@pytest.mark.parametrize("changes", DIFFERENT, ids=repr)
def test_a_receipt_of_another_file_or_of_the_file_as_it_was_does_not_count(changes):
    plan, existing = plan_and_existing(WHOLE)
    assert done_of(plan, resume(plan, [receipt("a")], existing)) == {"a"}
    assert done_of(plan, resume(plan, [receipt("a", **changes)], existing)) == set()


@given(st.lists(st.builds(receipt, st.sampled_from(PATHS), size=st.integers(9, 11))), st.randoms())
def test_the_order_of_receipts_does_not_matter(receipts, random):
    plan, existing = plan_and_existing(WHOLE)
    shuffled = random.sample(receipts, len(receipts))
    assert resume(plan, receipts, existing) == resume(plan, shuffled, existing)


def test_where_one_may_not_look_receipts_count_as_they_are():
    denied = Fault(method="list", error=CredentialsError("only writing is allowed"))
    inner = MemoryStore(Memory(), "memory://to")
    MemoryRaw(inner.memory, "").write("b/c", b"of another size")
    plan = make_plan(FaultyStore(inner, [denied]))
    existing = Existing(plan)
    assert existing.may_be(0, 12345)
    assert not any(existing.has(number) for number in range(len(plan)))
    assert done_of(plan, resume(plan, [receipt("a")], existing)) == {"a"}


def test_a_store_that_fails_is_not_taken_for_an_empty_one():
    broken = Fault(method="list", error=StoreError("reset"), late=True)
    store = FaultyStore(MemoryStore(Memory(), "memory://to"), [broken])
    MemoryRaw(store.inner.memory, "").write("a", b"x" * SIZE)
    with pytest.raises(StoreError):
        Existing(make_plan(store))


def test_what_is_at_the_destination_is_found_for_named_files_too():
    memory = Memory()
    MemoryRaw(memory, "").write("renamed", b"x" * SIZE)
    plan = Plan()
    plan.start_route(
        Route(MemoryStore(Memory(), "memory://from"), MemoryStore(memory, "memory://to"))
    )
    plan.add(Entry("a", SIZE, MTIME_NS), "renamed")
    plan.add(Entry("b", SIZE, MTIME_NS), "missing")
    existing = Existing(plan)
    assert [existing.has(number) for number in (0, 1)] == [True, False]
    assert existing.may_be(0, SIZE)
    assert not existing.may_be(0, SIZE + 1)
    assert not existing.may_be(1, SIZE)
    named = [receipt("a", dst_path="memory://to/renamed"), receipt("b")]
    assert list(resume(plan, named, existing).done) == [1, 0]


# Uploads and parts

records = st.one_of(
    st.builds(receipt, st.sampled_from(PATHS[:2]), size=st.sampled_from([SIZE, SIZE, SIZE + 1])),
    st.builds(
        upload,
        st.sampled_from(PATHS[:2]),
        st.sampled_from(["t1", "t2", "t3"]),
        mtime_ns=st.sampled_from([MTIME_NS, MTIME_NS, MTIME_NS + 1]),
    ),
    st.builds(part, st.sampled_from(["t1", "t2", "t3"]), st.integers(1, 2)),
)


def story(number, path, count):
    """What one upload writes into a journal."""
    token = f"token {number} \udcff"
    return [upload(path, token), *(part(token, number) for number in range(1, count + 1))]


stories = st.lists(st.tuples(st.sampled_from(PATHS), st.integers(0, 3)), max_size=8)


@given(stories)
def test_of_a_files_uploads_the_last_counts_with_its_own_parts(told):
    plan, existing = plan_and_existing({})
    journal = [line for number, (path, n) in enumerate(told) for line in story(number, path, n)]
    found = unfinished_of(plan, resume(plan, journal, existing))
    expected = {path: (f"token {number} \udcff", n) for number, (path, n) in enumerate(told)}
    assert {path: (one.token, len(one.parts)) for path, one in found.items()} == expected
    for one in found.values():
        assert one.part_size == PART_SIZE
        assert all(number == sent.number for number, sent in one.parts.items())
        assert [one.parts[number].offset for number in sorted(one.parts)] == [
            index * PART_SIZE for index in range(len(one.parts))
        ]


@given(stories, st.randoms())
def test_parts_of_uploads_under_way_at_once_do_not_mix(told, random):
    plan, existing = plan_and_existing({})
    one_each = {path: (number, path, n) for number, (path, n) in enumerate(told)}
    lines = [story(*arguments) for arguments in one_each.values()]
    in_turn = [line for lines_of_one in lines for line in lines_of_one]
    mixed = []
    while lines:
        one = random.choice(lines)
        mixed.append(one.pop(0))
        lines = [rest for rest in lines if rest]
    assert resume(plan, mixed, existing) == resume(plan, in_turn, existing)


@given(st.lists(records, max_size=12))
def test_any_journal_gives_a_state_that_its_records_bear_out(journal):
    plan, existing = plan_and_existing({"a": SIZE})
    found = resume(plan, journal, existing)
    assert done_of(plan, found) <= {"a"}
    begun = {(r.dst_path, r.token) for r in journal if isinstance(r, UploadRecord)}
    parts = {(r.token, r.number) for r in journal if isinstance(r, PartRecord)}
    for path, one in unfinished_of(plan, found).items():
        assert (f"memory://to/{path}", one.token) in begun
        assert {(one.token, number) for number in one.parts} <= parts


@pytest.mark.parametrize("changes", DIFFERENT, ids=repr)
def test_an_upload_of_another_file_or_of_the_file_as_it_was_is_not_taken_up(changes):
    plan, existing = plan_and_existing({})
    journal = [upload("a", "t", **changes), part("t", 1)]
    assert "a" not in unfinished_of(plan, resume(plan, journal, existing))
    journal = [upload("a", "t"), part("t", 1)]
    assert unfinished_of(plan, resume(plan, journal, existing))["a"].parts[1].size == PART_SIZE


@pytest.mark.parametrize("held", [{}, WHOLE])
def test_a_receipt_ends_the_upload_before_it_and_not_the_one_after_it(held):
    plan, existing = plan_and_existing(held)
    journal = [upload("a", "old"), part("old", 1), receipt("a")]
    assert resume(plan, journal, existing).unfinished == {}
    journal += [upload("a", "new"), part("old", 2), part("new", 1)]
    found = unfinished_of(plan, resume(plan, journal, existing))["a"]
    assert found.token == "new"
    assert set(found.parts) == {1}


def test_a_part_that_was_sent_again_counts_as_it_was_sent_last():
    plan, existing = plan_and_existing({})
    journal = [upload("a", "t"), part("t", 1, md5="1" * 32), part("t", 1, md5="2" * 32)]
    found = unfinished_of(plan, resume(plan, journal, existing))["a"]
    assert [sent.md5 for sent in found.parts.values()] == ["2" * 32]


def test_parts_of_an_upload_that_no_record_tells_of_are_passed_over():
    plan, existing = plan_and_existing({})
    journal = [part("unknown", 1), upload("a", "t"), part("T", 1), part("", 2)]
    found = unfinished_of(plan, resume(plan, journal, existing))
    assert found == {"a": Unfinished("t", PART_SIZE)}


def test_an_upload_is_shown_to_the_store_with_the_md5_it_was_begun_with():
    plan, existing = plan_and_existing({})
    journal = [upload("b/c", "t", md5="3" * 32)]
    (one,) = resume(plan, journal, existing).unfinished.values()
    shown = one.upload(plan.item(number_of(plan, "b/c")))
    assert (shown.path, shown.token) == ("b/c", "t")
    assert shown.attributes == Attributes(mtime_ns=MTIME_NS, md5="3" * 32)


# Leftovers


def nothing_done(plan):
    return Resumption(bytearray(len(plan)), bytearray(len(plan)), {}, {})


def remove(plan, resumption, is_stopping=lambda: False):
    return remove_leftovers(plan, resumption, is_stopping=is_stopping)


@pytest.fixture
def local(folder):
    raw = LocalRaw(str(folder))
    raw.write("b/a file", b"data")
    raw.write("b/.jobtool-notes.part", b"somebody's")
    return LocalStore(str(folder), owner="we"), LocalStore(str(folder), owner="they"), raw


def begin(store, path, data=b"data"):
    begun = store.begin(path, Attributes(mtime_ns=0))
    return begun, store.put_part(begun, 1, 0, data, md5_of(data))


def test_only_our_temporary_files_that_no_record_names_are_removed(local):
    ours, theirs, raw = local
    plan = make_plan(ours)
    kept, _ = begin(ours, "b/c")
    begin(ours, "b/c")
    begin(ours, "b/some other")  # a local file's name tells its owner, not its target
    begin(ours, "a")
    begin(theirs, "b/c")
    before = raw.paths()
    known = {number_of(plan, "b/c"): Unfinished(kept.token, PART_SIZE)}
    assert remove(plan, replace(nothing_done(plan), unfinished=known)) == 3
    gone = before - raw.paths()
    assert len(gone) == 3
    assert all(ours.is_leftover(path) for path in gone)
    assert not any(theirs.is_leftover(path) for path in gone)
    assert kept.token in {ours.url_of(path) for path in raw.paths()}
    assert {"b/a file", "b/.jobtool-notes.part"} <= raw.paths()


def test_folders_where_all_files_are_proven_are_not_looked_at(local):
    ours, _, raw = local
    plan = make_plan(ours, paths=("b/c", "a"))
    begin(ours, "b/c")
    before = raw.paths()
    done = bytearray(len(plan))
    done[number_of(plan, "b/c")] = 1
    assert remove(plan, replace(nothing_done(plan), done=done)) == 0
    assert raw.paths() == before


def test_a_stop_ends_the_removing(local):
    ours, _, raw = local
    begin(ours, "b/c")
    before = raw.paths()
    assert remove(make_plan(ours), nothing_done(make_plan(ours)), is_stopping=lambda: True) == 0
    assert raw.paths() == before


def test_where_uploads_bear_no_mark_only_intended_ones_are_asked_for():
    inner = MemoryStore(Memory(), "memory://to")
    store = FaultyStore(inner)
    plan = make_plan(store)
    begin(inner, "a")
    begin(inner, "b/c")
    assert remove(plan, nothing_done(plan)) == 0
    assert store.calls["leftovers"] == 0
    assert remove(plan, replace(nothing_done(plan), intended={number_of(plan, "a"): 0})) == 1
    assert store.calls["leftovers"] == 1
    assert [path for path, _ in inner.memory.uploads.values()] == ["b/c"]


def test_uploads_begun_before_ours_was_intended_are_left_at_the_server(rclone_s3, monkeypatch):
    from jobtool.stores.registry import StoreRegistry

    for name, value in rclone_s3.environment.items():
        monkeypatch.setenv(name, value)
    bucket = rclone_s3.new_bucket()
    store = StoreRegistry().open(f"s3://{bucket}", "destination")
    plan = make_plan(store, paths=("a",))
    begun = store.begin("a", Attributes(mtime_ns=0))
    tomorrow_ns = int(store.leftovers("a", 0)[0].attributes.mtime_ns + 86400e9)
    assert remove(plan, replace(nothing_done(plan), intended={0: tomorrow_ns})) == 0
    assert [found.token for found in store.leftovers("a", 0)] == [begun.token]
    assert remove(plan, replace(nothing_done(plan), intended={0: 0})) == 1
    assert list(store.leftovers("a", 0)) == []
