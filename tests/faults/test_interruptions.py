"""Workers that are stopped or killed in the middle of a job, and those that continue it."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from jobtool.jobs.journal import Journal
from jobtool.jobs.records import Receipt
from tests.commands import Done, finish, run, run_ok, start
from tests.gate import Gate, gate_before
from tests.trees import contents, events, make_items, receipts, status_of, write

FILES = 12


@pytest.fixture
def bucket(rclone_s3) -> str:
    return rclone_s3.new_bucket()


@pytest.fixture
def joblist(tmp_path: Path, bucket: str) -> Path:
    """One job of twelve files."""
    make_items(tmp_path / "in", 1, files=FILES)
    paths = ("-i", tmp_path / "in", "-o", tmp_path / "list", "-d", f"s3://{bucket}", "-l", "tree")
    run_ok("generate-joblist", *paths)
    return tmp_path / "list"


def jobfile(joblist: Path) -> Path:
    return joblist / "item000.txt"


def proven(joblist: Path) -> set[str]:
    """The destinations that have a receipt on disk while the job is under way."""
    journal = Journal(str(joblist / "journals" / "item000.jsonl"))
    receipts = (record for record in journal.read() if isinstance(record, Receipt))
    return {receipt.dst_path.rpartition("/")[2] for receipt in receipts}


def environment(server, gate: Gate) -> dict[str, str]:
    return {**server.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}


def worker(joblist: Path, env: dict[str, str]):
    return start("transfer-worker", "-i", joblist, "--threads", 2, env=env)


def assert_finished_by_another(server, bucket: str, joblist: Path, before: set[str]) -> None:
    """The rest is sent, and nothing that had a receipt is sent again."""
    with gate_before(server.endpoint_url, allowed=FILES) as gate:
        run_ok("transfer-worker", "-i", joblist, env=environment(server, gate))
        sent = {path.rpartition("/")[2] for path in gate.uploads}
    assert not sent & before
    assert status_of(jobfile(joblist)) == "success"
    assert len(receipts(joblist)) == FILES
    source = contents(joblist.parent / "in")
    found = {key: server.client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in source}
    assert found == source


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU],
    ids=lambda number: number.name,
)
def test_a_signal_hands_the_job_back_and_another_worker_sends_only_the_rest(
    rclone_s3, bucket: str, joblist: Path, number: signal.Signals
) -> None:
    with gate_before(rclone_s3.endpoint_url, allowed=5) as gate:
        process = worker(joblist, environment(rclone_s3, gate))
        gate.wait_until_held()
        process.send_signal(number)
        noticed = [process.stderr.readline(), process.stderr.readline()]
        gate.open()
        done = finish(process)
    again = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
    assert noticed == ["\n", f"{number.name}: finishing files in progress{again}\n"]
    assert done.exit_code == 3, done
    assert done.stderr == ""
    assert status_of(jobfile(joblist)) == "todo"
    assert len(events(jobfile(joblist), "handed-back")) == 1
    before = proven(joblist)
    assert before == {path.rpartition("/")[2] for path in gate.uploads}  # those under way arrived
    assert 5 < len(before) < FILES
    assert_finished_by_another(rclone_s3, bucket, joblist, before)
    assert [line[-9:] for line in events(jobfile(joblist), "claimed")] == ["attempt=1", "attempt=2"]


def test_a_second_interrupt_ends_at_once_and_loses_nothing(
    rclone_s3, bucket: str, joblist: Path
) -> None:
    with gate_before(rclone_s3.endpoint_url, allowed=5) as gate:
        process = worker(joblist, environment(rclone_s3, gate))
        gate.wait_until_held()
        process.send_signal(signal.SIGINT)
        process.stderr.readline(), process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert finish(process).exit_code == 130  # while the gate is still closed
    assert status_of(jobfile(joblist)) == "ongoing"
    assert_finished_by_another(rclone_s3, bucket, joblist, proven(joblist))


def test_a_killed_worker_leaves_an_orphan_that_the_next_one_finishes(
    rclone_s3, bucket: str, joblist: Path
) -> None:
    with gate_before(rclone_s3.endpoint_url, allowed=5) as gate:
        process = worker(joblist, environment(rclone_s3, gate))
        gate.wait_until_held()
        # Others leave it alone while its worker lives.
        other = run("transfer-worker", "-i", joblist, env=rclone_s3.environment)
        assert (other.exit_code, other.lines[-1]) == (
            0,
            "✅ This worker finished 0 job(s), 0 in error. The joblist has 1 ongoing.",
        )
        process.kill()
        finish(process)
    assert status_of(jobfile(joblist)) == "ongoing"
    before = proven(joblist)
    assert_finished_by_another(rclone_s3, bucket, joblist, before)
    assert len(events(jobfile(joblist), "claimed")) == 2
    assert len(events(jobfile(joblist), "success")) == 1


def test_a_torn_receipt_of_a_killed_worker_costs_its_file_only(
    rclone_s3, bucket: str, joblist: Path
) -> None:
    with gate_before(rclone_s3.endpoint_url, allowed=5) as gate:
        process = worker(joblist, environment(rclone_s3, gate))
        gate.wait_until_held()
        process.send_signal(signal.SIGTERM)
        process.stderr.readline(), process.stderr.readline()
        gate.open()
        finish(process)
    journal = joblist / "journals" / "item000.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    assert_finished_by_another(rclone_s3, bucket, joblist, proven(joblist))


def test_a_file_that_was_changed_meanwhile_is_sent_again(
    tmp_path: Path, rclone_s3, bucket: str, joblist: Path
) -> None:
    with gate_before(rclone_s3.endpoint_url, allowed=5) as gate:
        process = worker(joblist, environment(rclone_s3, gate))
        gate.wait_until_held()
        process.send_signal(signal.SIGTERM)
        process.stderr.readline(), process.stderr.readline()
        gate.open()
        finish(process)
    changed = sorted(proven(joblist))[0]
    write(tmp_path / "in" / "item000" / changed, b"other content")
    assert_finished_by_another(rclone_s3, bucket, joblist, proven(joblist) - {changed})


def test_bytes_that_change_on_the_way_never_end_in_success(
    rclone_s3, bucket: str, joblist: Path
) -> None:
    with gate_before(rclone_s3.endpoint_url, allowed=1000, corrupt="/7.bin") as gate:
        done: Done = finish(worker(joblist, environment(rclone_s3, gate)))
    assert done.exit_code == 1, done
    reasons = events(jobfile(joblist), "failed")
    assert len(reasons) == len(events(jobfile(joblist), "claimed")) == 3  # it might have passed
    assert all("7.bin" in reason for reason in reasons)
    assert "\nrequires_intervention: true\n" in jobfile(joblist).read_text()
    assert status_of(jobfile(joblist)) == "error"
    pages = rclone_s3.client.list_objects_v2(Bucket=bucket).get("Contents", [])
    assert "item000/7.bin" not in {item["Key"] for item in pages}
    text = jobfile(joblist).read_text()
    jobfile(joblist).write_text("todo" + text[text.index("\n") :])
    assert_finished_by_another(rclone_s3, bucket, joblist, proven(joblist))


@pytest.mark.parametrize("how", ["removed", "spoilt"])
def test_a_job_file_that_is_touched_meanwhile_spoils_no_other_job(
    tmp_path: Path, rclone_s3, joblist: Path, how: str
) -> None:
    make_items(tmp_path / "in", 3, files=FILES)
    run_ok("generate-joblist", "-i", tmp_path / "in", "-o", joblist)
    with gate_before(rclone_s3.endpoint_url, allowed=3) as gate:
        process = worker(joblist, environment(rclone_s3, gate))
        gate.wait_until_held()
        (path,) = [one for one in joblist.glob("*.txt") if status_of(one) == "ongoing"]
        if how == "removed":
            path.unlink()
        else:
            path.write_bytes(b"Done, I think\n")
        gate.open()
        done = finish(process)
    assert done.stderr == ""
    assert done.exit_code == (0 if how == "removed" else 1)
    left = Counter(status_of(one) for one in joblist.glob("*.txt"))
    assert left == Counter({"success": 2} | ({} if how == "removed" else {"Done, I think": 1}))
