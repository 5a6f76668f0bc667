"""Jobs that failed for one reason are reported together; so are ongoing jobs without a holder."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobtool.jobs.job import JobStatus
from jobtool.report.causes import causes_of, common
from jobtool.report.jobline import JobLine
from tests.commands import finish, run, start
from tests.gate import gate_before
from tests.prepare import prepare
from tests.trees import make_items, snapshot, status_of

HEADER = "{status}\nsource: /in/{job}\ndestination: /out/{job}\nattempts: 1\n---\n"
HOST = socket.gethostname().partition(".")[0]


def line(note: str, job: str = "job", status: JobStatus | None = JobStatus.ERROR) -> JobLine:
    return JobLine(job=job, status=status, note=note)


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ("/data/a/1.bin: Permission denied", "/x: Permission denied"),
        ("s3://b/k: can't read, 3 tries", "s3://other/k/long: can't read, 12 tries"),
        ('expected ETag "abc", found "def"', 'expected ETag "123-4", found "5"'),
        (
            "MD5 d41d8cd98f00b204e9800998ecf8427e differs",
            "MD5 0cc175b9c0f1b6a831c399e269772661 differs",
        ),
        ("expected 10 bytes; found 1234567", "expected 99 bytes; found 7"),
    ],
)
def test_what_varies_is_left_out(one: str, another: str) -> None:
    assert common(line(one)) == common(line(another))


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ("/a: Permission denied", "/a: No such file or directory"),
        ("s3://b/k: the server said 403", "s3://b/k: the server said 404"),
        ("read/write failed", "read failed"),
    ],
)
def test_what_matters_stays(one: str, another: str) -> None:
    assert common(line(one)) != common(line(another))


def test_a_job_of_its_own_name_belongs_to_the_others() -> None:
    found = causes_of([line("plate7 is off", "plate7"), line("plate8 is off", "plate8")])
    assert [(cause.text, cause.jobs) for cause in found] == [("… is off", ("plate7", "plate8"))]


def make_joblist(folder: Path, jobs: dict[str, tuple[str, str]]) -> Path:
    """Write job files with a status and a log each."""
    folder.mkdir()
    (folder / "joblist.toml").write_text("format = 1\nlease_seconds = 30.0\n")
    for job, (status, log) in jobs.items():
        text = HEADER.format(status=status, job=job) + log + "\n"
        (folder / f"{job}.txt").write_text(text)
    return folder


def test_many_errors_are_told_by_cause_and_counts_last(tmp_path: Path) -> None:
    log = '2026-11-20T14:32:00Z error reason="/in/job{}/x: Permission denied"'
    jobs = {f"job{number:02d}": ("error", log.format(number)) for number in range(40)}
    jobs["other"] = ("error", "2026-11-20T14:32:00Z error reason=strange")
    joblist = make_joblist(tmp_path / "list", jobs)
    done = run("summarise-jobs", joblist)
    assert done.exit_code == 1
    assert done.lines[4:] == [
        "❌ 40 jobs: …: Permission denied",
        "   Such as job00. Get access; to see who may do what: "
        f"jobtool doctor {joblist}; then: jobtool retry {joblist}",
        "❌ other: strange",
        f"   To see more: jobtool show {joblist} other; once it is mended: "
        f"jobtool retry {joblist} --job other",
        "💡 Total jobs: 41",
        "💡 Todo jobs: 0",
        "💡 Ongoing jobs: 0",
        "✅ Success jobs: 0",
        "❌ Error jobs: 41",
        "💡 ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░ 0%",
        f"💡 To try them again once that is fixed: jobtool retry {joblist}",
    ]
    every = run("summarise-jobs", joblist, "-v", 2).lines
    assert sum("Permission denied" in one for one in every) == 40
    (told,) = run("summarise-jobs", joblist, "--json").lines
    assert [(one["count"], one["cause"]) for one in json.loads(told)["causes"]] == [
        (40, "…: Permission denied"),
        (1, "strange"),
    ]


def claimed(worker: str) -> tuple[str, str]:
    return "ongoing", f"2026-11-20T14:32:00Z claimed worker={worker} rank=0 attempt=1"


def test_an_ongoing_job_that_nobody_holds_is_told(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    joblist = make_joblist(
        tmp_path / "list",
        {
            "gone": claimed("node017:11"),
            "killed": claimed(f"{HOST}:{ended.pid}"),
            "lives": claimed(f"{HOST}:{os.getpid()}"),
            "silent": claimed("node017:12"),
            "elsewhere": claimed("node017:13"),
        },
    )
    workers = joblist / ".claims" / "workers"
    workers.mkdir(parents=True)
    long_ago = time.time() - 3 * 3600
    for worker, moment in (
        (f"{HOST}-{ended.pid}", None),
        (f"{HOST}-{os.getpid()}", None),
        ("node017-12", long_ago),
        ("node017-13", None),
    ):
        marker = workers / f"{worker}-abcdef.lock.lease"
        marker.touch()
        if moment is not None:
            os.utime(marker, (moment, moment))
    before = snapshot(tmp_path)
    done = run("summarise-jobs", joblist)
    assert snapshot(tmp_path) == before
    assert done.exit_code == 0
    assert done.lines[4:8] == [
        "❗ 3 ongoing job(s) that no worker seems to hold; the next worker takes them over:",
        "  gone (node017:11: that worker has ended)",
        f"  killed ({HOST}:{ended.pid}: its process on this node has ended)",
        "  silent (node017:12: no sign of life for 3 h, by this node's clock)",
    ]
    (told,) = run("summarise-jobs", joblist, "--json").lines
    jobs = {job["job"]: job["is_abandoned"] for job in json.loads(told)["jobs"]}
    assert jobs == {
        "gone": True,
        "killed": True,
        "silent": True,
        "lives": False,
        "elsewhere": False,
    }
    assert json.loads(told)["abandoned"] == 3


def test_a_killed_worker_is_told_from_one_that_works(tmp_path: Path, rclone_s3) -> None:
    make_items(tmp_path / "in", 1, files=6)
    url = f"s3://{rclone_s3.new_bucket()}"
    prepare("generate-joblist", tmp_path / "in", "-o", tmp_path / "list", "-d", url, "-l", "tree")
    with gate_before(rclone_s3.endpoint_url, allowed=2) as gate:
        env = {**rclone_s3.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}
        process = start("transfer-worker", tmp_path / "list", env=env)
        gate.wait_until_held()
        assert "nobody" not in run("summarise-jobs", tmp_path / "list").stdout
        process.send_signal(signal.SIGKILL)
        finish(process)
    assert status_of(tmp_path / "list" / "item000.txt") == "ongoing"
    assert (
        "1 ongoing job(s) that no worker seems to hold"
        in run("summarise-jobs", tmp_path / "list").stdout
    )


def test_a_worker_that_ends_while_one_looks_hides_nothing_of_the_others(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path / "list", {"gone": claimed("node017:11")})
    workers = joblist / ".claims" / "workers"
    workers.mkdir(parents=True)
    (workers / "node017-12-abcdef.lock.lease").symlink_to("what isn't there any more")
    done = run("summarise-jobs", joblist)
    assert "  gone (node017:11: that worker has ended)" in done.lines


@pytest.mark.parametrize(
    "reason", ["a-" * 32_000, '"' + '\\"' * 32_000, "'" * 64_001, "a://" * 16_000, "/:." * 20_000]
)
def test_no_reason_takes_long(reason: str) -> None:
    began = time.process_time()
    common(line(reason))
    assert time.process_time() - began < 0.5
