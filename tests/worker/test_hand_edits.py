"""What people do to a joblist by hand, and how a worker handles it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobtool.errors import JoblistUnavailableError
from jobtool.jobs.joblist import JobList
from jobtool.stop import Stop
from jobtool.worker.environment import Environment
from jobtool.worker.events import JobProgress, WorkerFinished
from jobtool.worker.loop import Worker
from jobtool.worker.options import WorkerOptions
from tests.commands import run, run_ok
from tests.prepare import prepare
from tests.trees import contents, events, make_items, receipts, status_of, statuses, write


@pytest.fixture
def joblist(tmp_path: Path) -> Path:
    make_items(tmp_path / "in", 2)
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    prepare("generate-joblist", *paths)
    return tmp_path / "list"


def edit(jobfile: Path, old: str, new: str) -> None:
    text = jobfile.read_text()
    assert old in text
    jobfile.write_text(text.replace(old, new, 1))


def test_unknown_header_lines_survive(joblist: Path) -> None:
    edit(joblist / "item000.txt", "---\n", "ticket: #4711 -> ask Ann\nx.y: 1\n---\n")
    run_ok("transfer-worker", "-i", joblist)
    text = (joblist / "item000.txt").read_text()
    assert text.startswith("success\n")
    header = text.partition("\n---\n")[0].splitlines()
    assert {"ticket: #4711 -> ask Ann", "x.y: 1"} <= set(header)


def test_a_persons_notes_in_the_log_survive(joblist: Path) -> None:
    note = "asked the plate's owner, she says go  "
    with (joblist / "item000.txt").open("a") as file:
        file.write(note)  # with no newline at its end
    run_ok("transfer-worker", "-i", joblist)
    log = (joblist / "item000.txt").read_text().partition("---\n")[2].splitlines()
    assert log[0] == note
    assert log[1].split(" ")[1] == "claimed"


def test_windows_line_ends_are_fine(joblist: Path) -> None:
    jobfile = joblist / "item000.txt"
    jobfile.write_bytes(jobfile.read_bytes().replace(b"\n", b"\r\n"))
    run_ok("transfer-worker", "-i", joblist)
    assert set(statuses(joblist).values()) == {"success"}


def test_todo_after_success_proves_again_what_is_there_and_sends_nothing_twice(
    tmp_path: Path, joblist: Path
) -> None:
    run_ok("transfer-worker", "-i", joblist)
    before = receipts(joblist)
    arrived = tmp_path / "out" / "item000" / "0.bin"
    inode = os.stat(arrived).st_ino
    edit(joblist / "item000.txt", "success", "todo")
    run_ok("transfer-worker", "-i", joblist)
    assert status_of(joblist / "item000.txt") == "success"
    assert len(events(joblist / "item000.txt", "success")) == 2
    assert os.stat(arrived).st_ino == inode
    assert receipts(joblist) == before


def test_todo_after_success_without_its_receipts_sends_all_again(
    tmp_path: Path, joblist: Path
) -> None:
    run_ok("transfer-worker", "-i", joblist)
    write(tmp_path / "out" / "item000" / "0.bin", b"spoilt")
    (joblist / "receipts" / "item000.parquet").unlink()
    edit(joblist / "item000.txt", "success", "todo")
    run_ok("transfer-worker", "-i", joblist)
    assert contents(tmp_path / "out") == contents(tmp_path / "in")
    assert len(receipts(joblist)) == 4


def test_a_source_that_has_grown_is_completed(tmp_path: Path, joblist: Path) -> None:
    run_ok("transfer-worker", "-i", joblist)
    write(tmp_path / "in" / "item000" / "new.bin", b"late")
    edit(joblist / "item000.txt", "success", "todo")
    done = run_ok("transfer-worker", "-i", joblist, "-v", 3)
    assert [line for line in done.lines if line.endswith("read-back")] == [
        line for line in done.lines if "new.bin" in line
    ]
    assert contents(tmp_path / "out") == contents(tmp_path / "in")


def test_a_job_in_error_is_left_until_somebody_says_todo(tmp_path: Path, joblist: Path) -> None:
    link = tmp_path / "in" / "item000" / "link"
    link.symlink_to("nowhere")
    assert run("transfer-worker", "-i", joblist).exit_code == 1
    before = contents(joblist)
    assert run("transfer-worker", "-i", joblist).exit_code == 1
    assert contents(joblist) == before
    link.unlink()
    edit(joblist / "item000.txt", "error", "todo")
    assert run("transfer-worker", "-i", joblist).exit_code == 0
    assert "attempts: 2\n" in (joblist / "item000.txt").read_text()


def test_an_odd_hand_made_name_is_a_job_like_any_other(tmp_path: Path, joblist: Path) -> None:
    text = (joblist / "item000.txt").read_text()
    for name in ("a:b?.txt", "%41%.txt", "ü -> \n.txt", os.fsdecode(b"\xff.txt")):
        (joblist / name).write_text(text.replace("out/item000", f"out/odd{len(name)}"))
    run_ok("transfer-worker", "-i", joblist)
    assert set(statuses(joblist).values()) == {"success"}
    for name in ("a:b?.txt", "%41%.txt", "ü -> \n.txt", os.fsdecode(b"\xff.txt")):
        expected = contents(tmp_path / "in" / "item000")
        assert contents(tmp_path / "out" / f"odd{len(name)}") == expected
    assert run("summarise-jobs", "-i", joblist).exit_code == 0


def test_hidden_files_and_other_names_are_no_jobs(joblist: Path) -> None:
    for name in (".hidden.txt", "notes.md", "item000.txt~", ".item000.txt.swp"):
        write(joblist / name, b"todo\nsource: /etc\ndestination: /tmp/stolen\n---\n")
    before = contents(joblist)
    run_ok("transfer-worker", "-i", joblist)
    after = contents(joblist)
    assert {
        name for name in before if not name.endswith("0.txt") and before[name] != after[name]
    } == {"item001.txt"}
    assert "💡 Total jobs: 2" in run_ok("summarise-jobs", "-i", joblist).lines


def test_a_folder_named_like_a_job_file_is_invalid_and_spoils_nothing(joblist: Path) -> None:
    (joblist / "folder.txt").mkdir()
    done = run("transfer-worker", "-i", joblist)
    assert (done.exit_code, done.stderr) == (1, "")
    assert "❌ Invalid job file folder.txt: can't be read: Is a directory" in done.lines
    assert status_of(joblist / "item000.txt") == status_of(joblist / "item001.txt") == "success"


def test_other_content_at_the_destination_is_replaced(tmp_path: Path, joblist: Path) -> None:
    write(tmp_path / "out" / "item000" / "0.bin", b"older, and of another length")
    write(tmp_path / "out" / "item000" / "other.bin", b"not ours")
    run_ok("transfer-worker", "-i", joblist)
    expected = contents(tmp_path / "in") | {"item000/other.bin": b"not ours"}
    assert contents(tmp_path / "out") == expected


def test_a_job_of_named_files_can_be_written_by_hand(tmp_path: Path, joblist: Path) -> None:
    source, destination = f"{tmp_path}/in/item000", f"{tmp_path}/out"
    lines = [
        "todo",
        f"file: {source}/0.bin -> {destination}/a/first.bin",
        f'file: {source}/1.bin -> "{destination}/b/second -> copy.bin"',
        "---",
    ]
    (joblist / "named.txt").write_text("\n".join(lines) + "\n")
    run_ok("transfer-worker", "-i", joblist)
    found = contents(tmp_path / "out")
    assert found["a/first.bin"] == (tmp_path / "in" / "item000" / "0.bin").read_bytes()
    assert found["b/second -> copy.bin"] == (tmp_path / "in" / "item000" / "1.bin").read_bytes()


@pytest.mark.parametrize("path", ["../outside.bin", "a/../../outside.bin", "/", "./x"])
def test_a_destination_that_leaves_its_folder_is_refused(
    tmp_path: Path, joblist: Path, path: str
) -> None:
    text = (joblist / "item000.txt").read_text()
    (joblist / "evil.txt").write_text(text.replace("---", f"file: 0.bin -> {path}\n---"))
    done = run("transfer-worker", "-i", joblist)
    assert (done.exit_code, done.stderr) == (1, "")
    assert status_of(joblist / "evil.txt") == "error"
    assert not list(tmp_path.glob("**/outside.bin"))


def test_removing_a_job_file_removes_the_job(tmp_path: Path, joblist: Path) -> None:
    (joblist / "item000.txt").unlink()
    run_ok("transfer-worker", "-i", joblist)
    assert list(contents(tmp_path / "out")) == ["item001/0.bin", "item001/1.bin"]


def test_a_joblist_that_is_moved_away_during_a_run_is_no_joblist_that_is_done(
    tmp_path: Path, joblist: Path
) -> None:
    moved = tmp_path / "moved"

    def watch(progress: JobProgress) -> None:
        if joblist.exists() and not moved.exists():
            joblist.rename(moved)

    told: list[object] = []
    options = WorkerOptions(stop=Stop(), watch=watch)
    worker = Worker(JobList.open(str(joblist)), Environment(pid=os.getpid()), options, told.append)
    with pytest.raises(JoblistUnavailableError, match="expected the joblist still at"):
        worker.run()
    assert not [event for event in told if isinstance(event, WorkerFinished)]
    run_ok("transfer-worker", "-i", moved)
    assert set(statuses(moved).values()) == {"success"}
