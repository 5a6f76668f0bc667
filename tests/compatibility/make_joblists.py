"""Makes the joblists in ``joblists/`` with the jobtool that Python finds, an earlier one.

Run it with a checkout of that version, as root, who may give processes a hostname::

    git worktree add /tmp/earlier e3640ff
    PYTHONPATH=/tmp/earlier unshare --uts sh -c 'hostname node1; \
        exec .venv/bin/python tests/compatibility/make_joblists.py'

Each folder has the joblist as it was left, and ``arrived.json``: the names and sizes of what its
destination held. Workers are slowed down. Those whose work must be under way are killed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer
from place import JOBLISTS, PART_BYTES, ROOT, SOURCES, bucket_of, destination_of, make_source

_WAIT_SECONDS = 60

#: A command that delays each file and part.
_SLOW = """
import importlib, sys, time
from jobtool.stores.local import LocalStore
from jobtool.stores.s3.store import S3Store

seconds, main, *arguments = sys.argv[1:]

def slow(original):
    def call(*arguments, **named):
        time.sleep(float(seconds))
        return original(*arguments, **named)
    return call

for store in (LocalStore, S3Store):
    for name in ("put", "put_part"):
        setattr(store, name, slow(getattr(store, name)))
sys.argv = [main, *arguments]
importlib.import_module(f"jobtool.cli.{main}").main()
"""


def start(seconds: float, main: str, *arguments: object) -> subprocess.Popen[bytes]:
    """Start a command of the earlier version."""
    command = [sys.executable, "-c", _SLOW, str(seconds), main, *map(str, arguments)]
    return subprocess.Popen(command, start_new_session=True)


def run(main: str, *arguments: object) -> int:
    """Run a command of the earlier version to its end; return its exit code."""
    return start(0, main, *arguments).wait()


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is true."""
    end = time.monotonic() + _WAIT_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the joblist never came into its state")
        time.sleep(0.01)


def kinds(journal: Path) -> list[str]:
    """Return the kinds of the whole lines of a journal."""
    lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
    return [json.loads(line)["type"] for line in lines]


def generate(case: str) -> Path:
    """Make the source and a joblist of one job for each of its folders."""
    source, joblist = make_source(case), ROOT / case / "list"
    where = ("-o", joblist, "-d", destination_of(case), "-l", "tree")
    if run("generate", "-i", source, *where) != 0:
        raise RuntimeError(f"no joblist was made for {case}")
    toml = joblist / "joblist.toml"
    toml.write_text(f"{toml.read_text()}\n[transfer]\npart_size_bytes = {PART_BYTES}\n")
    return joblist


def kill(*workers: subprocess.Popen[bytes]) -> None:
    """Kill workers, all at the same moment."""
    for worker in workers:
        os.kill(worker.pid, signal.SIGSTOP)
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()


def leave_ongoing(joblist: Path) -> None:
    """Kill a worker that has files and parts on record."""
    worker = start(0.4, "transfer", "-i", joblist, "--threads", 2)
    journal = joblist / "journals" / "one.jsonl"
    wait_for(lambda: kinds(journal).count("part") >= 2 and kinds(journal).count("file") >= 2)
    kill(worker)


def leave_lent(joblist: Path) -> None:
    """Kill a holder and its helper when one block is being done and another waits."""
    holder = start(0.05, "transfer", "-i", joblist, "--threads", 1)
    wait_for(lambda: (joblist / "one.txt").read_bytes().startswith(b"ongoing"))
    helper = start(0.05, "transfer", "-i", joblist, "--threads", 1)
    blocks = joblist / "journals" / "one.blocks"

    def is_lent() -> bool:
        lent = {path.stem for path in blocks.glob("*.block")}
        begun = {path.stem for path in blocks.glob("*.jsonl") if "file" in kinds(path)}
        done = {path.stem for path in blocks.glob("*.done")}
        return bool(begun - done) and bool(lent - begun - done)

    wait_for(is_lent)
    kill(holder, helper)


def make(case: str) -> None:
    """Bring one joblist into its state."""
    joblist = generate(case)
    if case == "success" and run("transfer", "-i", joblist) != 0:
        raise RuntimeError("a job failed")
    if case == "error":
        unreadable = ROOT / case / "in" / "bad" / "0" / "1.bin"
        unreadable.unlink()
        unreadable.symlink_to("nowhere")
        if run("transfer", "-i", joblist) != 1:
            raise RuntimeError("no job failed")
    if case.startswith("ongoing"):
        leave_ongoing(joblist)
    if case.startswith("lent"):
        leave_lent(joblist)
    if case == "older-form":
        for job in SOURCES[case]:
            (joblist / f"{job}.txt").write_text(
                f"todo\n{ROOT}/{case}/in/{job}\n---\n2024-05-01 12:00:00 - started {job}\n"
            )


def arrived(case: str) -> dict[str, int]:
    """Return the names of what a destination holds, with sizes in bytes."""
    if case.endswith("-s3"):
        answer = boto3.client("s3").list_objects_v2(Bucket=bucket_of(case))
        return {found["Key"]: found["Size"] for found in answer.get("Contents", ())}
    out = ROOT / case / "out"
    files = (path for path in sorted(out.rglob("*")) if path.is_file())
    return {str(path.relative_to(out)): path.stat().st_size for path in files}


def main() -> None:
    """Make all joblists anew."""
    shutil.rmtree(ROOT, ignore_errors=True)
    shutil.rmtree(JOBLISTS, ignore_errors=True)
    ROOT.mkdir(mode=0o700)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    try:
        for case in SOURCES:
            if case.endswith("-s3"):
                boto3.client("s3").create_bucket(Bucket=bucket_of(case))
            make(case)
            shutil.copytree(ROOT / case / "list", JOBLISTS / case)
            names = json.dumps(arrived(case), indent=1)
            (JOBLISTS / case / "arrived.json").write_text(names + "\n")
    finally:
        server.stop()
        shutil.rmtree(ROOT)


if __name__ == "__main__":
    main()
