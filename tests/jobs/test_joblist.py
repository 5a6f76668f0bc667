"""A joblist on disk: made once, scanned cheaply, changed atomically, edited by hand."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime

import pytest

from jobtool import failpoints
from jobtool.errors import JobFileError, JoblistError, JoblistUnavailableError
from jobtool.jobs.atomic_write import create_file, replace_file
from jobtool.jobs.job import TRANSITIONS, Job, JobStatus
from jobtool.jobs.jobfolder import job_ids_in
from jobtool.jobs.joblist import JobList
from jobtool.jobs.joblog import LogRecord, decode_log
from jobtool.jobs.settings import Settings
from jobtool.names import filename_of

NAMES = ["plain", "a/b", "sp ace", "é🧬", "\udcff", "new\nline", ".hidden", "x" * 400, "%2F"]


@pytest.fixture
def joblist(folder):
    return JobList.create(str(folder / "list"), Settings(source="/a", destination="s3://b/c"))


def job_named(name, **values):
    return Job(name=name, source="/a/" + name, destination="s3://b/" + name, **values)


def test_a_joblist_opens_with_the_settings_it_was_made_with(joblist):
    assert JobList.open(joblist.path).settings == joblist.settings
    assert joblist.settings.destination == "s3://b/c"


def test_a_folder_that_is_used_becomes_a_joblist_and_keeps_what_it_holds(folder):
    (folder / "older.txt").write_text("todo\n/a\n---\n")
    joblist = JobList.create(str(folder), Settings())
    assert joblist.job_ids() == ["older"]


@pytest.mark.parametrize("what", ["nothing", "a file", "isn't a joblist", "isn't valid TOML"])
def test_what_is_no_joblist_is_told_apart(folder, what):
    path = folder / "x"
    if what == "a file":
        path.write_text("")
    elif what != "nothing":
        path.mkdir()
        if what == "isn't valid TOML":
            (path / "joblist.toml").write_text("format = ")
    with pytest.raises(JoblistError, match=what):
        JobList.open(str(path))


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_job_of_any_name_is_kept_in_its_own_file(joblist, name):
    job = job_named(name, attempts=2)
    assert joblist.add(job, b"2026-11-20T14:31:00Z generated\n")
    joblist.flush()
    assert joblist.job_ids() == [filename_of(name)]
    assert joblist.load(filename_of(name)) == (job, b"2026-11-20T14:31:00Z generated\n")
    assert [(found.job_id, found.status) for found in joblist.scan()] == [
        (filename_of(name), "todo")
    ]


def test_a_job_that_is_there_is_never_overwritten_by_adding(joblist):
    joblist.add(job_named("a"))
    joblist.save("a", job_named("a", status=JobStatus.SUCCESS), b"")
    assert not joblist.add(job_named("a"))
    assert joblist.load("a")[0].status == "success"


def test_a_saved_job_keeps_its_log_and_grows_by_appending(joblist):
    joblist.add(job_named("a"))
    stem = filename_of("a")
    time = datetime(2026, 11, 20, 14, 31, tzinfo=UTC)
    records = [LogRecord(time=time, event="claimed", values={"n": f"{n}"}) for n in range(3)]
    for record in records:
        joblist.append(stem, record)
    job, log = joblist.load(stem)
    joblist.save(stem, job.to(JobStatus.ONGOING), log)
    assert list(decode_log(joblist.load(stem)[1])) == records
    assert joblist.load(stem)[0].status == "ongoing"


def test_a_scan_names_what_is_invalid_and_passes_over_what_is_no_job_file(joblist):
    for name, text in (
        ("good", b"todo\n"),
        ("windows", b"\xef\xbb\xbferror  \r\nsource: /a"),
        ("no newline", b"success"),
        ("empty", b""),
        ("typo", b"tood\n"),
        ("long", b"success" + b"x" * 1000),
        ("binary", bytes(range(256))),
    ):
        with open(os.path.join(joblist.path, f"{name}.txt"), "wb") as file:
            file.write(text)
    os.mkdir(os.path.join(joblist.path, "folder.txt"))
    os.symlink("nowhere", os.path.join(joblist.path, "dangling.txt"))
    for other in (".hidden.txt", "notes.md", "a.txt~"):
        with open(os.path.join(joblist.path, other), "wb") as file:
            file.write(b"todo\n")
    assert {job.job_id: job.status for job in joblist.scan()} == {
        "good": "todo",
        "windows": "error",
        "no newline": "success",
        "empty": None,
        "typo": None,
        "long": None,
        "binary": None,
        "folder": None,
    }
    for stem in ("typo", "folder", "empty"):
        with pytest.raises(JobFileError):
            joblist.load(stem)
    with pytest.raises(FileNotFoundError):
        joblist.load("missing")


def test_saving_a_job_leaves_no_other_file(joblist):
    joblist.add(job_named("a"))
    for _ in range(3):
        joblist.save("a", job_named("a"), b"log\n")
    assert sorted(os.listdir(joblist.path)) == [
        ".claims",
        "a.txt",
        "joblist.toml",
        "journals",
        "receipts",
    ]


def test_a_status_is_read_of_the_job_that_is_asked_for(joblist):
    joblist.add(job_named("a", status=JobStatus.SUCCESS))
    assert joblist.status_of("a") is JobStatus.SUCCESS
    with pytest.raises(FileNotFoundError):
        joblist.status_of("b")


def test_a_look_at_a_status_keeps_no_file_open(joblist):
    joblist.add(job_named("a"))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        joblist.status_of("a")
        joblist.append("a", LogRecord(time=datetime.now(UTC), event="seen", values={}))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_name_of_230_bytes_is_a_jobs_and_a_longer_one_is_refused(joblist):
    for job_id in ("é" * 115, "é" * 115 + "x"):
        with open(joblist.path_of(job_id), "wb") as file:
            file.write(b"todo\nsource: /a\n---\n")
    assert joblist.status_of("é" * 115) is JobStatus.TODO
    assert joblist.load("é" * 115)[0].source == "/a"
    assert joblist.status_of("é" * 115 + "x") is None
    with pytest.raises(JobFileError, match="expected a file name of at most 234 bytes"):
        joblist.load("é" * 115 + "x")


def test_a_job_file_that_is_no_file_or_too_large_is_invalid(joblist):
    os.mkdir(joblist.path_of("folder"))
    with pytest.raises(JobFileError, match="can't be read: "):
        joblist.load("folder")
    with open(joblist.path_of("large"), "wb") as file:
        file.truncate(64 * 1024 * 1024 + 1)
    with pytest.raises(JobFileError, match=r"expected at most 67108864 bytes; .* Shorten its log"):
        joblist.load("large")


def test_temporary_files_of_a_job_file_are_known_from_the_last_look_and_removed_when_asked(joblist):
    for name in ("a", "b"):
        joblist.add(job_named(name))
    names = [".a.txt.0123456789ab.tmp", ".a.txt.ab0123456789.tmp", ".joblist.toml.0123456789ab.tmp"]
    for name in names:
        with open(os.path.join(joblist.path, name), "wb"):
            pass
    assert joblist.has_temporaries("a") is False  # nobody has looked
    assert joblist.job_ids() == ["a", "b"]
    assert [joblist.has_temporaries(job_id) for job_id in ("a", "b")] == [True, False]
    os.unlink(os.path.join(joblist.path, names[0]))  # its writer was alive
    joblist.remove_temporaries("b")
    joblist.remove_temporaries("a")
    assert [name in os.listdir(joblist.path) for name in names] == [False, False, True]
    assert joblist.has_temporaries("a") is False


def test_temporary_files_that_are_gone_at_the_next_look_are_forgotten(joblist):
    joblist.add(job_named("a"))
    temporary = os.path.join(joblist.path, ".a.txt.0123456789ab.tmp")
    with open(temporary, "wb"):
        pass
    joblist.job_ids()
    os.unlink(temporary)
    joblist.job_ids()
    assert joblist.has_temporaries("a") is False


def test_jobs_of_a_folder_that_is_no_joblist_yet_are_listed_by_name(folder):
    for name in ("b.txt", "a.txt", ".c.txt", "d.md"):
        (folder / name).touch()
    assert job_ids_in(str(folder)) == ["a", "b"]


def test_added_jobs_are_durable_after_a_flush(joblist, synced):
    joblist.add(job_named("a"))
    synced.clear()
    joblist.flush()
    assert synced == [joblist.path]


def test_what_a_job_file_goes_through_can_be_seen_by_a_test_at_each_point(joblist):
    joblist.add(job_named("a"))
    seen = []
    failpoints.install(lambda point: seen.append((point, joblist.status_of("a"))))
    try:
        joblist.save("a", job_named("a", status=JobStatus.ONGOING), b"")
        joblist.append("a", LogRecord(time=datetime.now(UTC), event="seen", values={}))
    finally:
        failpoints.install(None)
    assert seen == [
        ("before the job file is changed", "todo"),
        ("after the job file is changed", "ongoing"),
        ("before the job file's log grows", "ongoing"),
    ]


@pytest.mark.parametrize("left", ["nothing", "a folder that was made anew"])
def test_a_joblist_that_is_gone_is_not_taken_for_one_without_jobs(joblist, left):
    assert joblist.job_ids() == []
    os.rename(joblist.path, joblist.path + " moved")
    if left != "nothing":
        os.makedirs(os.path.join(joblist.path, ".claims", "workers"))
    for look in (joblist.job_ids, lambda: list(joblist.scan())):
        with pytest.raises(JoblistUnavailableError, match="expected the joblist still at"):
            look()


def test_jobs_are_found_while_somebody_edits_joblist_toml(joblist):
    joblist.add(job_named("a"))
    os.rename(os.path.join(joblist.path, "joblist.toml"), os.path.join(joblist.path, "x~"))
    assert joblist.job_ids() == ["a"]


@pytest.mark.parametrize("before", JobStatus)
@pytest.mark.parametrize("after", JobStatus)
def test_only_some_changes_of_status_are_allowed(before, after):
    job = job_named("a", status=before)
    if after in TRANSITIONS[before]:
        assert job.to(after).status is after
    else:
        with pytest.raises(Exception, match=f"{before} can't become {after}"):
            job.to(after)


def test_a_job_succeeds_only_while_it_is_ongoing_and_fails_then_or_when_a_person_stops_it():
    before = {
        end: {status for status in JobStatus if end in TRANSITIONS[status]}
        for end in (JobStatus.SUCCESS, JobStatus.ERROR)
    }
    assert before == {
        JobStatus.SUCCESS: {JobStatus.ONGOING},
        JobStatus.ERROR: {JobStatus.ONGOING, JobStatus.TODO},
    }


def test_of_many_who_create_a_file_one_wins_and_readers_see_all_of_it_or_nothing(folder):
    path = str(folder / "file")
    contents = [bytes([number]) * 100_000 for number in range(8)]
    winners, seen = [], []
    ready = threading.Barrier(len(contents) + 1)

    def create(data):
        ready.wait()
        if create_file(path, data):
            winners.append(data)

    threads = [threading.Thread(target=create, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    ready.wait()
    while any(thread.is_alive() for thread in threads):
        if os.path.exists(path):
            with open(path, "rb") as file:
                seen.append(file.read())
    assert len(winners) == 1
    assert set(seen) <= set(winners)
    with open(path, "rb") as file:
        assert file.read() == winners[0]
    assert os.listdir(folder) == ["file"]


def test_readers_of_a_file_that_is_replaced_see_the_old_or_the_new(folder):
    path = str(folder / "file")
    contents = [bytes([number]) * 50_000 for number in range(30)]
    replace_file(path, contents[0])

    def replace():
        for data in contents:
            replace_file(path, data)

    writer = threading.Thread(target=replace)
    writer.start()
    while writer.is_alive():
        with open(path, "rb") as file:
            assert file.read() in contents
    writer.join()
    assert os.listdir(folder) == ["file"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(folder):
    (folder / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(str(folder / "folder"), b"data")
    assert os.listdir(folder) == ["folder"]
    assert not create_file(str(folder / "folder"), b"data")
    assert os.listdir(folder) == ["folder"]


def vanishing(monkeypatch, name, times):
    """Remove the temporary file before the first calls of ``os.<name>``; return its names."""
    original, gone = getattr(os, name), []

    def call(path, *others):
        if len(gone) < times and path.endswith(".tmp"):
            gone.append(path)
            unlink(path)
        return original(path, *others)

    unlink = os.unlink
    monkeypatch.setattr(os, name, call)
    return gone


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("call", ["link", "unlink"])
def test_a_temporary_file_that_a_worker_sweeps_away_fails_no_creation(
    folder, monkeypatch, call, times
):
    gone = vanishing(monkeypatch, call, times)
    assert create_file(str(folder / "new"), b"data")
    assert (folder / "new").read_bytes() == b"data"
    assert not create_file(str(folder / "new"), b"other")
    assert (folder / "new").read_bytes() == b"data"
    assert len(set(gone)) == min(times, 2 if call == "unlink" else 4)
    assert os.listdir(folder) == ["new"]


def test_a_temporary_file_that_a_worker_sweeps_away_fails_no_replacement(folder, monkeypatch):
    path = str(folder / "file")
    replace_file(path, b"old")
    asked = []
    gone = vanishing(monkeypatch, "rename", 3)
    replace_file(path, b"new", before=lambda: asked.append(1))
    assert (folder / "file").read_bytes() == b"new"
    assert len(set(gone)) == 3
    assert len(asked) == 4  # only the claim's holder may rename
    assert os.listdir(folder) == ["file"]


def test_a_write_whose_temporary_files_all_vanish_says_so_in_the_end(folder, monkeypatch):
    vanishing(monkeypatch, "link", 1000)
    with pytest.raises(FileNotFoundError):
        create_file(str(folder / "new"), b"data")
    assert os.listdir(folder) == []
    with pytest.raises(FileNotFoundError):
        create_file(str(folder / "none" / "new"), b"data")
