"""The table by a field, what has happened since a time, and what helps against errors."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jobtool.cli.pasttime import parse_since
from jobtool.jobs.job import JobStatus
from jobtool.report.causes import causes_of
from jobtool.report.fields import FieldCounts, FieldTable
from jobtool.report.hints import hint_for, hint_parts
from jobtool.report.jobline import JobLine
from jobtool.report.since import since

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def line(status: JobStatus | None, **values: object) -> JobLine:
    return JobLine(job="a", status=status, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("batches", "plates", "telling"),
    [
        (["J1", "J1", "J2"], ["a", "b", "c"], "batch"),
        (["J1", "J1", "J1"], ["a", "b", "a"], "plate"),  # one value tells nothing
        (["J1", "J2", "J3"], ["a", "b", "c"], None),  # each job has its own
        ([str(n % 21) for n in range(60)], ["a"] * 60, None),  # too many
    ],
)
def test_the_field_that_tells_something(
    batches: list[str], plates: list[str], telling: str | None
) -> None:
    counts = FieldCounts()
    for batch, plate in zip(batches, plates, strict=True):
        counts.add(line(JobStatus.TODO, fields={"batch": batch, "plate": plate}))
    assert counts.telling() == telling


def test_jobs_are_counted_by_value_and_taken_out_again() -> None:
    table = FieldTable("batch")
    lines = [
        line(JobStatus.SUCCESS, fields={"batch": "J2"}, bytes_done=5),
        line(JobStatus.ERROR, fields={"batch": "J1"}, bytes_done=1),
        line(None, fields={}),
        line(JobStatus.ONGOING, fields={"batch": "J1"}),
    ]
    for each in lines:
        table.add(each)
    found = [(v.value, v.jobs, v.done, v.ongoing, v.error, v.bytes_done) for v in table.values]
    assert found == [("J1", 2, 0, 1, 1, 1), ("J2", 1, 1, 0, 0, 5)]
    for each in lines:
        table.add(each, -1)
    assert table.values == []


def test_what_has_happened_since_a_time() -> None:
    lines = [
        line(JobStatus.SUCCESS, spans=((0.0, 100.0, 1000),)),  # half of it before
        line(JobStatus.SUCCESS, spans=((0.0, 40.0, 500),)),  # all of it
        line(JobStatus.ERROR, spans=((10.0, 20.0, 7), (60.0, 70.0, 30))),
        line(JobStatus.TODO),
    ]
    found = since(lines, datetime.fromtimestamp(50, UTC))
    assert (found.succeeded, found.failed, found.attempts, found.bytes) == (1, 1, 2, 530)


def test_times_in_the_past_are_read() -> None:
    assert parse_since("2h", NOW) == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert parse_since("2026-11-20T09:30Z", NOW) == datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
    assert parse_since("2026-11-19", NOW) == datetime(2026, 11, 19).astimezone(UTC)
    for text in ("", "soon", "2h ago", "2026-11-21", "9999-12-31", "0001-01-01x"):
        with pytest.raises(ValueError, match="expected a"):
            parse_since(text, NOW)


@pytest.mark.parametrize(
    ("note", "wanted"),
    [
        ("/in/x: Permission denied", "doctor"),
        ("AccessDenied (403) for s3://b/k", "doctor"),
        ("the token has expired", "Renew the credentials"),
        ("/out: No space left on device", "Make room"),
        ("/in/x is a link to nowhere", "--links skip"),
        ("/in/x: No such file or directory", "--if-gone ignore"),
        ("expected digest abc; found def", "right"),
        ("connection reset by peer", "servers answer"),
        ("Input/output error", "filesystem"),
        ("strange", "jobtool show '/lists/my list' a"),
    ],
)
def test_each_kind_of_error_has_what_helps(note: str, wanted: str) -> None:
    for count in (1, 2):
        [cause] = causes_of([line(JobStatus.ERROR, note=note)] * count)
        hint = hint_for(cause, "/lists/my list")
        assert wanted in hint
        end = " --job a" if count == 1 else ""
        assert hint.endswith(f"jobtool retry '/lists/my list'{end}")
        assert hint_parts(cause, "/lists/my list")[-2] == f"jobtool retry '/lists/my list'{end}"


def test_an_invalid_job_is_corrected_and_not_tried_again() -> None:
    [cause] = causes_of([line(None, note="line 1: expected one of todo")])
    assert hint_for(cause, "/l") == "Correct its job file; to see one: jobtool show /l a"
