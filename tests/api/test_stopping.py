"""A transfer that is asked to stop, by another thread or Ctrl-C, hands its job back cleanly."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

import jobtool
from tests.commands import ROOT, environment, finish
from tests.gate import gate_before
from tests.trees import contents, events, make_items, receipts, status_of

FILES = 12

#: A session that waits to be interrupted, tells how its call ended, and calls again.
SESSION = """
import json
import signal
import sys

import jobtool

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job of a shell may have it ignored
told = []


def tell(event):
    told.append(event.kind)


try:
    jobtool.transfer_jobs(sys.argv[1], threads=2, on_event=tell)
except KeyboardInterrupt:
    print(json.dumps(told), flush=True)
else:
    print("it was not interrupted")
sys.stdin.readline()
print(jobtool.transfer_jobs(sys.argv[1]).exit_code)
"""


@pytest.fixture
def bucket(rclone_s3) -> str:
    return rclone_s3.new_bucket()


@pytest.fixture
def joblist(tmp_path: Path, bucket: str) -> Path:
    """One job of twelve files, for a bucket."""
    make_items(tmp_path / "in", 1, files=FILES)
    jobtool.generate_joblist(
        tmp_path / "in", tmp_path / "list", destination=f"s3://{bucket}", layout="tree"
    )
    return tmp_path / "list"


def assert_all_there(server, bucket: str, joblist: Path) -> None:
    source = contents(joblist.parent / "in")
    found = {key: server.client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in source}
    assert found == source
    assert len(receipts(joblist)) == FILES


def test_another_thread_stops_a_transfer_which_hands_its_job_back(
    rclone_s3, bucket: str, joblist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = jobtool.Stop()
    told: list[jobtool.Event] = []
    with gate_before(rclone_s3.endpoint_url, allowed=5) as gate:
        for name, value in rclone_s3.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", gate.endpoint_url)

        def stop_when_held() -> None:
            gate.wait_until_held()
            stop.set("enough for today")
            gate.open()

        other = threading.Thread(target=stop_when_held)
        other.start()
        done = jobtool.transfer_jobs(joblist, threads=2, stop=stop, on_event=told.append)
        other.join()
        assert (done.handed_back, done.exit_code, done.stopped) == (1, 3, "enough for today")
        assert done.statuses["todo"] == 1
        assert status_of(joblist / "item000.txt") == "todo"
        assert len(events(joblist / "item000.txt", "handed-back")) == 1
        assert [event.kind for event in told][-2:] == ["handed-back", "finished"]
        assert sum(event.kind == "file" for event in told) >= 5

        untouched = jobtool.transfer_jobs(joblist, stop=stop)
        assert (untouched.succeeded, untouched.exit_code) == (0, 3)
        assert jobtool.transfer_jobs(joblist).exit_code == 0
    assert_all_there(rclone_s3, bucket, joblist)


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_call_hands_its_job_back_and_raises_and_the_next_one_goes_on(
    rclone_s3, bucket: str, joblist: Path, times: int
) -> None:
    with gate_before(rclone_s3.endpoint_url, allowed=5) as gate:
        settings = {**rclone_s3.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}
        process = subprocess.Popen(
            [sys.executable, "-c", SESSION, joblist],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(settings),
        )
        try:
            gate.wait_until_held()
            for _ in range(times):
                process.send_signal(signal.SIGINT)
            gate.open()
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            assert told[-1] == "finished"
            assert status_of(joblist / "item000.txt") in ("todo", "ongoing")
            if times == 1:
                assert status_of(joblist / "item000.txt") == "todo"
                assert len(events(joblist / "item000.txt", "handed-back")) == 1
            done = finish(process)
        finally:
            process.kill()
    assert (done.exit_code, done.stdout, done.stderr) == (0, "0\n", "")
    assert_all_there(rclone_s3, bucket, joblist)


@pytest.mark.parametrize("kind", ["claimed", "file", "success"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_while_an_event_is_told_hands_back_and_is_raised_again(
    tmp_path: Path, kind: str, error: type[BaseException]
) -> None:
    make_items(tmp_path / "in", 3)
    jobtool.generate_joblist(tmp_path / "in", tmp_path / "list", destination=tmp_path / "out")

    def interrupt(event: jobtool.Event) -> None:
        if event.kind == kind:
            raise error

    with pytest.raises(error):
        jobtool.transfer_jobs(tmp_path / "list", on_event=interrupt)
    assert jobtool.summarise_jobs(tmp_path / "list").count(jobtool.JobStatus.ONGOING) == 0
    assert jobtool.transfer_jobs(tmp_path / "list").exit_code == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "in")


def test_what_a_callback_raises_fails_no_job_and_is_a_warning_once(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 2)

    def fail(event: jobtool.Event) -> None:
        raise RuntimeError("no more ink")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        jobtool.generate_joblist(tmp_path / "in", tmp_path / "list", destination=tmp_path / "out")
        done = jobtool.transfer_jobs(tmp_path / "list", on_event=fail)
    assert done.exit_code == 0
    assert ["no more ink" in str(one.message) for one in caught] == [True]


def test_callbacks_are_called_in_the_thread_of_the_caller(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 2, files=30)
    jobtool.generate_joblist(tmp_path / "in", tmp_path / "list", destination=tmp_path / "out")
    threads: set[int] = set()

    def note(event: jobtool.Event) -> None:
        threads.add(threading.get_ident())

    jobtool.transfer_jobs(tmp_path / "list", threads=8, on_event=note, on_progress=note)
    assert threads == {threading.get_ident()}


def test_more_events_than_may_wait_all_come(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 1, files=1500)
    jobtool.generate_joblist(tmp_path / "in", tmp_path / "list", destination=tmp_path / "out")
    told: list[str] = []
    jobtool.transfer_jobs(tmp_path / "list", on_event=lambda event: told.append(event.kind))
    assert told.count("file") == 1500
    assert told[-1] == "finished"


def test_a_variable_of_a_scheduler_that_is_ignored_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_items(tmp_path / "in", 1)
    jobtool.generate_joblist(tmp_path / "in", tmp_path / "list", destination=tmp_path / "out")
    monkeypatch.setenv("PBS_WALLTIME", "soon")
    with pytest.warns(RuntimeWarning, match="PBS_WALLTIME is ignored") as caught:
        assert jobtool.transfer_jobs(tmp_path / "list").exit_code == 0
    assert [one.filename for one in caught] == [__file__]


def test_a_limit_that_leaves_no_time_ends_the_call_in_order(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 2)
    jobtool.generate_joblist(tmp_path / "in", tmp_path / "list", destination=tmp_path / "out")
    done = jobtool.transfer_jobs(tmp_path / "list", time_limit_seconds=0.001, grace_seconds=0)
    assert (done.succeeded, done.exit_code, done.statuses["todo"]) == (0, 3, 2)
    assert done.stopped == "the time is up"
