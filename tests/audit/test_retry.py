"""`jobtool retry`: the selected jobs become todo, and nothing proven is sent again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from jobtool.audit.events import LeftAlone
from jobtool.audit.putback import put_back
from jobtool.jobs.claim import Claims
from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblist import JobList
from tests.audit.conftest import Place, make_joblist, send, transfer, words
from tests.commands import assert_one_line_error, finish, run, run_ok, start
from tests.gate import gate_before
from tests.prepare import prepare
from tests.trees import contents, events, make_items, receipts, status_of, statuses, write


@pytest.fixture
def joblist(tmp_path: Path, local: Place) -> Path:
    """One job done, two in error for different reasons, one todo."""
    made = make_joblist(tmp_path, local)
    (tmp_path / "in" / "item001" / "link").symlink_to("nowhere")
    (tmp_path / "in" / "item002" / "link").symlink_to("elsewhere")
    assert run("transfer-worker", "-i", made).exit_code == 1
    make_items(tmp_path / "in", 4)
    prepare("generate-joblist", "-i", tmp_path / "in", "-o", made)
    assert statuses(made) == {
        "item000": "success",
        "item001": "error",
        "item002": "error",
        "item003": "todo",
    }
    return made


@pytest.mark.parametrize("option", [(), ("--only-errors",)], ids=["default", "only-errors"])
def test_jobs_in_error_become_todo_and_are_named(joblist: Path, option: tuple[str, ...]) -> None:
    done = run_ok("jobtool", "retry", joblist, *option)
    assert words(done) == ["item001: error -> todo", "item002: error -> todo", "Put back 2 job(s)."]
    assert statuses(joblist) == {
        "item000": "success",
        "item001": "todo",
        "item002": "todo",
        "item003": "todo",
    }
    assert [len(events(joblist / f"item00{n}.txt", "retry")) for n in range(4)] == [0, 1, 1, 0]
    assert words(run_ok("jobtool", "retry", joblist)) == ["Put back 0 job(s)."]


def test_a_match_chooses_by_the_reason(joblist: Path) -> None:
    done = run_ok("jobtool", "retry", joblist, "--match", "elsewhere", "--json")
    assert [json.loads(line) for line in done.lines] == [
        {"event": "put-back", "job": "item002", "was": "error"}
    ]
    assert statuses(joblist)["item001"] == "error"
    done = run_ok("jobtool", "retry", joblist, "--match", "no such reason")
    assert words(done) == ["Put back 0 job(s)."]


def test_the_reason_is_that_of_the_last_error(tmp_path: Path, joblist: Path) -> None:
    run_ok("jobtool", "retry", joblist)
    link = tmp_path / "in" / "item001" / "link"
    link.unlink()
    link.symlink_to("somewhere")
    assert run("transfer-worker", "-i", joblist).exit_code == 1
    run_ok("jobtool", "retry", joblist, "--match", "nowhere")
    assert statuses(joblist)["item001"] == "error"
    run_ok("jobtool", "retry", joblist, "--match", "somewhere")
    assert statuses(joblist)["item001"] == "todo"


def test_a_named_job_is_put_back_and_no_other(joblist: Path) -> None:
    done = run_ok("jobtool", "retry", joblist, "--job", "item002")
    assert words(done)[0] == "item002: error -> todo"
    assert statuses(joblist)["item001"] == "error"


@pytest.mark.parametrize("name", ["item003", "item00"], ids=["todo", "unknown"])
def test_a_named_job_that_can_not_be_put_back_is_wrong_usage(joblist: Path, name: str) -> None:
    before = statuses(joblist)
    assert_one_line_error(run("jobtool", "retry", joblist, "--job", name), 2, name)
    assert statuses(joblist) == before


def test_names_and_a_choice_do_not_mix(joblist: Path) -> None:
    for option in ("--only-errors",), ("--match", "x"):
        done = run("jobtool", "retry", joblist, "--job", "item001", *option)
        assert_one_line_error(done, 2, "--job")


def test_a_job_that_is_done_is_proven_again_without_sending_anything(
    tmp_path: Path, local: Place
) -> None:
    joblist = make_joblist(tmp_path, local)
    send(joblist, local)
    before = receipts(joblist)
    run_ok("jobtool", "retry", joblist, "--job", "item000", "--job", "item002")
    assert list(statuses(joblist).values()) == ["todo", "success", "todo"]
    assert transfer(joblist, local) == []
    assert set(statuses(joblist).values()) == {"success"}
    assert receipts(joblist) == before


def test_what_had_arrived_before_the_error_is_not_sent_again(tmp_path: Path, s3: Place) -> None:
    joblist = make_joblist(tmp_path, s3, count=1, files=5)
    spoilt = write(tmp_path / "in" / "item000" / "no UTF-8 \udcff")
    assert run("transfer-worker", "-i", joblist, env=s3.env).exit_code == 1
    spoilt.rename(spoilt.with_name("mended"))
    done = run_ok("jobtool", "retry", joblist)
    assert words(done)[0] == "item000: error -> todo"
    sent = transfer(joblist, s3, "--if-gone", "ignore")  # the name that it had is gone
    assert sent == [f"{s3.url}/item000/mended"]
    assert s3.contents() == contents(tmp_path / "in")


def test_a_job_that_a_worker_is_on_is_left_alone(tmp_path: Path, s3: Place, rclone_s3) -> None:
    make_items(tmp_path / "in", 0)
    write(tmp_path / "in" / "-x" / "file")  # the job file can't be named like the job
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", s3.url, "-l", "tree")
    prepare("generate-joblist", *paths)
    joblist = tmp_path / "list"
    (jobfile,) = joblist.glob("*.txt")
    assert jobfile.stem != "-x"
    with gate_before(rclone_s3.endpoint_url, allowed=0) as gate:
        env = {**s3.env, "AWS_ENDPOINT_URL": gate.endpoint_url}
        process = start("transfer-worker", "-i", joblist, env=env)
        gate.wait_until_held()
        before = jobfile.read_bytes()
        done = run_ok("jobtool", "retry", joblist, "--job=-x")
        assert jobfile.read_bytes() == before
        gate.open()
        assert finish(process).exit_code == 0
    assert words(done) == ["-x: left as it is: a worker is on it", "Put back 0 job(s)."]
    assert status_of(jobfile) == "success"
    assert len(events(jobfile, "claimed")) == 1


def test_a_dead_workers_job_is_put_back_by_name_only(tmp_path: Path, s3: Place, rclone_s3) -> None:
    joblist = make_joblist(tmp_path, s3, count=1)
    with gate_before(rclone_s3.endpoint_url, allowed=0) as gate:
        env = {**s3.env, "AWS_ENDPOINT_URL": gate.endpoint_url}
        process = start("transfer-worker", "-i", joblist, env=env)
        gate.wait_until_held()
        process.kill()
        finish(process)
    assert words(run_ok("jobtool", "retry", joblist)) == ["Put back 0 job(s)."]
    done = run_ok("jobtool", "retry", joblist, "--job", "item000")
    assert words(done)[0] == "item000: ongoing -> todo"
    assert len(transfer(joblist, s3)) == 3


def test_the_mark_that_a_person_is_needed_is_taken_off(
    tmp_path: Path, s3: Place, rclone_s3
) -> None:
    joblist = make_joblist(tmp_path, s3, count=1)
    with (joblist / "joblist.toml").open("a") as file:
        file.write("\n[transfer]\nmax_attempts = 1\n")
    with gate_before(rclone_s3.endpoint_url, allowed=1000, corrupt="/1.bin") as gate:
        env = {**s3.env, "AWS_ENDPOINT_URL": gate.endpoint_url}
        assert run("transfer-worker", "-i", joblist, env=env).exit_code == 1
    header = (joblist / "item000.txt").read_text().partition("---\n")[0].splitlines()
    assert {"error", "failures: 1", "requires_intervention: true"} <= set(header)
    run_ok("jobtool", "retry", joblist)
    header = (joblist / "item000.txt").read_text().partition("---\n")[0]
    assert header.startswith("todo\n")
    assert "requires_intervention" not in header
    assert "failures" not in header
    assert transfer(joblist, s3) == [f"{s3.url}/item000/1.bin"]
    assert s3.contents() == contents(tmp_path / "in")


def test_a_job_file_that_can_not_be_read_is_named_and_the_others_are_put_back(
    joblist: Path,
) -> None:
    write(joblist / "item001.txt", b"error\nno such header\n")
    done = run("jobtool", "retry", joblist)
    assert (done.exit_code, done.stderr) == (1, "")
    left, *rest = words(done)
    assert left.startswith("item001: left as it is: ")
    assert rest == ["item002: error -> todo", "Put back 1 job(s)."]
    done = run("jobtool", "retry", joblist, "--job", "item001")
    assert (done.exit_code, done.stderr) == (1, ""), "it is there, and can't be read"
    assert words(done)[0] == left


def test_a_job_that_was_done_after_it_was_chosen_is_left_alone(
    tmp_path: Path, local: Place
) -> None:
    joblist = make_joblist(tmp_path, local, count=1)
    folder = JobList.open(str(joblist))
    chosen = replace(folder.load("item000")[0], status=JobStatus.ERROR)
    send(joblist, local)
    told = put_back(folder, Claims.of(folder), "item000", chosen, event="retry")
    assert isinstance(told, LeftAlone)
    assert status_of(joblist / "item000.txt") == "success"


def test_jobs_are_put_back_and_told_though_workers_can_not_be_told_of_them(joblist: Path) -> None:
    mark = joblist / ".claims" / "put-back"
    mark.mkdir()
    done = run("jobtool", "retry", joblist, "--job", "item001", "--job", "item002")
    assert words(done) == ["item001: error -> todo", "item002: error -> todo"]
    assert_one_line_error(done, 4, f"can't write {mark}: Is a directory.")
    assert statuses(joblist)["item002"] == "todo"


def test_a_repair_is_told_though_workers_can_not_be_told_of_it(joblist: Path, local: Place) -> None:
    mark = joblist / ".claims" / "put-back"
    mark.mkdir()
    local.delete("item000/1.bin")
    done = run("jobtool", "verify", joblist, "--repair")
    assert words(done)[:2] == [f"missing: {local.url}/item000/1.bin", "item000: success -> todo"]
    assert_one_line_error(done, 4, f"can't write {mark}: Is a directory.")
