"""``control.json``: its codec, its edits by several processes, and looking at it."""

import json
import os
import resource
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.errors import JoblistError, JoblistUnavailableError, UsageError
from jobtool.jobs.control import (
    MAX_BYTES,
    Asked,
    Control,
    ControlWatch,
    JobsStop,
    Pause,
    WorkersStop,
    decode,
    edit_control,
    encode,
    ends_attempt,
    ends_job,
    path_of,
    read_control,
)
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.settings import Settings

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ASKED = Asked(by="ann", at=NOON, host="login1")

_NAMES = st.binary(min_size=1, max_size=12).map(os.fsdecode)
_WHO = {
    "by": st.text(max_size=8),
    "host": st.text(max_size=8),
    "at": st.datetimes(min_value=datetime(1990, 1, 1), timezones=st.just(UTC)).map(
        lambda moment: moment.replace(microsecond=0)
    ),
}
_COUNTS = st.dictionaries(_NAMES, st.integers(0, 10**6), max_size=4)
_CONTROLS = st.builds(
    Control,
    pauses=st.lists(
        st.builds(Pause, jobs=st.none() | st.frozensets(_NAMES, max_size=4), **_WHO), max_size=3
    ).map(tuple),
    stop=st.none() | st.builds(WorkersStop, token=st.text(max_size=8), **_WHO),
    job_stops=st.lists(
        st.builds(JobsStop, token=st.text(max_size=8), jobs=_COUNTS, **_WHO), max_size=3
    ).map(tuple),
    priorities=_COUNTS,
)


@pytest.fixture
def joblist(tmp_path) -> JobList:
    return JobList.create(str(tmp_path / "jobs"), Settings(destination="/data/copies"))


@given(_CONTROLS)
def test_what_is_written_is_read_again(control):
    data = encode(control)
    assert decode(data) == control
    assert encode(decode(data)) == data
    data.decode("utf-8")


@given(_CONTROLS, st.none() | st.frozensets(_NAMES, max_size=4))
def test_a_resume_ends_just_the_pauses_that_it_names(control, job_ids):
    resumed = control.without_pause(job_ids)
    if job_ids is None:
        assert not resumed.pauses
        return
    assert (resumed.list_pause is None) == (control.list_pause is None)
    assert resumed.paused_jobs == control.paused_jobs - job_ids
    assert all(each.jobs is None or each.jobs for each in resumed.pauses)


@given(_CONTROLS, st.none() | st.frozensets(_NAMES, min_size=1, max_size=4))
def test_a_pause_covers_what_it_names_and_keeps_who_paused_first(control, job_ids):
    paused = control.with_pause(ASKED, job_ids)
    for job_id in job_ids or {"any"}:
        before = control.list_pause if job_ids is None else control.pause_of(job_id)
        found = paused.pause_of(job_id)
        assert found is not None
        if before is not None:
            assert found == before
    assert paused.with_pause(ASKED, job_ids) == paused


def _stop(last: int) -> JobsStop:
    return JobsStop(by="ann", at=NOON, token="t1", jobs={"a": last})


@pytest.mark.parametrize(
    ("attempts", "log", "is_ended"),
    [
        (1, "claimed attempt=1", True),
        (2, "claimed attempt=2", True),
        (2, "handed-back reason=stopped", True),
        (2, "error reason=timeout", True),
        (2, "handed-back reason=stopped\n2026-11-20T12:00:01Z priority priority=5", True),
        (2, "error reason=stopped stop=t1", False),
        (2, "error reason=stopped stop=t0", True),
        (1, "error reason=stopped stop=t1\n2026-11-20T12:00:01Z retry", False),
        (2, "error reason=stopped stop=t1\n2026-11-20T12:00:01Z handed-back reason=no", False),
        (2, "retry", False),
        (2, "success files=1", False),
        (2, "repair", False),
        (3, "claimed attempt=3", False),
    ],
)
def test_a_stop_ends_the_job_that_it_was_asked_for_and_no_later_attempt(attempts, log, is_ended):
    job = Job(name="a", status=JobStatus.TODO, source="/a", attempts=attempts)
    text = f"2026-11-20T12:00:00Z {log}\n".encode()
    assert ends_job(_stop(2), "a", job, text) is is_ended
    assert not ends_job(_stop(2), "b", job, text)


def test_a_stop_ends_the_attempt_under_way_and_no_later_one():
    assert [ends_attempt(_stop(2), "a", attempt) for attempt in (1, 2, 3)] == [True, True, False]
    assert not ends_attempt(_stop(2), "b", 1)


def test_nothing_is_asked_without_a_file_and_nothing_is_written_for_no_change(joblist):
    assert read_control(joblist) == Control()
    assert edit_control(joblist, lambda found: found) == Control()
    assert not os.path.exists(path_of(joblist))


def test_the_file_is_as_open_to_others_as_joblist_toml(joblist):
    os.chmod(os.path.join(joblist.path, "joblist.toml"), 0o640)
    edit_control(joblist, lambda found: found.with_pause(ASKED, None))
    assert os.stat(path_of(joblist)).st_mode & 0o777 == 0o640


_MANY_EDITS = """
import sys
from datetime import UTC, datetime
from jobtool.jobs.control import Asked, edit_control
from jobtool.jobs.joblist import JobList
joblist = JobList.open(sys.argv[1])
for number in range(20):
    asked = Asked(by=sys.argv[2], at=datetime.now(UTC))
    edit_control(joblist, lambda found: found.with_pause(asked, [f"{sys.argv[2]}-{number}"]))
"""


@pytest.mark.parametrize("has_lock", [True, False])
def test_no_change_of_several_people_is_lost(joblist, has_lock):
    if not has_lock:  # as another user's lock that can't be opened: the comparison must do
        os.mkdir(os.path.join(joblist.claims_path, "control.lock"))
    who = ["ann", "bob", "cyd"][: 3 if has_lock else 2]
    people = [
        subprocess.Popen([sys.executable, "-c", _MANY_EDITS, joblist.path, name]) for name in who
    ]
    codes = [person.wait() for person in people]
    found = read_control(joblist)
    if has_lock:
        assert codes == [0, 0, 0]
        assert found.paused_jobs == {f"{name}-{n}" for name in who for n in range(20)}
    else:
        # Without a lock two renames within a moment may still meet; the file is never torn.
        assert {job.partition("-")[0] for job in found.paused_jobs} <= set(who)
    assert not [name for name in os.listdir(joblist.path) if name.endswith(".tmp")]


def _put(joblist: JobList, what: str) -> None:
    path = path_of(joblist)
    if what == "torn":
        with open(path, "wb") as file:
            file.write(encode(Control().with_pause(ASKED, None))[:40])
    elif what == "garbage":
        with open(path, "wb") as file:
            file.write(b"\0\xff{[" * 100)
    elif what == "nested":
        with open(path, "wb") as file:
            file.write(b'{"format": 1, "pauses": ' + b"[" * 100_000)
    elif what == "newer":
        with open(path, "w") as file:
            json.dump({"format": 2, "pauses": "of another form"}, file)
    elif what == "huge":
        with open(path, "wb") as file:
            file.truncate(MAX_BYTES + 1)
    elif what == "link":
        target = os.path.join(joblist.path, "elsewhere.json")
        with open(target, "wb") as file:
            file.write(encode(Control().with_pause(ASKED, None)))
        os.symlink(target, path)
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        os.mkdir(path)


_UNFIT = ["torn", "garbage", "nested", "newer", "huge", "link", "pipe", "folder"]


@pytest.mark.parametrize("what", _UNFIT)
def test_a_file_that_is_unfit_changes_nothing_and_is_told_once(joblist, what):
    told: list[str] = []
    watch = ControlWatch(joblist, told.append)
    assert watch.look()
    edit_control(joblist, lambda found: found.with_pause(ASKED, ["a"]))
    assert watch.look()
    os.unlink(path_of(joblist))
    _put(joblist, what)
    assert [watch.look() for _ in range(3)] == [False] * 3
    assert watch.control.paused_jobs == {"a"}
    assert len(told) == 1
    assert path_of(joblist) in told[0]
    with pytest.raises(JoblistError, match="can't be used"):
        edit_control(joblist, lambda found: found.with_pause(ASKED, None))
    os.rename(path_of(joblist), path_of(joblist) + ".old")
    assert watch.look()
    assert watch.control == Control()


def test_no_more_is_written_than_workers_read(joblist, monkeypatch):
    edit_control(joblist, lambda found: found.with_pause(ASKED, ["a"]))
    monkeypatch.setattr("jobtool.jobs.control.MAX_BYTES", 4096)
    many = [f"job {number}" for number in range(1000)]
    with pytest.raises(UsageError, match=r"expected at most 4\.0 KiB .* Nothing was changed"):
        edit_control(joblist, lambda found: found.with_pause(ASKED, many))
    assert read_control(joblist).paused_jobs == {"a"}


def test_a_file_that_cant_be_written_stays_as_it_was(joblist):
    before = edit_control(joblist, lambda found: found.with_pause(ASKED, None))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(JoblistUnavailableError, match=r"json: File too large\. Nothing was ch"):
            edit_control(joblist, lambda found: found.without_pause(None))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert read_control(joblist) == before
    assert not [name for name in os.listdir(joblist.path) if name.endswith(".tmp")]


def test_names_of_any_bytes_are_kept(joblist):
    job_id = os.fsdecode(b'caf\xe9 \n"x')
    edit_control(joblist, lambda found: found.with_pause(ASKED, [job_id]))
    assert read_control(joblist).paused_jobs == {job_id}
