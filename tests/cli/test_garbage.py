"""Python looks for garbage rarely while a worker loads, and as usual from the first file on."""

from __future__ import annotations

import subprocess
import sys

import pytest

_SCRIPT = """
import gc, sys
from jobtool.cli.garbage import collecting_rarely_at_first
from jobtool.worker.events import JobClaimed, JobListed, TriedAgain

claimed = JobClaimed(job="a", stem="a", status="todo", attempt=1)
ends = {
    "listed": [JobListed(job="a", files=1, bytes=1, files_done=0, bytes_done=0)],
    "tried": [TriedAgain(job="a", reason="busy")],
    "never": [],
}[sys.argv[1]]
usual, told = gc.get_threshold(), []
with collecting_rarely_at_first(told.append) as emit:
    emit(claimed)
    assert gc.get_threshold() > usual and not gc.get_freeze_count()
    for event in ends * 2:
        emit(event)
        assert gc.get_threshold() == usual and gc.get_freeze_count() > 1000
assert gc.get_threshold() == usual
assert told == [claimed, *ends * 2]
"""


@pytest.mark.parametrize("ends", ["listed", "tried", "never"])
def test_until_files_move_or_the_worker_ends(ends: str) -> None:
    subprocess.run([sys.executable, "-c", _SCRIPT, ends], check=True)
