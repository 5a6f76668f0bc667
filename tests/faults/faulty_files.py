"""Transfers a small tree repeatedly, each time with another fault of the filesystem.

Run as ``python -m tests.faults.faulty_files FOLDER`` with ``faults.c`` preloaded: one process
for all faults. Prints a line for each fault that a transfer didn't handle correctly, and the
number of faults that struck.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobtool.errors import JobtoolError
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import Receipt
from jobtool.stop import Stop
from jobtool.stores.local import LocalStore
from jobtool.stores.store import Special, Unlisted
from jobtool.transfer.copy import Copier
from jobtool.transfer.leftovers import remove_leftovers
from jobtool.transfer.plan import Plan, Route
from jobtool.transfer.policies import Policies
from jobtool.transfer.retry import Retry
from jobtool.transfer.run import JobTransfer
from tests.transfer.states import make_ledger
from tests.trees import contents, write

PART_BYTES = 4096
NEW = {
    "small": b"new" * 500,
    "sub/large": bytes(range(256)) * 40,  # three parts
    "sub/deep/none": b"",
    **{f"sub/many/{number}": b"%d" % number for number in range(24)},  # some go together
}
OLD = {"small": b"old" * 500, "sub/large": b"another"}
LINK, LINK_TARGET, EMPTY_FOLDER = "sub/link", "large", "sub/empty"
ERRORS = (0, *map(errno.__dict__.get, "EIO EDQUOT EACCES EPERM EINTR ENOSPC ESTALE".split()))
BYTES = ("read", "pread", "pwrite")
CALLS = {
    "in": ("open", "read", "pread", "close", "fstat", "stat", "readdir", "readlink"),
    "out": (
        *("open", "read", "pread", "pwrite", "close", "fstat", "stat", "readdir", "fdatasync"),
        *("syncfs", "renameat", "renameat2", "unlinkat", "mkdir", "mkdirat", "symlinkat"),
    ),
}
WORK_DONE = ("renameat", "mkdirat")  # calls that may have an effect although they return an error
SKIPS = (0, 2)
ALWAYS = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A fault: of which call, below which folder, which error, after how many, how often."""

    call: str
    side: str
    error: int
    skip: int
    times: int
    may_replace: bool

    def __str__(self) -> str:
        name = errno.errorcode[abs(self.error)] if self.error else "short"
        late = " after its work" if self.error < 0 else ""
        often = "always" if self.times == ALWAYS else f"{self.times} times"
        kind = "" if self.may_replace else ", nothing replaced"
        return f"{self.call} in {self.side}: {name}{late}, {often} after {self.skip}{kind}"


def cases() -> Iterator[Case]:
    """Yield every fault that is tried."""
    for side, calls in CALLS.items():
        for call, error, skip in itertools.product(calls, ERRORS, SKIPS):
            if error == 0 and call not in BYTES:
                continue
            signs = (1, -1) if call in WORK_DONE else (1,)
            for sign, times in itertools.product(signs, (1, ALWAYS)):
                if times == ALWAYS and (error == errno.EINTR or skip):
                    continue  # after EINTR Python itself repeats the call for ever
                for may_replace in {True, call not in ("renameat2", "unlinkat")}:
                    yield Case(
                        call=call,
                        side=side,
                        error=sign * error,
                        skip=skip,
                        times=times,
                        may_replace=may_replace,
                    )


class Place:
    """A source, a destination that holds older files, and a journal."""

    def __init__(self, root: Path, *, may_replace: bool) -> None:
        self.root = root
        self.may_replace = may_replace
        self.old = OLD if may_replace else {}
        for path, data in NEW.items():
            write(root / "in" / path, data)
        (root / "in" / EMPTY_FOLDER).mkdir()
        (root / "in" / LINK).symlink_to(LINK_TARGET)
        (root / "out").mkdir()
        for path, data in self.old.items():
            write(root / "out" / path, data)

    def transfer(self) -> JobTransfer:
        """Make one attempt, as a worker does."""
        source = LocalStore(str(self.root / "in"), links="keep")
        destination = LocalStore(str(self.root / "out"), owner="job", links="keep")
        plan = Plan()
        plan.start_route(Route(source, destination))
        plan.is_tree = True
        for entry in source.list():
            if isinstance(entry, Unlisted):
                raise entry.error
            if isinstance(entry, Special):
                plan.add_special(entry)
            else:
                plan.add(entry)
        journal = Journal(str(self.root / "journal"))
        stop = Stop()
        ledger = make_ledger(plan, journal.read(), journal=journal, attempt=2)
        remove_leftovers(ledger, is_stopping=stop.is_set)
        copier = Copier(threads=1, part_bytes=PART_BYTES)
        policies = Policies(links="keep", if_exists="verify" if self.may_replace else "error")
        transfer = JobTransfer(
            ledger,
            copier,
            policies=policies,
            threads=1,
            worker="node:1",
            stop=stop,
            retry=Retry(tries=3, patience_seconds=0, sleep=lambda seconds: None),
        )
        try:
            transfer.run(lambda progress: None)
        finally:
            copier.close()
            journal.close()
        return transfer

    def receipts(self) -> list[str]:
        """The files, as paths below the destination, that have a receipt."""
        records = Journal(str(self.root / "journal")).read()
        root = f"{self.root}/out/"
        return [r.dst_path.removeprefix(root) for r in records if isinstance(r, Receipt)]

    def stumps(self) -> list[str]:
        """What is wrong at the destination now, at any stage of the transfer."""
        found = contents(self.root / "out")
        kept = {path: data for path, data in found.items() if not is_temporary(path)}
        wrong = [
            f"{path} holds {len(data)} bytes that are neither the old file nor the new"
            for path, data in kept.items()
            if path != LINK and data not in (NEW.get(path), self.old.get(path))
        ]
        wrong += [f"the old {path} is gone" for path in self.old.keys() - kept.keys()]
        return wrong + [
            f"{path} has a receipt and isn't there"
            for path in self.receipts()
            if found.get(path) != NEW[path]
        ]


def is_temporary(path: str) -> bool:
    """Return True if a file isn't finished."""
    return os.path.basename(path).startswith(".jobtool-")


def meet(case: Case, root: Path, faults: ctypes.CDLL) -> tuple[bool, list[str]]:
    """Transfer with a fault, then without. Return whether it struck, and what went wrong."""
    place = Place(root, may_replace=case.may_replace)
    where = f"{root}/{case.side}".encode()
    faults.fault_arm(case.call.encode(), where, case.error, case.skip, case.times)
    failure: JobtoolError | None = None
    try:
        with contextlib.ExitStack() as stack:
            stack.callback(faults.fault_arm, b"", b"", 0, 0, 0)
            try:
                transfer = place.transfer()
            finally:
                has_struck = faults.fault_hits() > 0
    except JobtoolError as error:
        failure, is_complete = error, False
    else:
        is_complete = transfer.is_complete
    wrong = place.stumps()
    if is_complete:
        wrong += missing(place, "success")
    is_lost = case.call == "syncfs" and has_struck and case.error != errno.EINTR
    if is_lost and (failure is None or place.receipts()):
        wrong.append(f"receipts for what didn't reach its medium: {place.receipts()}")
    try:
        transfer = place.transfer()
    except JobtoolError as error:
        return has_struck, [*wrong, f"the next attempt: {error}"]
    wrong += [f"the next attempt: {failure.error}" for failure in transfer.failures]
    if not transfer.failures and not transfer.is_complete:
        wrong.append("the next attempt: not complete")
    left = [path for path in contents(root / "out") if is_temporary(path)]
    return has_struck, [*wrong, *missing(place, "the next attempt"), *(f"left: {p}" for p in left)]


def missing(place: Place, when: str) -> list[str]:
    """What is missing after a success."""
    found = contents(place.root / "out")
    wrong = [
        f"{when}: {path} isn't as sent" for path, data in NEW.items() if found.get(path) != data
    ]
    if not os.path.islink(place.root / "out" / LINK):
        wrong.append(f"{when}: no link")
    if not os.path.isdir(place.root / "out" / EMPTY_FOLDER):
        wrong.append(f"{when}: no empty folder")
    return wrong


def main() -> None:
    """Try every fault."""
    base = Path(sys.argv[1])
    faults = ctypes.CDLL(None)
    struck = 0
    for number, case in enumerate(cases()):
        root = base / f"{number:04}"
        try:
            has_struck, wrong = meet(case, root, faults)
        except Exception as error:  # reported like any other
            has_struck, wrong = True, [f"{type(error).__name__}: {error}"]
        faults.fault_arm(b"", b"", 0, 0, 0)
        struck += has_struck
        for text in wrong:
            print(f"{case}: {text}")
        shutil.rmtree(root)
    print(f"{struck} faults struck")


if __name__ == "__main__":
    main()
