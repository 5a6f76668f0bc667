"""The text of a job file: exact in both directions, forgiving in one."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from jobtool.errors import JobFileError, JobtoolError, UnmetRequirementError
from jobtool.jobs import jobfile, joblog
from jobtool.jobs.job import FilePair, Job, JobStatus
from jobtool.jobs.requirements import not_understood
from jobtool.names import filename_of
from tests.strategies import jobs, records

WHOLE = b"""\
todo
source: /lustre/results/objects/J1/A1170383
destination: s3://cellpainting-gallery/cpg0016/source_8/J1/A1170383
field.batch: J1
note: checked by hand
file: successes.parquet -> s3://images/server=a_80/data.parquet
file: "odd -> name" -> "b\\nc"
---
2026-11-20T14:31:00Z claimed worker=node017:4711 rank=3 attempt=1
"""


def decode(data: bytes, stem: str = "job") -> Job:
    return jobfile.decode(data, job_id=stem)[0]


def endings(job: Job) -> tuple:
    return job.source, job.destination, job.files


@given(jobs, st.lists(records, max_size=3))
def test_every_job_and_log_survives_the_round_trip(job, log_records):
    log = b"".join(map(joblog.encode_record, log_records))
    data = jobfile.encode(job, log)
    assert jobfile.decode(data, job_id=filename_of(job.name)) == (job, log)
    assert list(joblog.decode_log(log)) == log_records


@given(jobs)
def test_the_first_line_is_the_status_and_nothing_else(job):
    data = jobfile.encode(job)
    assert data.split(b"\n")[0].decode() == job.status
    assert jobfile.decode_status(data[:64]) is job.status


@settings(max_examples=40)
@given(jobs)
def test_a_file_cut_short_never_leads_elsewhere(job):
    data = jobfile.encode(job)
    for end in range(len(data)):
        try:
            found = decode(data[:end], filename_of(job.name))
        except JobFileError:
            continue
        assert endings(found) == endings(job)


def test_a_file_cut_short_anywhere_before_the_end_of_its_header_is_refused():
    header_end = WHOLE.index(b"---") + 3
    for end in range(header_end):
        with pytest.raises(JobFileError):
            decode(WHOLE[:end])
    for end in range(header_end, len(WHOLE) + 1):
        assert endings(decode(WHOLE[:end])) == endings(decode(WHOLE))


@given(st.binary(max_size=60), st.integers(0, len(WHOLE)))
def test_any_bytes_are_a_job_or_an_error_of_job_files(noise, place):
    for data in (noise, b"todo\n" + noise, WHOLE[:place] + noise + WHOLE[place:]):
        with contextlib.suppress(JobFileError):
            assert decode(data).status in JobStatus


def test_every_part_of_the_header_is_read():
    job, log = jobfile.decode(WHOLE, job_id="source_8%2FJ1")
    assert job == Job(
        name="source_8/J1",
        status=JobStatus.TODO,
        source="/lustre/results/objects/J1/A1170383",
        destination="s3://cellpainting-gallery/cpg0016/source_8/J1/A1170383",
        files=(
            FilePair(
                source="successes.parquet", destination="s3://images/server=a_80/data.parquet"
            ),
            FilePair(source="odd -> name", destination="b\nc"),
        ),
        fields={"batch": "J1"},
        extra=(("note", "checked by hand"),),
    )
    assert log.startswith(b"2026-11-20T14:31:00Z claimed")


@pytest.mark.parametrize(
    "edited",
    [
        WHOLE.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + WHOLE,
        WHOLE.replace(b"\n", b"  \t\n"),
        WHOLE.replace(b"\n", b"\n\n").replace(b"todo\n\n", b"todo\n"),
        WHOLE.replace(b"field.batch: J1", b"field.batch:    J1"),
    ],
    ids=["CRLF", "byte order mark", "trailing blanks", "blank lines", "more blanks"],
)
def test_what_editors_do_to_a_file_is_forgiven(edited):
    assert decode(edited) == decode(WHOLE)


def test_the_older_form_is_read_with_its_free_log():
    data = (
        b"ongoing\n/lustre/old results/J1\n---\n"
        b"[20240808-101500] 10000/45000 files uploaded.\n"
        b"2024-08-08T10:20:00Z progress files=10000/45000\n"
        b"torn li"
    )
    job, log = jobfile.decode(data, job_id="J1")
    assert (job.status, job.source, job.destination) == ("ongoing", "/lustre/old results/J1", None)
    assert [record.values for record in joblog.decode_log(log)] == [{"files": "10000/45000"}]
    written = jobfile.encode(job.to(JobStatus.TODO), log)
    assert jobfile.decode(written, job_id="J1") == (replace(job, status=JobStatus.TODO), log)


def test_a_bare_url_is_a_source_on_the_second_line_only():
    assert decode(b"todo\ns3://bucket/a\n---\n").source == "s3://bucket/a"
    with pytest.raises(JobFileError, match="line 3"):
        decode(b"todo\nnote: x\n/a\n---\n")


def test_what_a_later_version_requires_is_kept_and_told():
    data = b"todo\nrequires: steps, packs\nsource: /a\nsteps: pack, copy\n"
    data += b"step.pack: error attempts=2\npack: zstd\n---\n"
    job = decode(data)
    assert job.requires == ("steps", "packs")
    assert not_understood(job.requires) == ("packs",)
    assert jobfile.encode(job) == data


@pytest.mark.parametrize(
    "rest",
    [b"---\n", b"no colon\nsource: /a\n---\n", b"source: /a\nfile: b\n---\n", b"steps: p\n---\n"],
)
def test_what_can_only_be_read_by_a_later_version_is_no_invalid_job(rest):
    with pytest.raises(UnmetRequirementError, match=r"it requires 'packs'.* Upgrade jobtool"):
        decode(b"todo\nrequires: packs\n" + rest)
    with pytest.raises(JobFileError) as raised:
        decode(b"todo\nrequires: steps\n" + rest)
    assert type(raised.value) is JobFileError


def test_lines_about_steps_mean_nothing_to_a_job_that_has_none():
    data = b"todo\nsource: /a\nstep.pack: whatever\n---\n"
    job = decode(data)
    assert (job.chain, job.extra) == (("copy",), (("step.pack", "whatever"),))
    assert jobfile.encode(job) == data


def test_steps_without_the_word_that_makes_older_versions_stop_are_not_written():
    with pytest.raises(JobtoolError, match="'steps' in its requires"):
        jobfile.encode(Job(name="a", source="/a", steps=("pack", "copy")))


def test_header_lines_of_a_later_version_are_kept():
    data = b"todo\nsource: /a\nstep: pack\nx-y.z: 1 -> 2\n---\n"
    assert jobfile.encode(decode(data)).splitlines()[2:4] == [b"step: pack", b"x-y.z: 1 -> 2"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "line 1: expected one of todo, ongoing, error, success; found ''"),
        (b"Todo\nsource: /a\n---\n", "line 1: .* found 'Todo'"),
        (b"todo now\nsource: /a\n---\n", "line 1"),
        (b"todo\nsource: /a\n", "'---'"),
        (b"todo\n---\n", "expected a 'source:' line"),
        (b"todo\nsource:\n---\n", "after 'source:'"),
        (b"todo\nsource: /a\ndestination:\n---\n", "after 'destination:'"),
        (b"todo\nsource: /a\nsource: /b\n---\n", "line 3: .* second"),
        (b"todo\nsource: /a\ndestination: /b\ndestination: /c\n---\n", "line 4: .* second"),
        (b"todo\nsource: /a\nattempts: many\n---\n", "attempts"),
        (b"todo\nsource: /a\nfailures: -1\n---\n", "failures"),
        (b"todo\nsource: /a\nfailures: 1\nfailures: 2\n---\n", "line 4: .* second"),
        (b"todo\nsource: /a\nfile: b\n---\n", "line 3: expected 'file: SOURCE -> DEST"),
        (b"todo\nsource: /a\nfile: b -> \n---\n", "line 3"),
        (b'todo\nsource: "/a\n---\n', "line 2: .* closing double quote"),
        (b"todo\nsource: /a\nno colon\n---\n", "line 3: expected 'key: value'"),
        (b"todo\nsource: /a\nsteps: pack, copy\n---\n", "line 3: .*'requires: steps' before"),
        (b"todo\nrequires: steps\nsource: /a\nsteps: pack\n---\n", "line 4: expected 'copy'"),
        (b"todo\nrequires: steps\nsteps: copy, copy\n---\n", "line 3: .*'copy' twice"),
        (b"todo\nrequires: steps\nsteps: Pack, copy\n---\n", "line 3: .* found 'Pack'"),
        (b"todo\nrequires: steps\nsteps: copy\nsteps: copy\n---\n", "line 4: .* second"),
        (b"todo\nrequires: steps\nrequires: steps\n---\n", "line 3: .* second"),
        (
            b"todo\nrequires: steps\nsource: /a\nsteps: copy\nstep.copy: done\n---\n",
            "step.copy: expected one of .* found 'done'",
        ),
    ],
)
def test_what_is_no_job_file_is_refused_with_the_place_and_the_reason(data, message):
    with pytest.raises(JobFileError, match=message):
        decode(data)


def test_a_name_too_long_for_a_file_name_is_kept_in_the_header():
    job = Job(name="x" * 400, source="/a")
    assert decode(jobfile.encode(job), filename_of(job.name)).name == job.name


def test_a_name_line_of_another_job_is_no_name():
    assert decode(b"todo\nsource: /a\nname: other\n---\n", "mine").name == "mine"


def test_log_times_are_written_in_utc():
    moment = datetime.fromisoformat("2026-11-20T15:31:00+01:00")
    record = joblog.LogRecord(time=moment, event="claimed", values={"a": "b c"})
    assert joblog.encode_record(record) == b'2026-11-20T14:31:00Z claimed a="b c"\n'
    (found,) = joblog.decode_log(joblog.encode_record(record))
    assert found.time == datetime(2026, 11, 20, 14, 31, tzinfo=UTC)


@pytest.mark.parametrize("key", ["attempts", "failures", "hand_backs"])
def test_numbers_of_nine_digits_are_read_and_of_ten_refused(key):
    assert (
        getattr(decode(f"todo\nsource: /a\n{key}: {10**9 - 1}\n---\n".encode()), key) == 10**9 - 1
    )
    for wrong in (str(10**9), "+1", "1.0", "0x1"):
        with pytest.raises(JobFileError, match=f"at most 9 digits after '{key}:'; found '"):
            decode(f"todo\nsource: /a\n{key}: {wrong}\n---\n".encode())


@pytest.mark.parametrize("word", ["True", "yes", "1", "false", ""])
def test_only_the_word_true_asks_for_a_person(word):
    assert decode(b"error\nsource: /a\nrequires_intervention: true\n---\n").requires_intervention
    data = f"error\nsource: /a\nrequires_intervention: {word}\n---\n".encode()
    assert decode(data).requires_intervention is False


def test_a_header_line_may_be_as_long_as_said_and_no_longer():
    longest = b"note: " + b"x" * (joblog.MAX_LINE_BYTES - 7) + b"\n"
    assert decode(b"todo\nsource: /a\n" + longest + b"---\n").extra[0][0] == "note"
    with pytest.raises(JobFileError, match="line 3: expected at most 65536 bytes; found 65537"):
        decode(b"todo\nsource: /a\nx" + longest + b"---\n")


def test_a_header_may_have_as_many_lines_as_said_and_no_more():
    most = jobfile.MAX_HEADER_LINES
    header = b"todo\nsource: /a\n" + b"\n" * (most - 3) + b"---\n"
    assert header.count(b"\n") == most == 500_000
    assert decode(header).source == "/a"
    with pytest.raises(JobFileError, match="expected at most 500000 lines before the '---' line"):
        decode(header.replace(b"---", b"\n---"))


def test_a_log_line_may_be_as_long_as_said_and_no_longer():
    stamp = b"2026-11-20T14:31:00Z failed reason="
    room = len(b"2026-11-20T") + joblog.MAX_LINE_BYTES
    longest = stamp + b"x" * (room - len(stamp))
    (found,) = joblog.decode_log(longest + b"\n")
    assert len(found.values["reason"]) == room - len(stamp)
    assert list(joblog.decode_log(longest + b"x\n")) == []


def test_the_last_record_of_each_event_asked_for_is_returned():
    log = b"".join(
        b"2026-11-20T14:31:0%dZ %s n=%d\n" % (number, event, number)
        for number, event in enumerate((b"claimed", b"failed", b"claimed", b"error", b"other"))
    )
    found = joblog.last_records(log, ("claimed", "failed", "success"))
    assert {event: record.values["n"] for event, record in found.items()} == {
        "claimed": "2",
        "failed": "1",
    }


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("0", 0), ("42", 42), ("9" * 18, 10**18 - 1), ("9" * 19, None), ("", None)),
        *(("-1", None), ("1.5", None), ("many", None), ("\u00b2", None), ("\u0663", None)),
    ],
)
def test_a_number_in_a_log_is_one_that_we_would_write(text, number):
    assert joblog.number_of(text) == number


@pytest.mark.parametrize("line", ["x", "a b=1", "=", "a=1 b", 'a="1', "a=1 b c=2"], ids=repr)
def test_a_log_line_whose_pairs_are_none_is_passed_over(line):
    log = f"2026-11-20T14:31:00Z claimed {line}\n2026-11-20T14:32:00Z claimed a=1\n".encode()
    found = [dict(record.values) for record in joblog.decode_log(log)]
    assert found[-1] == {"a": "1"}
    assert len(found) == (2 if line == "=" else 1)


def test_a_line_that_is_no_key_is_shown_and_not_at_length():
    with pytest.raises(JobFileError) as caught:
        decode(b"todo\nsource: /a\n" + b"x" * 200 + b"\n---\n")
    assert str(caught.value) == f"line 3: expected 'key: value' or '---'; found {'x' * 80!r}"
    with pytest.raises(JobFileError) as caught:
        decode(b"y" * 200)
    assert str(caught.value).endswith(f"found {'y' * 40!r}")
    with pytest.raises(JobFileError) as caught:
        decode(b"todo\nsource: /a\nattempts: " + b"1" * 200 + b"\n---\n")
    assert str(caught.value).endswith(f"after 'attempts:'; found {'1' * 40!r}")
