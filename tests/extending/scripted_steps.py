"""Steps that do what a file in ``$STEPS_FOLDER`` says: fail, wait, or kill their worker.

``NAME.order`` is what to do, ``NAME.runs`` gets a line for each time that the step was called.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from jobtool.errors import FileError, StoppedError, StoreError
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.steps.step import StepContext


class Scripted:
    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, claimed_job: ClaimedJob, context: StepContext) -> None:
        folder = Path(os.environ["STEPS_FOLDER"])
        with (folder / f"{self.name}.runs").open("a") as runs:
            runs.write(f"{claimed_job.job.name}\n")
        order = folder / f"{self.name}.order"
        what = order.read_text() if order.exists() else ""
        if what == "fail":
            raise StoreError("the tape robot doesn't answer")
        if what == "refuse":
            raise FileError("there is no such project")
        if what == "be wrong":
            raise ValueError("seven")
        if what == "exit":
            sys.exit(2)
        if what == "stop":
            raise StoppedError("its own program was stopped")
        if what == "die":
            order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "wait":
            while not context.stop.wait(1):
                pass
            raise StoppedError("stopped while waiting for the tape robot")
        context.log("told", receipts=sum(1 for _ in context.receipts()))


def check() -> Scripted:
    return Scripted("check")


def note() -> Scripted:
    return Scripted("note")


def misnamed() -> Scripted:
    return Scripted("another")
