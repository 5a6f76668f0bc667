"""A worker that was frozen until the others had changed the claim policy."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.commands import BIN, environment, finish, run_ok
from tests.gate import gate_before
from tests.needs import need_hosts
from tests.trees import contents, events, make_items, status_of

LEASE_SECONDS = 3.0


def start_on(host: str, env: dict[str, str], *options: object) -> subprocess.Popen[str]:
    """Start a worker that sees another hostname."""
    named = ["unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', host]
    return subprocess.Popen(
        [*named, str(BIN / "transfer-worker"), *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(env),
    )


@pytest.mark.parametrize(("first", "second"), [("lease", "lock"), ("lock", "lease")])
def test_a_worker_that_wakes_up_among_others_with_other_claims_writes_nothing(
    tmp_path: Path, rclone_s3, first: str, second: str
) -> None:
    need_hosts()
    make_items(tmp_path / "in", 1, files=20)
    bucket = rclone_s3.new_bucket()
    joblist = tmp_path / "list"
    paths = ("-i", tmp_path / "in", "-o", joblist, "-d", f"s3://{bucket}", "-l", "tree")
    run_ok("generate-joblist", *paths)
    toml = joblist / "joblist.toml"
    toml.write_text(f"lease_seconds = {LEASE_SECONDS}\n{toml.read_text()}")
    jobfile = joblist / "item000.txt"
    with gate_before(rclone_s3.endpoint_url, allowed=5) as gate:
        env = {**rclone_s3.environment, "AWS_ENDPOINT_URL": gate.endpoint_url}
        options = ("-i", joblist, "--threads", 2)
        frozen = start_on("node1", env, *options, "--claims", first)
        gate.wait_until_held()
        os.kill(frozen.pid, signal.SIGSTOP)
        other = start_on("node2", rclone_s3.environment, *options, "--claims", second, "--wait")
        done = finish(other)
        before = jobfile.read_bytes()
        os.kill(frozen.pid, signal.SIGCONT)
        gate.open()
        woken = finish(frozen)
    assert done.exit_code == 0, (done, before)
    assert woken.exit_code == 3, woken
    assert "sent no heartbeat" in woken.stderr
    assert "Traceback" not in woken.stderr
    assert jobfile.read_bytes() == before
    assert status_of(jobfile) == "success"
    assert len(events(jobfile, "success")) == 1
    assert os.listdir(joblist / "journals") == []
    assert contents(rclone_s3.folder / bucket) == contents(tmp_path / "in")
