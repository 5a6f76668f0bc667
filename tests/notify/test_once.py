"""Many workers, any of which may be killed: each thing is told, and told once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from jobtool.notify.markers import STALE_SECONDS, Mark, Markers
from tests.commands import (
    BIN,
    environment,
    finish,
    run,
    run_ok,
    start,
    start_ranks,
    unused_port,
    wait_for,
)
from tests.notify.places import break_job, mail_server, make_joblist, occasions, recorded, recorder
from tests.prepare import prepare
from tests.trees import make_items, statuses


def test_ranks_tell_each_thing_once(tmp_path: Path) -> None:
    notify = f'[notify]\ncommand = "{recorder(tmp_path)}"'
    joblist = make_joblist(tmp_path, notify, jobs=12)
    for name in ("item000", "item003", "item007"):
        break_job(tmp_path, name)
    worker = (BIN / "transfer-worker", "-i", joblist)
    assert finish(start_ranks(worker, worker)).exit_code == 1
    assert occasions(tmp_path) == ["finish", "first-error"]
    first, last = recorded(tmp_path)
    assert first["occasion"] == "first-error"
    assert first["job"] in ("item000", "item003", "item007")
    assert (last["success"], last["error"]) == (9, 3)
    assert last["causes"][0]["count"] == 3


def test_workers_that_end_together_tell_once(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, f'[notify]\ncommand = "{recorder(tmp_path)}"', jobs=8)
    workers = [start("transfer-worker", "-i", joblist, "--wait") for _ in range(4)]
    assert [finish(worker).exit_code for worker in workers] == [0] * 4
    assert occasions(tmp_path) == ["finish"]


def test_a_server_that_never_answers_holds_no_worker_that_is_asked_to_stop(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        notify = f'[notify.mail]\nto = ["me@x.example"]\nsmtp = "{where}"\nsecurity = "none"'
        joblist = make_joblist(tmp_path, notify)
        worker = start("transfer-worker", "-i", joblist, "--json")
        connection, _ = silent.accept()  # by now the work is done
        os.kill(worker.pid, signal.SIGTERM)
        done = finish(worker)
        connection.close()
    assert done.exit_code == 0
    kinds = [json.loads(line)["event"] for line in done.lines]
    assert kinds.index("notices-unsent") > kinds.index("finished")
    (mark,) = (joblist / ".claims" / "notices").glob("finish-*")
    assert json.loads(mark.read_text())["state"] == "sending"
    (joblist / "joblist.toml").write_text(
        (joblist / "joblist.toml")
        .read_text()
        .replace("[notify.mail]", f'[notify]\ncommand = "{recorder(tmp_path)}"\n\n[notify.mail]')
    )
    run("jobtool", "notify", joblist)
    assert occasions(tmp_path) == ["finish"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_a_killed_worker_was_telling_is_told_by_the_next_look(
    tmp_path: Path, when: str
) -> None:
    fifo = tmp_path / "goes-on"
    os.mkfifo(fifo)
    script = tmp_path / "slow"
    told = (
        f"cat > {tmp_path}/new.$$ && mv {tmp_path}/new.$$ {tmp_path}/told.$$"  # whole or not there
    )
    script.write_text(f"#!/bin/sh\n{told}\nread line < {fifo}\n")
    script.chmod(0o755)
    joblist = make_joblist(tmp_path, f'[notify]\ncommand = "{script}"')
    worker = start("transfer-worker", "-i", joblist, "-v", 0)
    wait_for(lambda: len([*tmp_path.glob("told.*")]) == 1)
    os.kill(worker.pid, signal.SIGKILL)
    finish(worker)
    with fifo.open("w"):  # the command of the dead worker ends
        pass
    assert set(statuses(joblist).values()) == {"success"}
    script.write_text(f"#!/bin/sh\ncat > {tmp_path}/told.$$\n")
    if when == "before":
        run_ok("jobtool", "notify", joblist)
    else:
        run_ok("transfer-worker", "-i", joblist, "-v", 0)
    assert occasions(tmp_path) == ["finish", "finish"], "at least once: nobody knows if it arrived"
    run_ok("jobtool", "notify", joblist)
    assert len(recorded(tmp_path)) == 2


def test_a_notice_that_fails_fails_no_work_is_told_once_and_tried_again(tmp_path: Path) -> None:
    with mail_server() as mails:
        mails.refusal = "554 no"
        joblist = make_joblist(
            tmp_path,
            f'[notify]\ncommand = "{recorder(tmp_path)}"\n'
            f'[notify.mail]\nto = ["me"]\nsmtp = "{mails.address}"\nsecurity = "none"',
        )
        break_job(tmp_path)
        done = run("transfer-worker", "-i", joblist)
        assert done.exit_code == 1
        assert done.stdout.count("Couldn't tell by mail") == 1
        assert mails.tries == 2, "the first error, and the finish"
        assert occasions(tmp_path) == ["finish", "first-error"], "the other way works"
        assert run("transfer-worker", "-i", joblist).exit_code == 1
        assert mails.tries == 2
        mails.refusal = None
        run_ok("jobtool", "notify", joblist)
        (mail,) = mails.kept
        assert mail["Subject"] == "jobtool: list has ended with 1 job in error"
        assert len(recorded(tmp_path)) == 2
        run_ok("jobtool", "notify", joblist)
        assert len(mails.kept) == 1


def test_a_worker_whose_environment_fails_says_why_once_an_hour(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 2)
    joblist = tmp_path / "list"
    env = {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{unused_port()}",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    prepare(
        *("generate-joblist", "-i", tmp_path / "in", "-o", joblist, "-d", "s3://bucket/there"),
        *("-l", "tree", "-v", 0),
        env=env,
    )
    with (joblist / "joblist.toml").open("a") as toml:
        toml.write(
            f'[transfer]\npatience_seconds = 0\n[notify]\ncommand = "{recorder(tmp_path)}"\n'
        )
    for _ in range(2):
        assert run("transfer-worker", "-i", joblist, env=env).exit_code == 4
    (told,) = recorded(tmp_path)
    assert (told["occasion"], told["todo"]) == ("stopped", 2)
    assert "A worker has stopped, and its job was handed back: " in told["text"]
    assert told["next"] == f"transfer-worker -i {joblist}"


TAKER = """
import os, sys
from jobtool.notify.markers import Markers
markers = Markers(sys.argv[1], host="h", pid=os.getpid())
for number in range(int(sys.argv[2])):
    taken = markers.take(f"finish-{number}", "mail", title="t")
    if taken is not None:
        taken.end(reason=None)
        print(number, flush=True)
"""


def test_of_many_processes_one_takes_each_notice(tmp_path: Path) -> None:
    words = [sys.executable, "-c", TAKER, str(tmp_path), "40"]
    takers = [
        subprocess.Popen(
            words, stdout=subprocess.PIPE, text=True,
            env=environment({"PYTHONPATH": os.pathsep.join(sys.path)}),
        )
        for _ in range(4)
    ]  # fmt: skip
    taken = [int(line) for taker in takers for line in taker.communicate(timeout=60)[0].split()]
    assert sorted(taken) == [*range(40)]


def markers_of(tmp_path: Path, now: float = 0.0, host: str = "here") -> Markers:
    clock = os.stat(tmp_path).st_mtime
    return Markers(str(tmp_path), host=host, pid=os.getpid(), now=lambda: clock + now)


def test_what_a_dead_process_holds_is_taken_over(tmp_path: Path) -> None:
    with dead_process() as pid:
        dead = Markers(str(tmp_path), host="here", pid=pid)
        assert dead.take("finish-1", "mail", title="t") is not None
    assert markers_of(tmp_path, host="elsewhere").take("finish-1", "mail", title="t") is None
    late = markers_of(tmp_path, STALE_SECONDS + 60, host="elsewhere")
    assert late.is_open("finish-1", "mail", again=False)
    taken = markers_of(tmp_path).take("finish-1", "mail", title="t")
    assert taken is not None, "on the same host it shows at once"
    assert markers_of(tmp_path).take("finish-1", "mail", title="t") is None
    taken.end(reason="no route")
    assert markers_of(tmp_path).take("finish-1", "mail", title="t") is None
    again = markers_of(tmp_path).take("finish-1", "mail", title="t", again=True)
    assert again is not None
    again.end(reason=None)
    assert markers_of(tmp_path).take("finish-1", "mail", title="t", again=True) is None
    assert markers_of(tmp_path).take("finish-1", "webhook", title="t") is not None


def test_of_those_who_look_at_the_end_one_is_alone(tmp_path: Path) -> None:
    ours = markers_of(tmp_path)
    with ours.alone("finish") as first, ours.alone("finish") as second:
        assert (first, second) == (True, False)
    with dead_process() as pid:
        path = tmp_path / "notices" / "finish.look"
        path.write_bytes(msgspec.json.encode(Mark(state="sending", host="here", pid=pid)))
    with ours.alone("finish") as after:
        assert after
    assert [*(tmp_path / "notices").iterdir()] == []


@contextmanager
def dead_process() -> Iterator[int]:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    yield process.pid


def test_files_that_somebody_edited_send_nothing_twice(tmp_path: Path) -> None:
    (tmp_path / "notices").mkdir()
    (tmp_path / "notices" / "finish-1@mail.1").write_text("torn {")
    assert markers_of(tmp_path).take("finish-1", "mail", title="t") is None
    results: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda: results.append(
                markers_of(tmp_path).take("daily-1", "mail", title="t") is not None
            )
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(results) == 1
