"""A worker that kills itself at a named step of a job's life, as the kernel would: SIGKILL.

Run as ``python -m tests.faults.victim STEP NTH JOBLIST``: a ``transfer-worker`` on the joblist
that dies at the NTH time that STEP is reached. One that never reaches it ends as a worker does.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import signal
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

THREADS = 2
DEADLINE_SECONDS = 60


def _any_call(*arguments: object) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Step:
    """A call of ``owner.name``, a module's or class's, whose arguments ``counts`` accepts.

    The process dies before it, after it, where it writes bytes with half of them written, or, for
    records, once the journal on disk has one of that kind.
    """

    when: Literal["before", "half", "after", "on record"]
    owner: str
    name: str
    counts: Callable[..., bool] = _any_call


def _renames_to(ending: str) -> Callable[..., bool]:
    def counts(old: str, new: str, **folders: int) -> bool:
        return new.endswith(ending)

    return counts


def _publishes(old: str, new: str, **folders: int) -> bool:
    return old.endswith(".part")


def _writes_to(ending: str) -> Callable[..., bool]:
    def counts(descriptor: int, *rest: object) -> bool:
        return os.readlink(f"/proc/self/fd/{descriptor}").endswith(ending)

    return counts


def _stages_job_file(descriptor: int) -> bool:
    return ".txt." in os.readlink(f"/proc/self/fd/{descriptor}")


def _stages_table(descriptor: int) -> bool:
    return ".parquet." in os.readlink(f"/proc/self/fd/{descriptor}")


def _records(kind: str) -> Callable[..., bool]:
    def counts(journal: object, record: object) -> bool:
        return type(record).__name__ == kind

    return counts


def _flushes_something(journal: Any, *rest: object) -> bool:
    return bool(journal.has_pending)


_CLAIMS = "jobtool.jobs.claim:Claims"
_CLAIM = "jobtool.jobs.claim:Claim"
_JOBLIST = "jobtool.jobs.joblist:JobList"
_JOURNAL = "jobtool.jobs.journal:Journal"
_COPY_STEP = "jobtool.worker.copystep"
_RECORDS = "jobtool.worker.jobrecords"
_COMPACTION = "jobtool.worker.compaction"
_OS = "os"
_STORE = "the destination's store"

STEPS = {
    # The claim.
    "before the claim": Step("before", _CLAIMS, "acquire"),
    "after the claim": Step("after", _CLAIMS, "acquire"),
    "before the claim's release": Step("before", _CLAIM, "release"),
    "after the claim's release": Step("after", _CLAIM, "release"),
    # The job file: its first change makes the job ongoing, its last says success.
    "before the job file is changed": Step("before", _JOBLIST, "save"),
    "before the new job file is synced": Step("before", _OS, "fsync", _stages_job_file),
    "before the new job file is renamed": Step("before", _OS, "rename", _renames_to(".txt")),
    "after the new job file is renamed": Step("after", _OS, "rename", _renames_to(".txt")),
    "after the job file is changed": Step("after", _JOBLIST, "save"),
    "before the job file's log grows": Step("before", _JOBLIST, "append"),
    "in the middle of a line of the job file's log": Step("half", _OS, "write", _writes_to(".txt")),
    # The plan.
    "before the plan": Step("before", _COPY_STEP, "open_plan"),
    "after the plan": Step("after", _COPY_STEP, "open_plan"),
    "after looking at the destination": Step("after", _COPY_STEP, "holds_nothing"),
    "after reading the records": Step("after", _RECORDS, "read_table"),
    # Files written whole.
    "before a file is put": Step("before", _STORE, "write"),
    "before a file's bytes are written": Step("before", _OS, "pwrite"),
    "in the middle of a file's bytes": Step("half", _OS, "pwrite"),
    "before a file is published": Step("before", _OS, "rename", _publishes),
    "after a file is published": Step("after", _OS, "rename", _publishes),
    "after a file is put": Step("after", _STORE, "write"),
    # Files in parts.
    "before an upload is begun": Step("before", _STORE, "begin"),
    "after an upload is begun": Step("after", _STORE, "begin"),
    "after an upload is noted": Step("after", _JOURNAL, "append", _records("UploadRecord")),
    "before a part is sent": Step("before", _STORE, "put_part"),
    "after a part is sent": Step("after", _STORE, "put_part"),
    "after a part is noted": Step("after", _JOURNAL, "append", _records("PartRecord")),
    "before an upload is completed": Step("before", _STORE, "complete"),
    "after an upload is completed": Step("after", _STORE, "complete"),
    # Receipts and the journal.
    "after a part is on record": Step("on record", _JOURNAL, "append", _records("PartRecord")),
    "after a receipt is on record": Step("on record", _JOURNAL, "append", _records("Receipt")),
    "before a receipt": Step("before", _JOURNAL, "append", _records("Receipt")),
    "after a receipt": Step("after", _JOURNAL, "append", _records("Receipt")),
    "before the journal is flushed": Step("before", _JOURNAL, "flush", _flushes_something),
    "before the journal is written": Step("before", _OS, "write", _writes_to(".jsonl")),
    "in the middle of the journal's lines": Step("half", _OS, "write", _writes_to(".jsonl")),
    "before the journal is synced": Step("before", _OS, "fsync", _writes_to(".jsonl")),
    "after the journal is flushed": Step("after", _JOURNAL, "flush", _flushes_something),
    "before the destination is synced": Step("before", _STORE, "sync"),
    "after the destination is synced": Step("after", _STORE, "sync"),
    # The end of the job.
    "before the table": Step("before", _COMPACTION, "write_table"),
    "before the table is synced": Step("before", _OS, "fsync", _stages_table),
    "before the table is renamed": Step("before", _OS, "rename", _renames_to(".parquet")),
    "after the table is renamed": Step("after", _OS, "rename", _renames_to(".parquet")),
    "after the table": Step("after", _COMPACTION, "write_table"),
    "before the journal is removed": Step("before", _JOURNAL, "remove"),
    "after the journal is removed": Step("after", _JOURNAL, "remove"),
    # What only a job that is taken up again does.
    "before leftovers are removed": Step("before", _COPY_STEP, "remove_leftovers"),
    "before an upload is dropped": Step("before", _STORE, "abort"),
    "after an upload is dropped": Step("after", _STORE, "abort"),
    "after the held parts are known": Step("after", _STORE, "held_parts"),
    "before an existing file is proven": Step("before", _STORE, "prove"),
    "after an existing file is proven": Step("after", _STORE, "prove"),
}


def arm(step: Step, nth: int, store: str) -> None:
    """Have this process die at the ``nth`` time that it reaches ``step``."""
    module, _, name = (store if step.owner == _STORE else step.owner).partition(":")
    owner = importlib.import_module(module)
    if name:
        owner = getattr(owner, name)
    original = getattr(owner, step.name)
    number = itertools.count(1)

    @functools.wraps(original)
    def call(*arguments: Any, **named: Any) -> Any:
        is_last = step.counts(*arguments) and next(number) == nth
        if is_last and step.when == "before":
            die()
        if is_last and step.when == "half":
            descriptor, data, *rest = arguments
            original(descriptor, memoryview(data)[: len(data) // 2], *rest)
            die()
        result = original(*arguments, **named)
        if is_last and step.when == "on record":
            _wait_for_record(*arguments)
        if is_last:
            die()
        return result

    # A class method comes bound, and so do those of modules: neither wants an owner.
    is_bound = hasattr(original, "__self__") or not name
    setattr(owner, step.name, staticmethod(call) if is_bound and name else call)


def _wait_for_record(journal: Any, record: object) -> None:
    # The journal is written by another thread, once a second.
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not any(type(found) is type(record) for found in journal.read()):
        if time.monotonic() > deadline:
            os._exit(1)
        time.sleep(0.01)


def die() -> None:
    """Be killed; no handler, no ``finally``, no buffer of Python's gets its turn."""
    os.kill(os.getpid(), signal.SIGKILL)
    while True:
        time.sleep(1)


def main() -> None:
    """Work on a joblist, and die at the step."""
    step, nth, joblist = sys.argv[1:]
    settings = tomllib.loads((Path(joblist) / "joblist.toml").read_text())
    is_s3 = settings["destination"].startswith("s3:")
    store = "jobtool.stores.s3.store:S3Store" if is_s3 else "jobtool.stores.local:LocalStore"
    arm(STEPS[step], int(nth), store)
    from jobtool.cli import transfer

    sys.argv = ["transfer-worker", "-i", joblist, "--threads", str(THREADS)]
    transfer.main()


if __name__ == "__main__":
    main()
