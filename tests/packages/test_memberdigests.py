"""MD5s of members are known after reads that follow each other, also after a kill."""

from __future__ import annotations

import hashlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobtool.md5 import can_resume
from jobtool.packages.memberdigests import MOST_STATES, MemberDigests
from jobtool.packages.members import Member
from tests.packages.lists import content_of, list_of

SIZES = (0, 1, 64, 1000, 4096)
MEMBERS = list_of(
    Member(path=str(number), size=size, mtime_ns=7) for number, size in enumerate(SIZES)
)


def add(digests, number, start, end):
    digests.add(number, start, content_of(str(number), start, end - start))


def check(digests):
    """What is known is right."""
    missing = set(digests.missing())
    assert len(missing) == digests.missing_count
    for number, size in enumerate(SIZES):
        found = digests.md5_of(number)
        assert (found is None) == (number in missing)
        if found is not None:
            assert found == hashlib.md5(content_of(str(number), 0, size)).hexdigest()
    return missing


def finish(digests):
    for number in digests.missing():
        start = digests.furthest(number)
        add(digests, number, start, SIZES[number])
    assert check(digests) == set()


@st.composite
def reads(draw):
    number = draw(st.sampled_from(range(len(SIZES))))
    start, end = sorted(draw(st.tuples(*[st.integers(0, SIZES[number] // 64)] * 2)))
    ends = draw(st.sampled_from([end * 64, SIZES[number]]))
    return number, start * 64, max(ends, start * 64)


@settings(max_examples=30)
@given(st.lists(reads(), max_size=20), st.integers(0, 20), st.integers(0, 60))
def test_any_reads_and_a_kill_leave_what_is_right(tmp_path_factory, done, kill_after, torn):
    path = str(tmp_path_factory.mktemp("log") / "md5s")
    digests = MemberDigests(MEMBERS, log=path)
    for number, start, end in done[:kill_after]:
        add(digests, number, start, end)
    digests.flush()
    check(digests)
    if os.path.exists(path):
        os.truncate(path, max(os.path.getsize(path) - torn, 0))
    digests = MemberDigests(MEMBERS, log=path)
    check(digests)
    for number, start, end in done[kill_after:]:
        add(digests, number, start, end)
    check(digests)
    finish(digests)
    digests.flush()
    assert MemberDigests(MEMBERS, log=path).missing_count == 0


def test_a_log_is_taken_up_where_it_ends(tmp_path):
    path = str(tmp_path / "md5s")
    first = MemberDigests(MEMBERS, log=path)
    add(first, 4, 0, 1024)
    add(first, 4, 1024, 2048)
    add(first, 2, 0, 64)
    first.flush()
    second = MemberDigests(MEMBERS, others=[path])
    assert second.md5_of(2) == first.md5_of(2)
    assert second.furthest(4) == (2048 if can_resume() else 0)
    if can_resume():
        add(second, 4, 1024, 4096)  # the part that wasn't sent is read again
        assert check(second) == {0, 1, 3}


@pytest.mark.parametrize("data", [b"", b"x" * 200, b"jobtool: MD5s of members, 1\n" + b"0" * 200])
def test_a_file_that_is_no_log_of_these_members_is_replaced(tmp_path, data):
    path = tmp_path / "md5s"
    path.write_bytes(data)
    digests = MemberDigests(MEMBERS, log=str(path))
    assert digests.missing_count == len(SIZES)
    finish(digests)
    digests.flush()
    assert MemberDigests(MEMBERS, log=str(path)).missing_count == 0


def test_nothing_of_a_log_of_other_members_is_left(tmp_path):
    path = str(tmp_path / "md5s")
    others = list_of(Member(path=f"other {number}", size=1, mtime_ns=0) for number in range(5))
    before = MemberDigests(others, log=path)
    for number in range(5):
        before.add(number, 0, b"x")
    before.flush()
    digests = MemberDigests(MEMBERS, log=path)
    add(digests, 1, 0, 1)
    digests.flush()
    assert check(MemberDigests(MEMBERS, log=path)) == {0, 2, 3, 4}
    assert MemberDigests(others, log=path).missing_count == 5


def test_many_digests_are_on_disk_without_a_flush(tmp_path):
    members = list_of(Member(path=str(number), size=1, mtime_ns=0) for number in range(1500))
    digests = MemberDigests(members, log=str(tmp_path / "md5s"))
    for number in range(1500):
        digests.add(number, 0, b"x")
    found = MemberDigests(members, others=[str(tmp_path / "md5s")])
    assert 0 < found.missing_count < 600


def test_a_damaged_record_and_what_follows_do_not_count(tmp_path):
    path = tmp_path / "md5s"
    digests = MemberDigests(MEMBERS, log=str(path))
    for number in (1, 2, 3):
        add(digests, number, 0, SIZES[number])
    digests.flush()
    data = bytearray(path.read_bytes())
    data[-60] ^= 1  # in the record of the second
    path.write_bytes(data)
    found = MemberDigests(MEMBERS, others=[str(path)])
    assert check(found) == {0, 2, 3, 4}


def test_a_log_that_can_not_be_written_is_done_without(tmp_path):
    digests = MemberDigests(MEMBERS, log=str(tmp_path / "no folder" / "md5s"))
    finish(digests)
    digests.flush()
    assert "no folder" in digests.log_failure


def test_states_are_bounded():
    members = list_of([Member(path="large", size=2**40, mtime_ns=0)])
    digests = MemberDigests(members)
    for number in range(MOST_STATES + 10):
        digests.add(0, number * 64, bytes(64))
    assert sum(map(len, digests._states.values())) <= MOST_STATES
