"""A step for jobtool: the MD5 of each file of a job, beside its data, for ``md5sum --check``."""

from __future__ import annotations

import time
from hashlib import md5

from jobtool.errors import JobtoolError
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.steps.step import StepContext
from jobtool.stop import until_stopped
from jobtool.stores.location import parent_of
from jobtool.stores.optional import Temporaries
from jobtool.stores.store import Attributes, Store, mismatch


class Md5Sums:
    """Writes ``DESTINATION.md5`` from the receipts, so that no file is read again.

    Files whose receipts have no MD5 are named in the job's log.
    """

    name = "md5sums"

    def run(self, claimed_job: ClaimedJob, context: StepContext) -> None:
        """Write the list beside the job's folder. It replaces the list of an earlier attempt."""
        job = claimed_job.job
        if job.files or job.destination is None:
            raise JobtoolError("expected a job that copies one folder; found one of named files")
        folder, name = parent_of(job.destination)
        store = context.destination(folder)
        digests = {}
        # Reading a million receipts takes a while; the worker may be asked to stop meanwhile.
        for receipt in until_stopped(context.receipts(), context.stop, "reading receipts"):
            path = receipt.dst_path.removeprefix(store.url.rstrip("/") + "/")
            digests[path] = receipt.hashsum_dst  # the last receipt of a file is in force
        lines = (line_of(digest, path) for path, digest in sorted(digests.items()) if digest)
        data = "".join(lines).encode("utf-8", "surrogateescape")
        target = f"{name}.md5"
        # A worker that was killed while writing may have left a hidden file.
        if isinstance(store, Temporaries):
            for leftover in store.leftovers(target, 0):
                store.abort(leftover)
        context.require_held()
        context.retry.call(lambda: write(store, target, data))
        store.sync()
        lacking = [path for path, digest in digests.items() if digest is None]
        for path in lacking:
            context.log("without-md5", path=store.url_of(path))
        context.log("written", path=store.url_of(target), files=len(digests) - len(lacking))


def write(store: Store, path: str, data: bytes) -> None:
    """Write a small file; raises ``DigestMismatchError`` if the store holds something else."""
    attributes = Attributes(mtime_ns=time.time_ns(), md5=md5(data).hexdigest())
    proof = store.write(path, [data], attributes)
    # If the store gave no proof, have it read the file.
    found = store.digest(path) if proof is None else proof.md5
    if found != attributes.md5:
        store.delete(path)
        raise mismatch(store.url_of(path), sent=attributes.md5, found=found)


def line_of(digest: str, path: str) -> str:
    """Return a line as GNU md5sum writes it. A backslash in front marks escapes in the name."""
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == path else chr(92)}{digest}  {escaped}\n"
