"""A ``generate-joblist --update`` that kills itself at a named step, as the kernel would: SIGKILL.

Run as ``python -m tests.mirror.victim STEP NTH SOURCE JOBLIST OPTIONS…``: it dies at the NTH time
that STEP is reached, or ends with the command's exit code.
"""

from __future__ import annotations

import os
import sys

from tests.faults.victim import MOVING_STEPS, STEPS, At, Call, arm


def _renames_joblist_file(old: str, new: str, **folders: int) -> bool:
    return new.endswith("extra-files.jsonl")


#: What only a second look does, and what it does by the machinery of others.
UPDATING_STEPS: dict[str, At | Call] = {
    name: STEPS[name]
    for name in (
        "after the claim",
        "before the job file is changed",
        "before the new job file is renamed",
        "after the new job file is renamed",
        "before the claim's release",
    )
}
DROPPING_STEPS: dict[str, At | Call] = {
    "before the receipts of deleted files are dropped": At(
        "before the receipts of deleted files are dropped"
    ),
    **{
        name: STEPS[name]
        for name in (
            "in the middle of a line of the job file's log",
            "before the table is synced",
            "before the table is renamed",
            "after the table is renamed",
        )
    },
    "after the receipts of deleted files are dropped": At(
        "after the receipts of deleted files are dropped"
    ),
}
LISTING_STEPS: dict[str, At | Call] = {
    "before the list is renamed": Call("before", "os", "rename", _renames_joblist_file),
    "after the list of extra files is written": At("after the list of extra files is written"),
}
OBJECT_STEPS: dict[str, At | Call] = {
    "before an object is deleted": At("before an object is deleted"),
    "after an object is deleted": Call("after", "jobtool.stores.s3.store:S3Store", "delete_same"),
    "after a file is moved to the trash": At("after a file is moved to the trash"),
}


def main() -> None:
    """Look again, and die at the step."""
    step, nth, source, joblist, *options = sys.argv[1:]
    steps = {**MOVING_STEPS, **UPDATING_STEPS, **DROPPING_STEPS, **LISTING_STEPS, **OBJECT_STEPS}
    arm(steps[step], int(nth), "jobtool.stores.local:LocalStore")
    from jobtool.cli.generate import cli

    os.chdir("/")
    cli.main([source, "-o", joblist, "--update", *options], standalone_mode=False)


if __name__ == "__main__":
    main()
