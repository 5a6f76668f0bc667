"""The memory that a copy in parts takes, in addition to its parts.

    python tests/benchmarks/memory.py FOLDER [--mebibytes N] [--part-mebibytes N ...]

Sends a file of holes to ``rclone serve s3`` on the same machine, then from there to another bucket,
and prints by how much the resident memory of this process was above what it was before, at most.
Two parts, or 96 MiB, should be the most. FOLDER is best on a tmpfs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from jobtool.jobs.journal import Journal
from jobtool.stop import Stop
from jobtool.stores.local import LocalStore
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Store, entry_of
from jobtool.transfer.copy import Copier
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.plan import Plan, Route
from tests.servers.s3 import rclone_server

MEBIBYTE = 1024 * 1024


def main() -> int:
    """Run it; return 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mebibytes", type=int, default=1000)
    parser.add_argument("--part-mebibytes", type=int, nargs="*", default=[16, 200])
    arguments = parser.parse_args()
    root = arguments.folder / "jobtool-memory"
    shutil.rmtree(root, ignore_errors=True)
    (root / "source").mkdir(parents=True)
    (root / "server").mkdir()
    with open(root / "source" / "large", "wb") as file:
        file.truncate(arguments.mebibytes * MEBIBYTE)
    with rclone_server(root / "server") as server:
        os.environ.update(server.environment)
        for part_mebibytes in arguments.part_mebibytes:
            buckets = [f"s3://{server.new_bucket()}" for _ in range(2)]
            stores = [StoreRegistry().open(bucket, "destination") for bucket in buckets]
            for name, source in (
                ("from a folder", LocalStore(str(root / "source"))),
                ("from S3", stores[0]),
            ):
                destination = stores[0] if name == "from a folder" else stores[1]
                most = peak_mebibytes(source, destination, root, part_mebibytes)
                print(f"parts of {part_mebibytes:>4} MiB, {name:<13} {most:>6} MiB more at most")
    shutil.rmtree(root)
    return 0


def peak_mebibytes(source: Store, destination: Store, root: Path, part_mebibytes: int) -> int:
    """Copy; return by how much memory grew meanwhile, at most."""
    plan = Plan()
    plan.start_route(Route(source, destination))
    plan.add(entry_of(source, "large"))
    item = plan.item(0)
    journal = Journal(str(root / "journal.jsonl"))
    log = Ledger(plan, journal).log_of(0, item)
    copier = Copier(threads=4, part_bytes=part_mebibytes * MEBIBYTE)
    before, most, is_over = resident_mebibytes(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not is_over.is_set():
            most = max(most, resident_mebibytes())
            time.sleep(0.01)

    watching = threading.Thread(target=watch)
    watching.start()
    copier.copy(item, log, stop=Stop(), on_bytes=lambda size: None)
    is_over.set()
    watching.join()
    copier.close()
    journal.close()
    return most - before


def resident_mebibytes() -> int:
    """Return the resident memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // MEBIBYTE


if __name__ == "__main__":
    sys.exit(main())
