"""Which jobs workers take, and in which order."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobtool
from jobtool.jobs.jobchoice import JobChoice
from jobtool.jobs.jobfile import decode, decode_priority, encode
from jobtool.jobs.joblist import JobList
from jobtool.worker.environment import Environment
from jobtool.worker.order import JobOrder, staggered
from tests.commands import assert_one_line_error, run, run_ok
from tests.prepare import prepare
from tests.trees import events, make_items, statuses, write


@pytest.fixture
def joblist(tmp_path: Path) -> Path:
    make_items(tmp_path / "in", 6)
    prepare("generate-joblist", "-i", tmp_path / "in", "-o", tmp_path / "list", "-d",
           tmp_path / "out", "-l", "tree")  # fmt: skip
    return tmp_path / "list"


def taken(done) -> list[str]:
    """The jobs that a worker has claimed, in its order."""
    return [each["job"] for each in map(json.loads, done.lines) if each["event"] == "claimed"]


def work(joblist: Path, *options: object):
    return run("transfer-worker", "-i", joblist, "--json", *options)


def test_only_the_chosen_jobs_are_done_and_the_exit_code_is_about_them(joblist):
    write(joblist / "item004.txt", b"error\nsource: /nowhere\ndestination: /tmp/x\n---\n")
    done = work(joblist, "--job", "item001", "--match", "*[35]")
    assert done.exit_code == 0
    assert taken(done) == ["item001", "item003", "item005"]
    (finished,) = (each for each in map(json.loads, done.lines) if each["event"] == "finished")
    assert (finished["not_chosen"], finished["left_todo"], finished["in_error"]) == (3, 0, 0)
    assert [name for name, each in statuses(joblist).items() if each == "todo"] == [
        "item000",
        "item002",
    ]
    assert work(joblist).exit_code == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--job", "item9"), ("found item9", "Did you mean item00")),
        (("--job", "item000", "--match", "ITEM*"), ("found ITEM*", "Did you mean item000?")),
        (("--order", "larges"), ("found 'larges'. Did you mean 'largest'?",)),
        (("--order", "field:itm"), ("field of the jobs (item)", "Did you mean 'item'?")),
    ],
)
def test_what_matches_nothing_is_refused_with_what_may_be_meant(joblist, options, expected):
    done = run("transfer-worker", "-i", joblist, *options)
    assert_one_line_error(done, 2, *expected)
    assert set(statuses(joblist).values()) == {"todo"}


def test_a_dry_run_names_the_chosen_jobs_only(joblist):
    done = work(joblist, "--dry-run", "--match", "item00[12]")
    names = [each.get("job") for each in map(json.loads, done.lines)]
    assert [name for name in names if name] == ["item001", "item002"]


def test_by_size_what_is_known_comes_first(joblist):
    for name, size in (("item001", 10), ("item003", 3000), ("item004", 200)):
        path = joblist / f"{name}.txt"
        log = f"2026-11-20T12:00:00Z handed-back files=0/2 bytes=1/{size} attempt=1\n"
        path.write_text(path.read_text() + log)
    done = work(joblist, "--order", "largest")
    assert taken(done) == ["item003", "item004", "item001", "item000", "item002", "item005"]
    (order,) = (each for each in map(json.loads, done.lines) if each["event"] == "order")
    assert (order["jobs"], order["unknown"]) == (6, 3)
    run_ok("jobtool", "retry", joblist, "--job", "item003", "--job", "item001")
    assert len(taken(work(joblist, "--order", "smallest"))) == 2


def test_jobs_of_a_higher_priority_come_first_by_command_or_by_hand(joblist):
    run_ok("jobtool", "set", joblist, "--job", "item004", "priority=5")
    run_ok("jobtool", "set", joblist, "--match", "item00[01]", "priority=-1")
    path = joblist / "item005.txt"
    path.write_text(path.read_text().replace("todo\n", "todo\r\npriority: 7\r\n", 1))
    assert taken(work(joblist)) == [
        "item005",
        "item004",
        "item002",
        "item003",
        "item000",
        "item001",
    ]
    control = json.loads((joblist / "control.json").read_text())
    assert control["priorities"]["item005"] == 7
    assert "\npriority: 5\n" in (joblist / "item004.txt").read_text()
    assert "priority=5 by=" in events(joblist / "item004.txt", "priority")[0]


def test_a_priority_that_is_no_number_is_refused_by_name(joblist):
    path = joblist / "item005.txt"
    path.write_text(path.read_text().replace("todo\n", "todo\npriority: high\n", 1))
    done = work(joblist)
    assert done.exit_code == 1
    (invalid,) = (each for each in map(json.loads, done.lines) if each["event"] == "invalid")
    assert "expected a whole number from -1000000" in invalid["reason"]


_JOB = b"todo\n%spriority: %d\nsource: /a\n---\n2026-11-20T12:00:00Z x\npriority: 9\n"


@given(st.integers(-1_000_000, 1_000_000), st.sampled_from([b"", b"source_x: 1\n", b"\xff: 1\n"]))
def test_a_short_read_finds_the_priority_that_the_whole_file_says(priority, before):
    data = _JOB % (before, priority)
    assert decode_priority(data) == priority
    if before != b"\xff: 1\n":
        job, log = decode(data, job_id="a")
        assert job.priority == priority
        assert decode_priority(encode(job, log)) == priority


@pytest.mark.parametrize(
    "line", [b"priority: x", b"Priority: 3", b"field.priority: 3", b"---\npriority: 3"]
)
def test_a_short_read_takes_nothing_else_for_a_priority(line):
    assert decode_priority(b"todo\n" + line + b"\nsource: /a\n---\n") == 0


@given(st.lists(st.text(max_size=3), unique=True), st.integers(1, 9), st.integers(0, 20))
def test_each_worker_takes_every_job_once_and_none_far_from_its_place(names, window, offset):
    found = [*staggered(names, window, offset)]
    assert sorted(found) == sorted(names)
    assert all(abs(found.index(name) - place) < window for place, name in enumerate(names))


@given(st.integers(1, 8), st.integers(1, 40))
def test_ranks_begin_at_different_jobs_of_an_order(size, jobs):
    names = [f"{number:03}" for number in range(jobs)]
    firsts = [next(iter(staggered(names, size, rank))) for rank in range(size)]
    assert len(set(firsts)) == min(size, jobs)
    assert set(firsts) == set(names[:size])


def test_a_random_order_has_every_job_and_differs_between_workers(joblist):
    job_ids = JobList.open(str(joblist)).job_ids()
    orders = set()
    for _ in range(8):
        order = JobOrder(
            JobList.open(str(joblist)), JobChoice(), "random", Environment(pid=os.getpid()), dict
        )
        found = order.of(job_ids)
        assert sorted(found) == job_ids
        orders.add(tuple(found))
    assert len(orders) > 1


def test_from_python_the_same_jobs_are_chosen(joblist):
    done = jobtool.transfer_jobs(joblist, jobs=["item000"], match=["*[12]"], order="random")
    assert (done.succeeded, done.exit_code, done.statuses["todo"]) == (3, 0, 3)
    with pytest.raises(jobtool.UsageError, match="Did you mean"):
        jobtool.transfer_jobs(joblist, jobs=["item9"])
    with pytest.raises(jobtool.UsageError, match="expected one of largest"):
        jobtool.transfer_jobs(joblist, order="big")
