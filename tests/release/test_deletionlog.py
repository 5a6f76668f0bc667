"""The log of deletions: what is written can be read, whatever the names, wherever it was torn."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.release.deletionlog import DeletionLog, read_deletions
from jobtool.release.records import (
    DeletionRecord,
    Evidence,
    IntentRecord,
    RemovalRecord,
    RemovedRecord,
    ReturnedRecord,
    TrashedRecord,
    decode_deletion,
    encode_deletion,
)

AT = "2026-05-04T12:00:00Z"
names = st.binary(min_size=1, max_size=40).map(
    lambda name: "/" + name.decode("utf-8", "surrogateescape")
)
md5s = st.text("0123456789abcdef", min_size=32, max_size=32)
sizes = st.integers(0, 2**63 - 1)
texts = st.text(max_size=10)
evidence = st.builds(
    Evidence,
    url=names,
    size=sizes,
    md5=md5s,
    verified_by=texts,
    looked_at=st.just(AT),
    holds=texts,
    etag=st.none() | texts,
)
several = st.lists(evidence, max_size=3).map(tuple)
records = st.one_of(
    st.builds(
        IntentRecord,
        path=names,
        size=sizes,
        mtime_ns=st.integers(-(2**63), 2**63 - 1),
        md5=md5s,
        evidence=several,
        root=names,
        trash=names,
        trashed_to=names,
        at=st.just(AT),
        is_whole=st.booleans(),
    ),
    st.builds(TrashedRecord, path=names, trashed_to=names, at=st.just(AT)),
    st.builds(ReturnedRecord, path=names, trashed_to=names, at=st.just(AT), reason=texts),
    st.builds(RemovalRecord, path=names, trashed_to=names, at=st.just(AT), evidence=several),
    st.builds(RemovedRecord, path=names, trashed_to=names, at=st.just(AT)),
)


def intent(number: int) -> IntentRecord:
    return IntentRecord(
        path=f"/data/{number}",
        size=1,
        mtime_ns=2,
        md5="0" * 32,
        evidence=(),
        root="/data",
        trash="/t/x",
        trashed_to=f"/t/x/files/{number}",
        at=AT,
    )


def trashed(number: int) -> TrashedRecord:
    return TrashedRecord(path=f"/data/{number}", trashed_to=f"/t/x/files/{number}", at=AT)


@given(records)
def test_a_record_is_read_as_it_was_written(record: DeletionRecord) -> None:
    line = encode_deletion(record)
    assert line.count(b"\n") == 1
    assert decode_deletion(line) == record


@given(st.integers(0, 400))
def test_a_torn_line_costs_only_itself(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("log") / "deletions" / "job.jsonl"
    log = DeletionLog(str(path))
    log.append([intent(1)])
    data = path.read_bytes()
    path.write_bytes(data + data[: cut % len(data)])
    DeletionLog(str(path)).append([trashed(1), intent(2)])
    again = DeletionLog(str(path))
    assert set(again.trashed) == {"/t/x/files/1"}
    assert set(again.unfinished) == {"/t/x/files/2"}
    assert again.latest == AT


def test_a_result_without_its_intent_counts_for_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "job.jsonl")
    DeletionLog(path).append([trashed(1)])
    assert DeletionLog(path).trashed == {}


def test_what_is_removed_or_put_back_is_over(tmp_path: Path) -> None:
    path = str(tmp_path / "job.jsonl")
    log = DeletionLog(path)
    log.append([intent(1), intent(2), trashed(1)])
    at = {"at": AT}
    log.append([RemovalRecord(path="/data/1", trashed_to="/t/x/files/1", evidence=(), **at)])
    assert log.announced == {"/t/x/files/1"}
    log.append([RemovedRecord(path="/data/1", trashed_to="/t/x/files/1", **at)])
    log.append([ReturnedRecord(path="/data/2", trashed_to="/t/x/files/2", reason="", **at)])
    assert (log.trashed, log.unfinished, log.announced) == ({}, {}, set())
    assert len([*read_deletions(path)]) == 6


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    import jobtool

    target = tmp_path / "target"
    target.write_bytes(b"")
    (tmp_path / "job.jsonl").symlink_to(target)
    with pytest.raises(jobtool.JoblistUnavailableError, match="Nothing is removed"):
        DeletionLog(str(tmp_path / "job.jsonl")).append([intent(1)])
    assert target.read_bytes() == b""
