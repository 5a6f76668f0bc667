"""Named points in the life of a job, at which a test may act: kill the process, or wait.

Nothing happens at a point unless the process itself has called ``install``. No option, environment
variable or file does so. A point costs one comparison. It may be reached for each record, but not
for each block of bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Failpoint = Literal[
    "before the claim",
    "after the claim",
    "before the claim's release",
    "after the claim's release",
    "before the job file is changed",
    "after the job file is changed",
    "before the job file's log grows",
    "before the plan",
    "after the plan",
    "after looking at the destination",
    "after reading the records",
    "before leftovers are removed",
    "before leftovers of chunks are removed",
    "after a chunk's record",
    "after the rows have changed",
    "after the mark of an export anew",
    "after the chunks of a job count no more",
    "after a job is to be exported anew",
    "after a leg is taken",
    "after the way is planned",
    "after the index was made",
    "after the next leg's job",
    "after a package is recorded as received",
    "after a job of a received package",
    "after the receipts of staged files are stored",
    "after an arrival is recorded",
    "after a staged copy is in the catalog",
    "after a deletion of staged files is announced",
    "after a staged copy counts no more",
    "after a staged file is deleted",
    "after the staged files are deleted",
    "before a record",
    "after a record",
    "before the journal is flushed",
    "after the journal is flushed",
    "before the table",
    "after the table",
    "before the journal is removed",
    "after the journal is removed",
    "before a compacted file is written",
    "after a compacted file is written",
    "after a compaction is marked",
    "before an input of a compaction is removed",
    "after the inputs of a compaction are removed",
    "before a package's members are written",
    "after a package's members are written",
    "before a package's job is written",
    "before a deletion's record",
    "after a deletion's record",
    "before files are moved to the trash",
    "before a file is moved to the trash",
    "after a file is moved to the trash",
    "before an object is deleted",
    "while a file is put back",
    "before an object that was put back is deleted from the trash",
    "before a file is removed from the trash",
    "after a file is removed from the trash",
    "after the list of extra files is written",
    "before the receipts of deleted files are dropped",
    "after the receipts of deleted files are dropped",
]

#: Called with the point and with what it is about. It may run in any thread.
Hook = Callable[..., None]

_hook: Hook | None = None


def reach(point: Failpoint, *subjects: object) -> None:
    """Call the hook, if one is installed."""
    if _hook is not None:
        _hook(point, *subjects)


def install(hook: Hook | None) -> None:
    """Have ``hook`` called at each point of this process; None removes it."""
    global _hook  # noqa: PLW0603 - one hook for the whole process
    _hook = hook
