"""Send a package as a worker does, and be killed on the way.

    python -m tests.packages.sending LIST SOURCE DESTINATION FOLDER ATTEMPT PART_BYTES KILL_AFTER

LIST is a file of members, which lie below SOURCE. FOLDER holds the journal and the log of digests,
and gets the index and the manifest. The process kills itself when KILL_AFTER parts are in the
journal; 0 is never. It prints how many parts it has sent.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from jobtool.jobs.journal import Journal
from jobtool.jobs.records import PartRecord, Receipt
from jobtool.packages.memberdigests import MemberDigests
from jobtool.packages.memberfile import read_members
from jobtool.packages.sidecars import write_sidecars
from jobtool.packages.store import PackageStore
from jobtool.stop import Stop
from jobtool.stores.registry import StoreRegistry
from jobtool.transfer.copy import Copier
from jobtool.transfer.plan import Plan, Route
from jobtool.transfer.retry import Retry
from jobtool.transfer.run import JobTransfer
from tests.transfer.states import make_ledger


class Paced(PackageStore):
    """Waits a little at each read, so that records reach the journal between two parts."""

    pause_seconds = 0.0

    def read(self, entry, offset, length):
        time.sleep(self.pause_seconds)
        return super().read(entry, offset, length)


def parts_of(journal: Journal) -> int:
    """How many parts the journal has on disk."""
    return sum(isinstance(record, PartRecord) for record in journal.read())


def main() -> int:
    """Send the package; return 0 if it has arrived."""
    listed, source, destination, folder, attempt, part_bytes, kill_after = sys.argv[1:]
    members = read_members(listed)
    stores = StoreRegistry()
    package = Paced(
        "package",
        members,
        stores.open(source, "source"),
        digests=MemberDigests(members, log=os.path.join(folder, "md5s")),
    )
    package.pause_seconds = 0.1 if int(kill_after) else 0.0
    plan = Plan()
    plan.start_route(Route(package, stores.open(destination, "destination")))
    plan.is_tree = True
    plan.add(package.entry)
    path = os.path.join(folder, "journal.jsonl")
    journal = Journal(path)
    known = parts_of(journal)
    ledger = make_ledger(plan, journal.read(), journal=journal, attempt=int(attempt))
    copier = Copier(threads=2, part_bytes=int(part_bytes))
    stop = Stop()
    transfer = JobTransfer(
        ledger, copier, threads=2, worker="node:1", stop=stop, retry=Retry(tries=2, stop=stop)
    )

    def tick(progress: object) -> None:
        if int(kill_after) and threading.current_thread() is threading.main_thread():
            ledger.checkpoint()
            package.digests.flush()
            if parts_of(Journal(path)) >= int(kill_after):
                os.kill(os.getpid(), signal.SIGKILL)

    transfer.run(tick)
    assert transfer.is_complete, transfer.failures
    copier.close()
    receipts = [record for record in journal.read() if isinstance(record, Receipt)]
    write_sidecars(folder, package, tar_md5=receipts[-1].hashsum_src)
    package.close()
    print(parts_of(journal) - known)
    return 0


if __name__ == "__main__":
    sys.exit(main())
