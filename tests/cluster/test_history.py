"""The checks of a storm refuse each kind of forged history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from jobtool.jobs.joblog import decode_log
from jobtool.jobs.records import Receipt
from tests.cluster.history import (
    JobHistory,
    attempts_of,
    differences,
    faults_of,
    leftovers_in,
    read_job,
    unproven,
)
from tests.trees import write

LOG = """\
2026-01-01T00:00:10Z claimed worker=node1:11 rank=0 attempt=1 claim=aa
2026-01-01T00:00:11Z progress files=1/2 attempt=1
2026-01-01T00:00:14Z claimed worker=node2:22 rank=0 attempt=3 claim=bb
2026-01-01T00:00:15Z helped worker=node3:33 attempt=3
2026-01-01T00:00:16Z success files=2 attempt=3
"""


def receipt(name: str, worker: str, attempt: int, at: str) -> Receipt:
    return Receipt(
        src_path=f"/in/{name}",
        dst_path=f"/out/{name}",
        size=1,
        mtime_ns=1,
        hashsum_src="0",
        hashsum_dst="0",
        verified_by="read-back",
        verified_at=f"2026-01-01T00:00:{at}Z",
        worker=worker,
        attempt=attempt,
    )


FIRST = receipt("a", "node1:11", 1, "15")  # the second after the next attempt's claim still counts
HELPED = receipt("b", "node3:33", 3, "15")
LAST = receipt("c", "node2:22", 3, "16")
GOOD = JobHistory(
    stem="job",
    status="success",
    attempts=3,
    log=tuple(decode_log(LOG.encode())),
    seen=(FIRST, HELPED),
    table=(FIRST, HELPED, LAST),
)


def with_log(change: Callable[[str], str]) -> JobHistory:
    changed = change(LOG)
    assert changed != LOG
    return replace(GOOD, log=tuple(decode_log(changed.encode())))


def without(line: int) -> Callable[[str], str]:
    return lambda log: "".join(
        text for number, text in enumerate(log.splitlines(keepends=True)) if number != line
    )


def adding(line: str) -> Callable[[str], str]:
    return lambda log: log + line + "\n"


def replacing(old: str, new: str) -> Callable[[str], str]:
    return lambda log: log.replace(old, new)


def with_receipt(**changes: object) -> JobHistory:
    """A receipt that was seen during the storm and isn't in the final table."""
    return replace(GOOD, seen=(*GOOD.seen, msgspec.structs.replace(FIRST, **changes)))


def test_a_history_of_a_kill_a_takeover_and_a_helper_is_accepted() -> None:
    assert faults_of([GOOD]) == []
    cut, last = attempts_of(GOOD)
    assert (cut.worker, cut.end) == ("node1:11", None)
    assert (last.worker, last.end, last.helpers) == ("node2:22", "success", {"node3:33"})


FORGED = {
    "a job that isn't done": (replace(GOOD, status="ongoing"), "is ongoing"),
    "a line by the old holder after the new one's claim": (
        with_log(replacing(":15Z helped worker=node3:33 attempt=3", ":15Z progress attempt=1")),
        "'progress' of attempt 1 while attempt 3 held the claim",
    ),
    "a success by the old holder": (
        with_log(replacing("success files=2 attempt=3", "success files=2 attempt=1")),
        "'success' of attempt 1 while attempt 3 held the claim",
    ),
    "a job taken again after its success": (
        with_log(adding("2026-01-01T00:00:17Z claimed worker=node1:11 rank=0 attempt=4 claim=cc")),
        "attempt 4 claimed after attempt 3 had success",
    ),
    "two ends of one attempt": (
        with_log(adding("2026-01-01T00:00:17Z success files=2 attempt=3")),
        "'success' of attempt 3 after its 'success'",
    ),
    "one attempt claimed twice": (
        with_log(replacing("attempt=3 claim=bb", "attempt=1 claim=bb")),
        "attempt 1 claimed after attempt 1",
    ),
    "a claimed line that somebody has overwritten": (
        with_log(without(2)),
        "'helped' of attempt 3 while attempt 1 held the claim",
    ),
    "a log without its end": (with_log(without(4)), "its log ends with None"),
    "a line that tells no attempt": (
        with_log(replacing("files=1/2 attempt=1", "files=1/2")),
        "a line 'progress' without its attempt",
    ),
    "a claim without its token": (with_log(replacing(" claim=bb", "")), "without saying by whom"),
    "a claim without its worker": (
        with_log(replacing(" worker=node2:22", "")),
        "without saying by whom",
    ),
    "one token for two attempts": (
        with_log(replacing("claim=bb", "claim=aa")),
        "claim 'aa' of 2 attempts",
    ),
    "a claim from before the line above": (
        with_log(replacing(":14Z claimed", ":10Z claimed")),
        "attempt 3 claimed before a line above it",
    ),
    "a header that counts fewer attempts": (
        replace(GOOD, attempts=1),
        "its header counts 1 attempts, its log 3",
    ),
    "a receipt by somebody else": (
        with_receipt(worker="node9:99"),
        "by node9:99, while node1:11 held attempt 1",
    ),
    "a receipt by a helper of another attempt": (
        with_receipt(worker="node3:33"),
        "by node3:33, while node1:11 held attempt 1",
    ),
    "a receipt from before its claim": (
        with_receipt(verified_at="2026-01-01T00:00:09Z"),
        "from before its attempt 1 was claimed",
    ),
    "a receipt from after the loss": (
        with_receipt(verified_at="2026-01-01T00:00:16Z"),
        "of attempt 1, from after the next one was claimed",
    ),
    "a receipt of an attempt that nobody claimed": (
        with_receipt(attempt=2),
        "its attempt 2 was claimed 0 times",
    ),
    "two receipts of one file": (
        replace(GOOD, table=(*GOOD.table, msgspec.structs.replace(LAST, dst_path="/out/a"))),
        "2 receipts of /out/a in its table",
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_history_is_refused(name: str) -> None:
    job, expected = FORGED[name]
    assert any(expected in fault for fault in faults_of([job])), faults_of([job])


def test_one_token_for_two_jobs_is_refused() -> None:
    assert faults_of([GOOD, replace(GOOD, stem="other")]) == [
        "claim 'aa' of 2 attempts",
        "claim 'bb' of 2 attempts",
    ]


def test_a_job_file_is_read_as_it_stands(tmp_path: Path) -> None:
    header = "success\nsource: /in\ndestination: /out\nattempts: 3\n---\n"
    path = write(tmp_path / "job.txt", f"{header}{LOG}".encode())
    assert read_job(path, seen=GOOD.seen, table=GOOD.table) == GOOD


def make_finished(root: Path) -> tuple[Path, Path]:
    for name in ("joblist.toml", "a.txt", ".claims/a.lock", "receipts/a.parquet"):
        write(root / "list" / name)
    (root / "list" / "journals").mkdir()
    write(root / "out" / "a" / "file")
    return root / "list", root / "out"


def test_nothing_is_left_over_of_a_finished_list(tmp_path: Path) -> None:
    assert leftovers_in(*make_finished(tmp_path)) == []


@pytest.mark.parametrize(
    "name",
    [
        "list/.a.txt.0a1b2c3d4e5f.tmp",
        "list/receipts/.a.parquet.tmp",
        "list/receipts/b.parquet",
        "list/journals/a.jsonl",
        "out/a/.jobtool-0a1b2c3d4e5f-0a1b2c3d4e5f6071.part",
    ],
)
def test_what_is_left_over_is_found(tmp_path: Path, name: str) -> None:
    joblist, destination = make_finished(tmp_path)
    write(tmp_path / name)
    (found,) = leftovers_in(joblist, destination)
    assert str(tmp_path / name).endswith(found)


def test_files_that_are_missing_changed_or_extra_are_found(tmp_path: Path) -> None:
    for name, data in (("same", b"1"), ("changed", b"1"), ("missing", b"1")):
        write(tmp_path / "in" / name, data)
    for name, data in (("same", b"1"), ("changed", b"2"), ("extra", b"1")):
        write(tmp_path / "out" / name, data)
    assert differences(tmp_path / "in", tmp_path / "out") == ["changed", "extra", "missing"]


def test_files_without_a_receipt_are_found(tmp_path: Path) -> None:
    proven, lost = write(tmp_path / "a"), write(tmp_path / "b")
    table = (msgspec.structs.replace(FIRST, dst_path=str(proven)),)
    assert unproven([replace(GOOD, table=table)], tmp_path) == [str(lost)]
