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

from jobtool.failpoints import Failpoint, install
from jobtool.stores.local import small

THREADS = 2
DEADLINE_SECONDS = 60


def _any_call(*arguments: object, **named: object) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class At:
    """A failpoint of the package, if it is about what ``counts`` accepts.

    The process dies at once or, for records, once the journal on disk has one of that kind. With
    ``is_flushed`` all records so far are on disk.
    """

    point: Failpoint
    counts: Callable[..., bool] = _any_call
    is_on_record: bool = False
    is_flushed: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A call of ``owner.name`` whose arguments ``counts`` accepts.

    The owner is the module ``os``, the border to the kernel, or a class with the public protocol of
    a store. The process dies before the call, after it, or where it writes bytes with half of them
    written.
    """

    when: Literal["before", "half", "after"]
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


_STORE_CLASSES = {
    "file": "jobtool.stores.local:LocalStore",
    "hdfs": "jobtool.stores.hdfs.store:HdfsStore",
    "s3": "jobtool.stores.s3.store:S3Store",
    "webhdfs": "jobtool.stores.hdfs.store:HdfsStore",
}
_OS = "os"
_STORE = "the destination's store"

STEPS: dict[str, At | Call] = {
    # The claim.
    "before the claim": At("before the claim"),
    "after the claim": At("after the claim"),
    "before the claim's release": At("before the claim's release"),
    "after the claim's release": At("after the claim's release"),
    # The job file: its first change makes the job ongoing, its last says success.
    "before the job file is changed": At("before the job file is changed"),
    "before the new job file is synced": Call("before", _OS, "fsync", _stages_job_file),
    "before the new job file is renamed": Call("before", _OS, "rename", _renames_to(".txt")),
    "after the new job file is renamed": Call("after", _OS, "rename", _renames_to(".txt")),
    "after the job file is changed": At("after the job file is changed"),
    "before the job file's log grows": At("before the job file's log grows"),
    "in the middle of a line of the job file's log": Call("half", _OS, "write", _writes_to(".txt")),
    # The plan.
    "before the plan": At("before the plan"),
    "after the plan": At("after the plan"),
    "after looking at the destination": At("after looking at the destination"),
    "after reading the records": At("after reading the records"),
    # Files written whole.
    "before a file is put": Call("before", _STORE, "write"),
    "before a file's bytes are written": Call("before", _OS, "pwrite"),
    "in the middle of a file's bytes": Call("half", _OS, "pwrite"),
    "before a file is published": Call("before", _OS, "rename", _publishes),
    "after a file is published": Call("after", _OS, "rename", _publishes),
    "after a file is put": Call("after", _STORE, "write"),
    # Files in parts.
    "before an upload is begun": Call("before", _STORE, "begin"),
    "after an upload is begun": Call("after", _STORE, "begin"),
    "after an upload is noted": At("after a record", _records("UploadRecord")),
    "before a part is sent": Call("before", _STORE, "put_part"),
    "after a part is sent": Call("after", _STORE, "put_part"),
    "after a part is noted": At("after a record", _records("PartRecord")),
    "before an upload is completed": Call("before", _STORE, "complete"),
    "after an upload is completed": Call("after", _STORE, "complete"),
    # Receipts and the journal.
    "after a part is on record": At("after a record", _records("PartRecord"), is_on_record=True),
    "after a receipt is on record": At("after a record", _records("Receipt"), is_on_record=True),
    "before a receipt": At("before a record", _records("Receipt")),
    "after a receipt": At("after a record", _records("Receipt")),
    "before the journal is flushed": At("before the journal is flushed"),
    "before the journal is written": Call("before", _OS, "write", _writes_to(".jsonl")),
    "in the middle of the journal's lines": Call("half", _OS, "write", _writes_to(".jsonl")),
    "before the journal is synced": Call("before", _OS, "fsync", _writes_to(".jsonl")),
    "after the journal is flushed": At("after the journal is flushed"),
    "before the destination is synced": Call("before", _STORE, "sync"),
    "after the destination is synced": Call("after", _STORE, "sync"),
    # The end of the job.
    "before the table": At("before the table"),
    "before the table is synced": Call("before", _OS, "fsync", _stages_table),
    "before the table is renamed": Call("before", _OS, "rename", _renames_to(".parquet")),
    "after the table is renamed": Call("after", _OS, "rename", _renames_to(".parquet")),
    "after the table": At("after the table"),
    "before the journal is removed": At("before the journal is removed"),
    "after the journal is removed": At("after the journal is removed"),
    # What only a job that is taken up again does.
    "before leftovers are removed": At("before leftovers are removed"),
    "before an upload is dropped": Call("before", _STORE, "abort"),
    "after an upload is dropped": Call("after", _STORE, "abort"),
    "after the held parts are known": Call("after", _STORE, "held_parts"),
    "before an existing file is proven": Call("before", _STORE, "prove"),
    "after an existing file is proven": Call("after", _STORE, "prove"),
}


#: Those of many small files, which a thread sends at a time.
TOGETHER_STEPS: dict[str, At | Call] = {
    "after files are read together": Call("after", _STORE, "read_together"),
    "before files are put together": Call("before", _STORE, "write_together"),
    "after files are put together": Call("after", _STORE, "write_together"),
    "after one of the receipts": At("after a record", _records("Receipt")),
    "after one of the receipts is on record": At(
        "after a record", _records("Receipt"), is_on_record=True
    ),
}


# Those of exports, and what only they do.
_STAGING = "jobtool.export.staging:Staging"
_LOG = "jobtool.export.chunklog:ChunkLog"


def _writes_chunks(descriptor: int, *rest: object) -> bool:
    return "/chunks/" in os.readlink(f"/proc/self/fd/{descriptor}")


EXPORT_STEPS: dict[str, At | Call] = {
    "after a chunk's record": At("after a chunk's record"),
    "after a chunk's record and all receipts": At("after a chunk's record", is_flushed=True),
    "after the rows have changed": At("after the rows have changed"),
    "before leftovers of chunks are removed": At("before leftovers of chunks are removed"),
    "before a chunk is staged": Call("before", _STAGING, "stage"),
    "before a chunk's record": Call("before", _LOG, "append"),
    "in the middle of a line of the chunks' log": Call("half", _OS, "write", _writes_chunks),
    "before the chunks' log is synced": Call("before", _OS, "fsync", _writes_chunks),
    "after a line of the chunks' log": Call("after", _LOG, "append"),
    "before a staged file is removed": Call("before", _STAGING, "remove"),
    "after a staged file is removed": Call("after", _STAGING, "remove"),
    "before the staging folder is removed": Call("before", _STAGING, "close"),
    "before a stale file is removed": Call("before", _STORE, "delete"),
    "after a stale file is removed": Call("after", _STORE, "delete"),
}


#: Those of the steps of packages. Any other step may be theirs, too.
_DIGESTS = "jobtool.packages.memberdigests:MemberDigests"


def _stages_leg(descriptor: int) -> bool:
    return "/legs/" in os.readlink(f"/proc/self/fd/{descriptor}")


PACKAGE_STEPS: dict[str, At | Call] = {
    "before a leg's file is synced": Call("before", _OS, "fsync", _stages_leg),
    "after a leg is taken": At("after a leg is taken"),
    "after the way is planned": At("after the way is planned"),
    "before the digests of members are written": Call("before", _DIGESTS, "flush"),
    "after the index was made": At("after the index was made"),
    "after the next leg's job": At("after the next leg's job"),
    "before the index is renamed": Call("before", _OS, "rename", _renames_to(".index.parquet")),
    "before the manifest is renamed": Call("before", _OS, "rename", _renames_to(".manifest.json")),
    "after the manifest is renamed": Call("after", _OS, "rename", _renames_to(".manifest.json")),
}


#: Those of a catalog's compaction.
COMPACTION_STEPS: dict[str, At | Call] = {
    "before a compacted file is written": At("before a compacted file is written"),
    "in the middle of a compacted file": Call("half", _OS, "pwrite"),
    "after a compacted file is put": Call("after", _STORE, "write"),
    "before a compacted file is read back": Call("before", _STORE, "digest"),
    "after a compacted file is written": At("after a compacted file is written"),
    "after a compaction is marked": At("after a compaction is marked"),
    "before an input of a compaction is removed": At("before an input of a compaction is removed"),
    "after an input of a compaction is removed": Call("after", _STORE, "delete"),
    "after the inputs of a compaction are removed": At(
        "after the inputs of a compaction are removed"
    ),
}

# Those of a release: to the trash, and out of it.


def _writes_deletions(descriptor: int, *rest: object) -> bool:
    return "/deletions/" in os.readlink(f"/proc/self/fd/{descriptor}")


def _renames_a_file(old: str, new: str, **folders: int) -> bool:
    return "src_dir_fd" in folders


def _unlinks_a_file(name: str, **folders: int) -> bool:
    return "dir_fd" in folders


MOVING_STEPS: dict[str, At | Call] = {
    "before a deletion's record": At("before a deletion's record"),
    "in the middle of a deletion's record": Call("half", _OS, "write", _writes_deletions),
    "before a deletion's record is synced": Call("before", _OS, "fsync", _writes_deletions),
    "after a deletion's record": At("after a deletion's record"),
    "before files are moved to the trash": At("before files are moved to the trash"),
    "before the record in the trash": Call("before", _OS, "rename", _renames_to("release.json")),
    "after the record in the trash": Call("after", _OS, "rename", _renames_to("release.json")),
    "before a file is moved to the trash": At("before a file is moved to the trash"),
    "before a file is renamed": Call("before", _OS, "rename", _renames_a_file),
    "after a file is renamed": Call("after", _OS, "rename", _renames_a_file),
    "after a file is moved to the trash": At("after a file is moved to the trash"),
}
RETURNING_STEPS: dict[str, At | Call] = {
    "while a file is put back": At("while a file is put back"),
}
REMOVING_STEPS: dict[str, At | Call] = {
    "before a removal's record": At("before a deletion's record"),
    "in the middle of a removal's record": Call("half", _OS, "write", _writes_deletions),
    "after a removal's record": At("after a deletion's record"),
    "before a file is removed from the trash": At("before a file is removed from the trash"),
    "before a file is unlinked": Call("before", _OS, "unlink", _unlinks_a_file),
    "after a file is unlinked": Call("after", _OS, "unlink", _unlinks_a_file),
    "after a file is removed from the trash": At("after a file is removed from the trash"),
}


#: Those of a worker that has staged files, and of what frees them.
STAGING_STEPS: dict[str, At | Call] = {
    "after the receipts of staged files are stored": At(
        "after the receipts of staged files are stored"
    ),
    "after an arrival is recorded": At("after an arrival is recorded"),
    "after a staged copy is in the catalog": At("after a staged copy is in the catalog"),
}
UNSTAGING_STEPS: dict[str, At | Call] = {
    "after a deletion of staged files is announced": At(
        "after a deletion of staged files is announced"
    ),
    "after a staged copy counts no more": At("after a staged copy counts no more"),
    "after a staged file is deleted": At("after a staged file is deleted"),
    "after the staged files are deleted": At("after the staged files are deleted"),
}


def arm(step: At | Call, nth: int, store: str) -> None:
    """Have this process die at the ``nth`` time that it reaches ``step``."""
    if isinstance(step, At):
        _arm_point(step, nth)
    else:
        _arm_call(step, nth, store)


def _arm_point(step: At, nth: int) -> None:
    number = itertools.count(1)

    journals: dict[str, Any] = {}

    def hook(point: Failpoint, *subjects: Any) -> None:
        if point == "before a record":
            journals[subjects[0].path] = subjects[0]
        if point == step.point and step.counts(*subjects) and next(number) == nth:
            if step.is_on_record:
                _wait_for_record(*subjects)
            if step.is_flushed:
                for journal in journals.values():
                    journal.flush()
            die()

    install(hook)


def _arm_call(step: Call, nth: int, store: str) -> None:
    if step.owner == _OS or (step.owner, step.name) == (_STORE, "write"):
        small.extension = None  # whose calls can't be counted, and take many files at a time
    module, _, name = (store if step.owner == _STORE else step.owner).partition(":")
    owner = importlib.import_module(module)
    if name:
        owner = getattr(owner, name)
    original = getattr(owner, step.name)
    number = itertools.count(1)

    @functools.wraps(original)
    def call(*arguments: Any, **named: Any) -> Any:
        is_last = step.counts(*arguments, **named) and next(number) == nth
        if is_last and step.when == "before":
            die()
        if is_last and step.when == "half":
            descriptor, data, *rest = arguments
            original(descriptor, memoryview(data)[: len(data) // 2], *rest)
            die()
        result = original(*arguments, **named)
        if is_last:
            die()
        return result

    setattr(owner, step.name, call)


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


def store_class(place: str) -> str:
    """Return the class of the store at a path or URL, as ``arm`` takes it."""
    scheme, separator, _ = place.partition("://")
    return _STORE_CLASSES[scheme if separator else "file"]


def main() -> None:
    """Work on a joblist, and die at the step."""
    step, nth, joblist = sys.argv[1:]
    settings = tomllib.loads((Path(joblist) / "joblist.toml").read_text())
    steps = {**STEPS, **TOGETHER_STEPS, **EXPORT_STEPS, **PACKAGE_STEPS}
    arm(steps[step], int(nth), store_class(settings.get("destination", "/")))  # of packages: local
    from jobtool.cli import transfer

    sys.argv = ["transfer-worker", "-i", joblist, "--threads", str(THREADS)]
    transfer.main()


if __name__ == "__main__":
    main()
