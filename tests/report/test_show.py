"""``jobtool show`` says what is known of one job, why it failed and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import jobtool
from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblog import decode_log
from jobtool.report.attempts import Outcome, attempts_of
from jobtool.report.jobline import JobLine
from jobtool.report.show import advice
from tests.commands import run, run_ok
from tests.report.lists import make_joblist
from tests.trees import make_items, snapshot

LOG = b"""\
2026-11-20T08:00:00Z claimed worker=node1:1 attempt=1
2026-11-20T08:00:30Z progress files=1/9 bytes=100/900
2026-11-20T08:01:00Z progress files=2/9 bytes=200/900
2026-11-20T09:00:00Z claimed worker=node2:2 attempt=2
2026-11-20T09:00:10Z handed-back files=5/9 bytes=500/900 reason=tired attempt=2
2026-11-20T10:00:00Z retry
2026-11-20T10:00:00Z claimed worker=node3:3 attempt=3
2026-11-20T10:01:00Z success files=9 bytes=900 seconds=60 attempt=3
"""


def json_of(joblist: Path, name: str, exit_code: int = 0) -> dict[str, Any]:
    done = run("jobtool", "show", joblist, name, "--json")
    assert done.exit_code == exit_code, done.stderr
    return json.loads(done.stdout)


def test_attempts_are_what_the_log_tells() -> None:
    added: list[tuple[float, int]] = []
    attempts = attempts_of(
        decode_log(LOG), lambda start, end, size: added.append((end - start, size))
    )
    assert [(each.number, each.worker, each.seconds, each.bytes) for each in attempts] == [
        (1, "node1:1", 60, 200),
        (2, "node2:2", 10, 300),
        (3, "node3:3", 60, 400),
    ]
    assert [each.outcome for each in attempts] == [
        Outcome.UNFINISHED,
        Outcome.HANDED_BACK,
        Outcome.SUCCESS,
    ]
    assert added == [(30, 100), (30, 100), (10, 300), (60, 400)]


def test_a_job_that_is_done_shows_its_receipts(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 1)
    joblist = tmp_path / "list"
    jobtool.generate_joblist(tmp_path / "in", joblist, destination=tmp_path / "out")
    jobtool.transfer_jobs(joblist)
    name = jobtool.summarise_jobs(joblist).jobs[0].job
    rows = jobtool.read_receipts(joblist).to_pylist()
    before = snapshot(joblist)
    shown = json_of(joblist, name)
    assert snapshot(joblist) == before
    assert shown["status"] == "success"
    assert shown["receipts"]["files"] == len(rows)
    assert shown["receipts"]["bytes"] == sum(row["size"] for row in rows)
    assert shown["receipts"]["largest"][0]["size"] == max(row["size"] for row in rows)
    assert sum(shown["receipts"]["verified_by"].values()) == len(rows)
    assert [each["event"] for each in shown["timeline"]] == ["claimed", "success"]
    assert shown["attempts_made"][0]["outcome"] == "success"
    assert shown["cause"] is None
    text = run_ok("jobtool", "show", joblist, name).stdout
    assert f"Receipts: {len(rows)} file(s)" in text
    assert f"jobtool verify {joblist} --job {name}" in text
    run_ok(*text.rpartition("again: ")[2].split())  # the advice works as it stands


def test_a_job_in_error_shows_its_cause_and_how_many_have_it(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path / "list", 216)
    done = run("jobtool", "show", joblist, "J000__A1170008")
    assert done.exit_code == 1
    assert "  …: Permission denied\n  10 other job(s) have it, too.\n" in done.stdout
    # The same advice as that of summarise-jobs.
    retry = f"then: jobtool retry {joblist} --job J000__A1170008"
    advised = f"Get access; to see who may do what: jobtool doctor {joblist}; "
    assert f"What to do: {advised}{retry}" in done.stdout
    assert advised in run("summarise-jobs", joblist, "-v", 0, "--json").stdout
    shown = json_of(joblist, "J000__A1170008", 1)
    assert (shown["cause"], shown["jobs_alike"]) == ("…: Permission denied", 10)
    # Of the lines about progress, the last.
    assert [each["event"] for each in shown["timeline"]] == ["claimed", "progress", "error"]
    assert shown["timeline_left_out"] == 2
    assert shown["fields"] == {"batch": "J000", "plate": "A1170008"}


def test_the_path_of_a_failed_file_is_shown_once(tmp_path: Path) -> None:
    source = make_items(tmp_path / "in", 1) / "item000"
    (source / "odd name").symlink_to("nowhere")
    joblist, copies = tmp_path / "list", tmp_path / "out"
    jobtool.generate_joblist(tmp_path / "in", joblist, destination=copies, layout="tree")
    (copies / source.name / "0.bin").mkdir(parents=True)
    jobtool.transfer_jobs(joblist)
    lines = run("jobtool", "show", joblist, source.name).stdout.splitlines()
    failed = [line.partition(" failed ")[2] for line in lines if " failed " in line]
    link, other = sorted(failed, key=lambda line: "link" not in line)
    assert link.count("odd name") == 1
    assert link.startswith("reason=")
    # This reason names the destination only.
    assert other.startswith(f"path={source}/0.bin reason=")
    values = [each["values"] for each in json_of(joblist, source.name, 1)["timeline"]]
    assert f"{source}/odd name" in [each.get("path") for each in values]


def test_a_single_error_is_shown_as_it_is(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path / "list", 10)
    assert json_of(joblist, "J000__A1170008", 1)["cause"] == "/in/A1170008: Permission denied"


def test_an_invalid_job_is_shown(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path / "list", 1)
    (joblist / "spoilt.txt").write_text("Done\n")
    done = run("jobtool", "show", joblist, "spoilt")
    assert done.exit_code == 1
    assert done.stdout.startswith("spoilt: invalid\n")
    assert "What to do: Correct its job file." in done.stdout


@pytest.mark.parametrize("given", ["J000__A1170000", "J000__A1170000.txt"])
def test_a_job_is_found_by_its_name_or_file(tmp_path: Path, given: str) -> None:
    joblist = make_joblist(tmp_path / "list", 1)
    assert json_of(joblist, given)["job"] == "J000__A1170000"


@pytest.mark.parametrize("given", ["J000__A117000O", "../list/joblist", "", "/etc/passwd"])
def test_a_job_that_is_not_there_is_refused(tmp_path: Path, given: str) -> None:
    joblist = make_joblist(tmp_path / "list", 2)
    done = run("jobtool", "show", joblist, given)
    assert done.exit_code == 2
    assert "expected the name of a job" in done.stderr
    assert ("Did you mean J000__A117000" in done.stderr) == given.startswith("J000")


def test_a_part_of_a_name_finds_the_job_that_is_meant(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path / "list", 3)
    done = run("jobtool", "show", joblist, "A1170002")
    assert "Did you mean J000__A1170002?" in done.stderr
    names = run_ok(*done.stderr.strip().rpartition("see the names: ")[2].split()).stdout
    assert "J000__A1170001" in names


def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path / "list", 0)
    name = "a\x1b[31m\udcff\u202e"
    job = jobtool.Job(name=name, source="/in/\x1b\udcff", destination="/out", fields={"x": name})
    jobtool.JobList.open(str(joblist)).add(job)
    text = run_ok("jobtool", "show", joblist, name)
    assert "\\u001b[31m" in text.stdout
    assert not set(text.stdout) & set("\x1b\u202e\udcff")
    assert json_of(joblist, name)["source"] == '"/in/\\u001b\\xff"'


def test_each_state_has_an_advice() -> None:
    lines = {
        "retry": JobLine(job="a b", status=JobStatus.ERROR),
        "Correct": JobLine(job="a", status=None),
        "newer version": JobLine(job="a", status=None, needs_newer=True),
        "A worker is at it": JobLine(job="a", status=JobStatus.ONGOING),
        "No worker seems": JobLine(job="a", status=JobStatus.ONGOING, is_abandoned=True),
        "worker if none": JobLine(job="a", status=JobStatus.TODO),
        "worker later": JobLine(job="a", status=JobStatus.TODO, waiting_files=3),
        "verify": JobLine(job="a", status=JobStatus.SUCCESS),
    }
    reason = "digest of x differs from that of y"
    assert "jobtool show" not in advice(lines["retry"], "/my list", reason=reason)
    assert advice(lines["retry"], "/my list").startswith("Mend the cause; then: jobtool retry ")
    found = {word: advice(line, "/my list") for word, line in lines.items()}
    assert all(word in text for word, text in found.items())
    assert found["retry"].endswith("jobtool retry '/my list' --job 'a b'")
