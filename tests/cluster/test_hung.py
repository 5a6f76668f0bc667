"""A node whose file server is gone: other workers take the jobs of a worker there.

The node's own view of the source is a FUSE mount in a mount namespace of its own, whose daemon is
stopped: reads there hang in the kernel. Other nodes see the same folder without it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import BIN, environment, finish, run_ok, start, wait_for
from tests.gate import gate_before
from tests.needs import need_fuse, need_hosts
from tests.trees import contents, events, make_items, status_of

STALL_SECONDS = 2.0

#: Mounts the folder over itself, for this process and its children only, and records the daemon.
_MOUNT = """
hostname "$0"
bindfs -f $BINDFS_OPTIONS -o nonempty "$1" "$1" > /dev/null 2>&1 & echo $! > "$2"
until mountpoint -q "$1"; do sleep 0.05; done
[ -z "$STOPPED" ] || kill -STOP "$(cat "$2")"
shift 2
exec "$@"
"""


class Node:
    """A worker on a host of its own, with a view of ``folder`` that may hang."""

    def __init__(self, folder: Path, note: Path, env: dict[str, str], *options: object) -> None:
        command = ["unshare", "--mount", "--uts", "sh", "-c", _MOUNT, "node1", folder, note]
        self.process = subprocess.Popen(
            [*map(str, command), str(BIN / "transfer-worker"), *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment({"BINDFS_OPTIONS": "", "STOPPED": "", **env}),
        )
        wait_for(lambda: note.exists() and bool(note.read_text().strip()))
        self._daemon = int(note.read_text())

    def hang(self) -> None:
        os.kill(self._daemon, signal.SIGSTOP)

    def wake(self) -> None:
        os.kill(self._daemon, signal.SIGCONT)

    def end(self) -> None:
        for pid in (self._daemon, self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def node(folder: Path, note: Path, *options: object, env: dict[str, str]) -> Iterator[Node]:
    need_fuse()
    need_hosts()
    one = Node(folder, note, env, *options)
    try:
        yield one
    finally:
        one.end()


def make_joblist(tmp_path: Path, destination: str, *, files: int, size: int = 100) -> Path:
    make_items(tmp_path / "in", 1, files=files)
    (tmp_path / "in" / "item000" / "large").write_bytes(bytes(size))
    joblist = tmp_path / "list"
    paths = ("-i", tmp_path / "in", "-o", joblist, "-d", destination, "-l", "tree")
    run_ok("generate-joblist", *paths)
    toml = joblist / "joblist.toml"
    told = f'claims = "lease"\nlease_seconds = 1.0\nstall_seconds = {STALL_SECONDS}\n'
    toml.write_text(told + toml.read_text())
    return joblist


@pytest.mark.parametrize("hangs", ["listing", "reading"])
def test_what_a_worker_holds_that_hangs_is_done_by_another_and_it_writes_nothing_more(
    tmp_path: Path, rclone_s3, hangs: str
) -> None:
    bucket = rclone_s3.new_bucket()
    joblist = make_joblist(tmp_path, f"s3://{bucket}", files=20)
    jobfile = joblist / "item000.txt"
    options = ("-i", joblist, "--threads", 2)
    with gate_before(rclone_s3.endpoint_url, allowed=5) as gate:
        env = {**rclone_s3.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}
        env["STOPPED"] = "yes" if hangs == "listing" else ""
        with node(tmp_path / "in", tmp_path / "daemon", *options, env=env) as hung:
            if hangs == "listing":
                wait_for(lambda: status_of(jobfile) == "ongoing")
                gate.open()
            else:
                gate.wait_until_held()
                hung.hang()
                gate.open()
            other = start("transfer-worker", *options, "--wait", env=rclone_s3.environment)
            done = finish(other)
            before, uploads = jobfile.read_bytes(), len(gate.uploads)
            hung.wake()
            woken = finish(hung.process)
    assert done.exit_code == 0, (done, before)
    assert status_of(jobfile) == "success"
    assert b"attempt=2" in before
    assert woken.exit_code == 3, woken
    (told,) = (line for line in woken.stdout.splitlines() if "Nothing has moved" in line)
    assert ("item000" if hangs == "listing" else f"{tmp_path}/in/item000/") in told
    assert "Traceback" not in woken.stderr
    assert jobfile.read_bytes() == before
    assert len(gate.uploads) == uploads
    assert os.listdir(joblist / "journals") == []
    assert contents(rclone_s3.folder / bucket) == contents(tmp_path / "in")


def test_a_slow_worker_keeps_its_job(tmp_path: Path, rclone_s3) -> None:
    bucket = rclone_s3.new_bucket()
    joblist = make_joblist(tmp_path, f"s3://{bucket}", files=1, size=1_500_000)
    # One read of the whole file takes three times as long as ``stall_seconds``.
    env = {**rclone_s3.environment, "BINDFS_OPTIONS": "--read-rate=250000"}
    options = ("-i", joblist, "--threads", 2)
    with node(tmp_path / "in", tmp_path / "daemon", *options, env=env) as slow:
        wait_for(lambda: status_of(joblist / "item000.txt") == "ongoing")
        other = start("transfer-worker", *options, "--wait", env=rclone_s3.environment)
        done = finish(slow.process)
        assert finish(other).exit_code == 0
    assert done.exit_code == 0, done
    assert "Nothing has moved" not in done.stdout + done.stderr
    assert len(events(joblist / "item000.txt", "claimed")) == 1
    assert contents(rclone_s3.folder / bucket) == contents(tmp_path / "in")


def test_a_worker_with_locks_tells_that_it_hangs_and_goes_on_when_it_wakes(
    tmp_path: Path, rclone_s3
) -> None:
    bucket = rclone_s3.new_bucket()
    joblist = make_joblist(tmp_path, f"s3://{bucket}", files=3)
    options = ("-i", joblist, "--threads", 2, "--claims", "lock", "--json")
    env = {**rclone_s3.environment, "STOPPED": "yes"}
    with node(tmp_path / "in", tmp_path / "daemon", *options, env=env) as hung:
        assert hung.process.stdout is not None
        line = next(line for line in hung.process.stdout if '"stalled"' in line)
        hung.wake()
        done = finish(hung.process)
    assert json.loads(line)["left"] is False
    assert json.loads(line)["works_on"] == ["item000"]
    assert done.exit_code == 0, done
    assert contents(rclone_s3.folder / bucket) == contents(tmp_path / "in")
