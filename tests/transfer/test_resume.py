"""Taking up a job again: its records count as far as the destination confirms them."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import CredentialsError, StoreError
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import IntentRecord, PartRecord, Receipt, UploadRecord
from jobtool.md5 import md5_of
from jobtool.stores.local import LocalStore
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Attributes, Entry
from jobtool.testing.faults import Fault
from jobtool.testing.faulty_store import FaultyStore
from jobtool.transfer.decision import Held
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.leftovers import remove_leftovers
from jobtool.transfer.plan import Plan, Route
from tests.stores.raw import LocalRaw, MemoryRaw
from tests.transfer.states import make_ledger, proven_of

SIZE, MTIME_NS, PART_SIZE = 10, 7, 5
PATHS = ("a", "b/c", "b/d -> e", "not UTF-8 \udcff")


def make_plan(destination, paths=PATHS, size=SIZE):
    plan = Plan()
    plan.is_tree = True
    plan.start_route(Route(MemoryStore(Memory(), "memory://from"), destination))
    for path in sorted(paths, key=os.fsencode):
        plan.add(Entry(path, size, MTIME_NS))
    return plan


def plan_with(sizes):
    """A plan whose destination holds files of these sizes."""
    memory = Memory()
    for path, size in sizes.items():
        MemoryRaw(memory, "").write(path, b"x" * size)
    return make_plan(MemoryStore(memory, "memory://to"))


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


def done_of(ledger):
    plan = ledger.plan
    return {plan.item(number).entry.path for number, flag in enumerate(proven_of(ledger)) if flag}


def unfinished_of(ledger):
    plan = ledger.plan
    uploads = {
        plan.item(number).entry.path: ledger.upload_of(number) for number in range(len(plan))
    }
    return {path: found for path, found in uploads.items() if found is not None}


def all_known(ledger):
    """What a ledger knows of every file, to compare two ledgers."""
    return [
        (ledger.known(number), ledger.upload_of(number), ledger.intended_ns(number))
        for number in range(len(ledger.plan))
    ]


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
    plan = plan_with(sizes)
    found = make_ledger(plan, map(receipt, paths))
    assert done_of(found) == {path for path in paths if sizes.get(path) == SIZE}
    assert unfinished_of(found) == {}


@pytest.mark.parametrize("changes", DIFFERENT, ids=repr)
def test_a_receipt_of_another_file_or_of_the_file_as_it_was_does_not_count(changes):
    plan = plan_with(WHOLE)
    assert done_of(make_ledger(plan, [receipt("a")])) == {"a"}
    assert done_of(make_ledger(plan, [receipt("a", **changes)])) == set()


@given(st.lists(st.builds(receipt, st.sampled_from(PATHS), size=st.integers(9, 11))), st.randoms())
def test_the_order_of_receipts_does_not_matter(receipts, random):
    plan = plan_with(WHOLE)
    shuffled = random.sample(receipts, len(receipts))
    assert all_known(make_ledger(plan, receipts)) == all_known(make_ledger(plan, shuffled))


def test_where_one_may_not_look_receipts_count_as_they_are():
    denied = Fault(method="list", error=CredentialsError("only writing is allowed"))
    inner = MemoryStore(Memory(), "memory://to")
    MemoryRaw(inner.memory, "").write("b/c", b"of another size")
    plan = make_plan(FaultyStore(inner, [denied]))
    ledger = make_ledger(plan, [receipt("a")])
    assert {ledger.known(number).held for number in range(len(plan))} == {Held.UNKNOWN}
    assert done_of(ledger) == {"a"}


def test_a_store_that_fails_is_not_taken_for_an_empty_one():
    broken = Fault(method="list", error=StoreError("reset"), late=True)
    store = FaultyStore(MemoryStore(Memory(), "memory://to"), [broken])
    MemoryRaw(store.inner.memory, "").write("a", b"x" * SIZE)
    with pytest.raises(StoreError):
        make_ledger(make_plan(store))


def test_what_is_at_the_destination_is_found_for_named_files_too():
    memory = Memory()
    MemoryRaw(memory, "").write("renamed", b"x" * SIZE)
    plan = Plan()
    plan.start_route(
        Route(MemoryStore(Memory(), "memory://from"), MemoryStore(memory, "memory://to"))
    )
    plan.add(Entry("a", SIZE, MTIME_NS), "renamed")
    plan.add(Entry("b", SIZE, MTIME_NS), "missing")
    ledger = make_ledger(plan)
    assert [ledger.known(number).held for number in (0, 1)] == [Held.SAME_SIZE, Held.NOTHING]
    plan.update(0, Entry("a", SIZE + 1, MTIME_NS))
    assert ledger.known(0).held is Held.OTHER_SIZE
    plan.update(0, Entry("a", SIZE, MTIME_NS))
    named = [receipt("a", dst_path="memory://to/renamed"), receipt("b")]
    assert proven_of(make_ledger(plan, named)) == [1, 0]


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
    """The records of one upload in a journal."""
    token = f"token {number} \udcff"
    return [upload(path, token), *(part(token, number) for number in range(1, count + 1))]


stories = st.lists(st.tuples(st.sampled_from(PATHS), st.integers(0, 3)), max_size=8)


@given(stories)
def test_of_a_files_uploads_the_last_counts_with_its_own_parts(told):
    plan = plan_with({})
    journal = [line for number, (path, n) in enumerate(told) for line in story(number, path, n)]
    found = unfinished_of(make_ledger(plan, journal))
    expected = {path: (f"token {number} \udcff", n) for number, (path, n) in enumerate(told)}
    assert {path: (one.record.token, len(one.parts)) for path, one in found.items()} == expected
    for one in found.values():
        assert one.record.part_size == PART_SIZE
        assert all(number == sent.number for number, sent in one.parts.items())
        assert [one.parts[number].offset for number in sorted(one.parts)] == [
            index * PART_SIZE for index in range(len(one.parts))
        ]


@given(stories, st.randoms())
def test_parts_of_uploads_under_way_at_once_do_not_mix(told, random):
    plan = plan_with({})
    one_each = {path: (number, path, n) for number, (path, n) in enumerate(told)}
    lines = [story(*arguments) for arguments in one_each.values()]
    in_turn = [line for lines_of_one in lines for line in lines_of_one]
    mixed = []
    while lines:
        one = random.choice(lines)
        mixed.append(one.pop(0))
        lines = [rest for rest in lines if rest]
    assert all_known(make_ledger(plan, mixed)) == all_known(make_ledger(plan, in_turn))


@given(st.lists(records, max_size=12))
def test_any_journal_gives_a_state_that_its_records_bear_out(journal):
    plan = plan_with({"a": SIZE})
    found = make_ledger(plan, journal)
    assert done_of(found) <= {"a"}
    begun = {(r.dst_path, r.token) for r in journal if isinstance(r, UploadRecord)}
    parts = {(r.token, r.number) for r in journal if isinstance(r, PartRecord)}
    for path, one in unfinished_of(found).items():
        assert (f"memory://to/{path}", one.record.token) in begun
        assert {(one.record.token, number) for number in one.parts} <= parts


@pytest.mark.parametrize("changes", DIFFERENT, ids=repr)
def test_an_upload_of_another_file_or_of_the_file_as_it_was_is_not_taken_up(changes):
    plan = plan_with({})
    journal = [upload("a", "t", **changes), part("t", 1)]
    assert "a" not in unfinished_of(make_ledger(plan, journal))
    journal = [upload("a", "t"), part("t", 1)]
    assert unfinished_of(make_ledger(plan, journal))["a"].parts[1].size == PART_SIZE


@pytest.mark.parametrize("held", [{}, WHOLE])
def test_a_receipt_ends_the_upload_before_it_and_not_the_one_after_it(held):
    plan = plan_with(held)
    journal = [upload("a", "old"), part("old", 1), receipt("a")]
    assert unfinished_of(make_ledger(plan, journal)) == {}
    journal += [upload("a", "new"), part("old", 2), part("new", 1)]
    found = unfinished_of(make_ledger(plan, journal))["a"]
    assert found.record.token == "new"
    assert set(found.parts) == {1}


def test_a_part_that_was_sent_again_counts_as_it_was_sent_last():
    plan = plan_with({})
    journal = [upload("a", "t"), part("t", 1, md5="1" * 32), part("t", 1, md5="2" * 32)]
    found = unfinished_of(make_ledger(plan, journal))["a"]
    assert [sent.md5 for sent in found.parts.values()] == ["2" * 32]


def test_parts_of_an_upload_that_no_record_tells_of_are_passed_over():
    plan = plan_with({})
    journal = [part("unknown", 1), upload("a", "t"), part("T", 1), part("", 2)]
    found = unfinished_of(make_ledger(plan, journal))
    assert {path: (one.record, one.parts) for path, one in found.items()} == {
        "a": (upload("a", "t"), {})
    }


def test_an_upload_is_shown_to_the_store_with_the_md5_it_was_begun_with():
    plan = plan_with({})
    journal = [upload("b/c", "t", md5="3" * 32)]
    (one,) = unfinished_of(make_ledger(plan, journal)).values()
    shown = one.at("b/c")
    assert (shown.path, shown.token) == ("b/c", "t")
    assert shown.attributes == Attributes(mtime_ns=MTIME_NS, md5="3" * 32)


# Leftovers


def intent(path, at_ns, root="memory://to"):
    return IntentRecord(src_path=f"memory://from/{path}", dst_path=f"{root}/{path}", at_ns=at_ns)


def remove(plan, *records, is_stopping=lambda: False):
    ledger = Ledger(plan, Journal(os.devnull))
    ledger.fold(records)
    return remove_leftovers(ledger, is_stopping=is_stopping)


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
    begin(ours, "b/some other")  # a local file's name shows its owner, not its target
    begin(ours, "a")
    begin(theirs, "b/c")
    before = raw.paths()
    assert remove(plan, upload("b/c", kept.token, dst_path=ours.url_of("b/c"))) == 3
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
    assert remove(plan, receipt("b/c", dst_path=ours.url_of("b/c"))) == 0
    assert raw.paths() == before


def test_a_stop_ends_the_removing(local):
    ours, _, raw = local
    begin(ours, "b/c")
    before = raw.paths()
    assert remove(make_plan(ours), is_stopping=lambda: True) == 0
    assert raw.paths() == before


def test_where_uploads_bear_no_mark_only_intended_ones_are_asked_for():
    inner = MemoryStore(Memory(), "memory://to")
    store = FaultyStore(inner)
    plan = make_plan(store)
    begin(inner, "a")
    begin(inner, "b/c")
    assert remove(plan) == 0
    assert store.calls["leftovers"] == 0
    assert remove(plan, intent("a", 0)) == 1
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
    assert remove(plan, intent("a", tomorrow_ns, f"s3://{bucket}")) == 0
    assert [found.token for found in store.leftovers("a", 0)] == [begun.token]
    assert remove(plan, intent("a", 0, f"s3://{bucket}")) == 1
    assert list(store.leftovers("a", 0)) == []
