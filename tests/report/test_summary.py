"""The summary says what the job files say, and writes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.report.summary import Summary, summarise
from tests.commands import run, run_ok
from tests.prepare import prepare
from tests.trees import make_items, snapshot

HEADER = "source: /in/{0}\ndestination: /out/{0}\n{1}---\n"
CLAIMED = "2026-11-20T14:31:00Z claimed worker=node017:4711 rank=3 attempt=1\n"
PROGRESS = "2026-11-20T14:31:30Z progress files=100/450 bytes=1000/5000 rate_mb_s=41.2\n"
SUCCESS = "2026-11-20T14:35:00Z success files=450 bytes=5000 seconds=240\n"
JOBS = {
    "fresh": ("todo", "", ""),
    "running": ("ongoing", "attempts: 1\n", CLAIMED + PROGRESS),
    "done": ("success", "attempts: 2\n", CLAIMED + PROGRESS + CLAIMED + SUCCESS),
    "failed": (
        "error",
        "attempts: 1\n",
        CLAIMED + '2026-11-20T14:32:00Z error failed_files=1 reason="disk -> gone = away"\n',
    ),
    "by-hand": ("error", "", "Ann: broken, don't run\n"),
    "back": ("todo", "attempts: 1\n", CLAIMED + "2026-11-20T14:33:00Z handed-back reason=tired\n"),
    "spoilt": ("Done", "", ""),
}


@pytest.fixture
def joblist(tmp_path: Path) -> Path:
    """One job of each kind."""
    folder = tmp_path / "list"
    folder.mkdir()
    (folder / "joblist.toml").write_text("format = 1\n")
    for name, (status, attempts, log) in JOBS.items():
        text = f"{status}\n{HEADER.format(name, attempts)}{log}"
        (folder / f"{name}.txt").write_text(text)
    return folder


def summary_of(joblist: Path) -> Summary:
    return summarise(JobList.open(str(joblist)))


def test_every_status_is_counted(joblist: Path) -> None:
    summary = summary_of(joblist)
    assert {status: summary.count(status) for status in [*JobStatus, None]} == {
        JobStatus.TODO: 2,
        JobStatus.ONGOING: 1,
        JobStatus.ERROR: 2,
        JobStatus.SUCCESS: 1,
        None: 1,
    }
    assert summary.exit_code == 1


def test_reasons_come_from_the_last_word_of_the_log(joblist: Path) -> None:
    notes = {job.job: job.note for job in summary_of(joblist).jobs}
    assert notes == {
        "fresh": "",
        "running": "node017:4711",
        "done": "",
        "failed": "disk -> gone = away",
        "by-hand": "no reason in its log",
        "back": "tired",
        "spoilt": "line 1: expected one of todo, ongoing, error, success; found 'Done'",
    }


def test_files_that_failed_beside_the_first_are_counted(joblist: Path) -> None:
    log = CLAIMED + '2026-11-20T14:32:00Z error failed_files=3 reason="a is gone"\n'
    (joblist / "failed.txt").write_text(f"error\n{HEADER.format('failed', '')}{log}")
    notes = {job.job: job.note for job in summarise(JobList.open(str(joblist))).jobs}
    assert notes["failed"] == "a is gone (and 2 more files)"


def test_files_and_bytes_are_known_for_jobs_that_told_them(joblist: Path) -> None:
    found = {
        job.job: (job.files_done, job.files_total, job.bytes_done, job.bytes_total)
        for job in summary_of(joblist).jobs
    }
    assert found["done"] == (450, 450, 5000, 5000)
    assert found["running"] == (100, 450, 1000, 5000)
    assert found["fresh"] == (None, None, None, None)


def test_the_command_prints_counts_and_names_what_needs_a_person(joblist: Path) -> None:
    done = run("summarise-jobs", "-i", joblist)
    assert (done.exit_code, done.stderr) == (1, "")
    show, retry = f"jobtool show {joblist}", f"jobtool retry {joblist}"
    assert done.lines[3:] == [
        "💡 Found 7 job file(s).",
        "❌ by-hand: no reason in its log",
        f"   To see more: {show} by-hand; once it is mended: {retry} --job by-hand",
        "❌ failed: disk -> gone = away",
        f"   To see more: {show} failed; once it is mended: {retry} --job failed",
        "❗ spoilt: invalid: line 1: expected one of todo, ongoing, error, success; found 'Done'",
        f"   Correct its job file; to see one: {show} spoilt",
        "💡 Total jobs: 7",
        "💡 Todo jobs: 2",
        "💡 Ongoing jobs: 1",
        "✅ Success jobs: 1",
        "❌ Error jobs: 2",
        "❗ Invalid jobs: 1",
        f"💡 {'█' * 5}{'░' * 25} 17%  5.9 KiB of about 34.2 KiB, 550 of about 3,150 files",
        "💡 25 B/s on average",
        f"💡 To try them again once that is fixed: jobtool retry {joblist}",
    ]
    every = run("summarise-jobs", "-i", joblist, "-v", 2).lines[5:12]
    assert run("summarise-jobs", "-i", joblist, "--jobs").lines[4:12] == [
        run("summarise-jobs", "-i", joblist, "-v", 2).lines[4],
        *every,
    ]
    assert {line.split()[0] for line in every} == set(JOBS)


def test_json_has_the_same_and_totals(joblist: Path) -> None:
    (line,) = run("summarise-jobs", "-i", joblist, "--json").lines
    told = json.loads(line)
    jobs = {job.pop("job"): job for job in told.pop("jobs")}
    assert [cause["examples"] for cause in told.pop("causes")] == [
        ["by-hand"],
        ["failed"],
        ["spoilt"],
    ]
    assert told == {
        "abandoned": 0,
        "needs_newer": 0,
        "waiting": 0,
        "waiting_files": 0,
        "excluded": 0,
        "joblist": str(joblist),
        "total": 7,
        "todo": 2,
        "ongoing": 1,
        "error": 2,
        "success": 1,
        "invalid": 1,
        "bytes_done": 6000,
        "files_done": 550,
        "rows_done": None,
        "rows_total": None,
        "package_steps": [],
        "paused": [],
        "estimate": told["estimate"],
        "workers": [],
        "field": None,
        "by_field": [],
        "since": None,
    }
    assert told["estimate"] | {"rate_mean": None} == {
        "jobs": 7,
        "jobs_done": 1,
        "jobs_known": 2,
        "files_done": 550,
        "bytes_done": 6000,
        "files_known": 900,
        "bytes_known": 10000,
        "files_total": 3150,
        "bytes_total": 35000,
        "bytes_left": 14000,
        "rate_now": None,
        "rate_mean": None,
        "seconds_left": None,
        "is_estimated": True,
    }
    assert jobs["done"] == {
        "status": "success",
        "files_done": 450,
        "files_total": 450,
        "bytes_done": 5000,
        "bytes_total": 5000,
        "attempts": 2,
        "note": "",
        "requires_intervention": False,
        "parts_bytes": None,
        "is_abandoned": False,
        "needs_newer": False,
        "waiting_files": 0,
        "excluded": 0,
        "steps": {},
        "rows_done": None,
        "rows_total": None,
        "package": None,
        "fields": {},
        "worker": "node017:4711",
    }
    assert jobs["spoilt"]["status"] == "invalid"


def test_nothing_is_written_whatever_the_jobs_are(joblist: Path, tmp_path: Path) -> None:
    before = snapshot(tmp_path)
    run("summarise-jobs", "-i", joblist)
    run("summarise-jobs", "-i", joblist, "-v", 3, "--json")
    assert snapshot(tmp_path) == before


def test_a_joblist_without_jobs_is_all_zeros(tmp_path: Path) -> None:
    (tmp_path / "joblist.toml").write_text("format = 1\n")
    assert "💡 Total jobs: 0" in run_ok("summarise-jobs", "-i", tmp_path).lines


def test_a_log_that_lies_is_no_crash(joblist: Path) -> None:
    lies = (
        "2026-11-20T14:31:30Z progress files=many/450 bytes=²/5 rate_mb_s\n",
        "2026-11-20T14:31:30Z progress\n",
        '2026-11-20T14:31:30Z error reason="torn',
        "2026-13-45T99:99:99Z success files=1\n",
        "\x00\x01 \n",
    )
    for number, lie in enumerate(lies):
        for status in JobStatus:
            text = f"{status}\n{HEADER.format('x', '')}{lie}"
            (joblist / f"lie{number}{status}.txt").write_text(text)
    done = run("summarise-jobs", "-i", joblist, "-v", 2)
    assert (done.exit_code, done.stderr) == (1, "")
    assert f"💡 Total jobs: {len(JOBS) + 4 * len(lies)}" in done.lines


def test_a_real_transfer_is_told_as_it_was(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 3)
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    prepare("generate-joblist", *paths)
    (tmp_path / "in" / "item000" / "link").symlink_to("nowhere")  # its other files go
    assert run("transfer-worker", "-i", tmp_path / "list").exit_code == 1
    told = json.loads(run("summarise-jobs", "-i", tmp_path / "list", "--json").stdout)
    assert (told["success"], told["error"]) == (2, 1)
    assert (told["files_done"], told["bytes_done"]) == (6, 480)
    (failed,) = [job for job in told["jobs"] if job["status"] == "error"]
    assert "link to nowhere" in failed["note"]
