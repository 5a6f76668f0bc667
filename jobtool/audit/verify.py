"""The audit: whether the destination holds what the receipts say.

Without ``deep``, receipts are compared with what the destination tells of its files: presence,
size, ETag, and the time of a local copy of a local file. Where ETag or time differ the file is
read. With ``deep`` every file is. The source isn't needed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from operator import call

from jobtool.audit.evidence import Times, lack_of_receipts, without_receipt
from jobtool.audit.files import Verdict, look, read
from jobtool.audit.findings import Discrepancy, Findings, Verified
from jobtool.audit.repair import Repair
from jobtool.audit.retry import PutBack
from jobtool.audit.tree import Tree
from jobtool.errors import JobFileError, JobtoolError, Scope, UsageError
from jobtool.events import Emit
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList, reason_of
from jobtool.jobs.journal import read_journals
from jobtool.jobs.records import Receipt
from jobtool.jobs.table import read_table
from jobtool.layouts.destination import with_destination
from jobtool.names import filename_of, quote
from jobtool.report.merged import last_of_each
from jobtool.stores.location import parent_of
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Store
from jobtool.transfer.credentialscopes import credential_scopes_of
from jobtool.transfer.parallel import in_parallel

#: What a repair has sent again. A file that can't be read now may be good.
_MENDED: frozenset[Discrepancy] = frozenset({"missing", "changed", "unproven"})

#: How many stores of named files are kept open.
_MAX_STORES = 1000


class Audit:
    """Compares receipts with destinations and tells what is off.

    ``stores`` opens the destinations; ``threads`` look at named files, and read files, at a time.
    ``watch`` is called with the number of files that they have dealt with.
    """

    def __init__(
        self,
        stores: StoreRegistry,
        emit: Emit,
        *,
        deep: bool,
        threads: int = 16,
        watch: Callable[[int], None] | None = None,
    ) -> None:
        self._stores = stores
        self._emit = emit
        self._deep = deep
        self._threads = threads
        self._watch = watch
        self._findings = Findings(emit)
        self._times = Times(emit)

    def joblist(
        self, joblist: JobList, *, names: frozenset[str] = frozenset(), repair: bool = False
    ) -> Verified:
        """Audit the finished jobs of a joblist; with ``repair`` put those that are off to ``todo``.

        Their receipts of missing and changed files are dropped, so that just these are sent again.
        A job that can't be looked at is told as unreadable, and the others are audited.

        Raises ``WorldError``, having told what was found so far, and ``UsageError`` if a named job
        isn't there.
        """
        left = {filename_of(name): name for name in names}
        mending = Repair(joblist) if repair else None
        with self._summing_up():
            for job_id in joblist.job_ids():
                try:
                    job, log = joblist.load(job_id)
                except (JobFileError, FileNotFoundError) as error:
                    if left.pop(job_id, None) is not None:
                        self._tell(job_id, _unreadable(joblist.path_of(job_id), error))
                    elif not names:
                        self._findings.unfinished_job()
                    continue
                if names and job.name not in names:
                    continue
                left.pop(filename_of(job.name), None)
                if job.status is not JobStatus.SUCCESS:
                    self._findings.unfinished_job()
                    continue
                try:
                    placed = with_destination(job, joblist.settings)
                    self._finished_job(joblist, job_id, placed, log, mending)
                except JobtoolError as error:
                    if error.scope is Scope.STORE:
                        raise
                    self._tell(job.name, _unreadable(job.target, error))
            if left:
                name = quote(min(left.values()))
                raise UsageError(f"there is no job {name} in {quote(joblist.path)}")
        return self._findings.end(is_complete=True)

    def table(self, path: str) -> Verified:
        """Audit a merged verification table; what is extra can't be told from that.

        Raises ``WorldError``, having told what was found so far, and ``JobtoolError`` if it is no
        such table.
        """
        if not os.path.exists(path):
            raise UsageError(f"expected a verification table at {quote(path)}; found nothing")
        with self._summing_up():
            self._named_files("", _by_folder(read_table(path), None))
        return self._findings.end(is_complete=True)

    @contextlib.contextmanager
    def _summing_up(self) -> Iterator[None]:
        """Tell what was found so far where an error ends the audit."""
        try:
            yield
        except JobtoolError:
            if not self._findings.is_empty:
                self._findings.end(is_complete=False)
            raise

    def _finished_job(
        self, joblist: JobList, job_id: str, job: Job, log: bytes, mending: Repair | None
    ) -> None:
        self._stores.reach_job(credential_scopes_of(job))
        receipts = partial(joblist.receipts_of, job_id)
        lines = joblist.journal_of(job_id).read()
        dropped = without_receipt(chain(lines, read_journals(joblist.blocks_path_of(job_id))))
        root = job.destination if not job.files else None
        first = next(receipts(), None)
        if root is not None and (first is None or first.dst_path != root):
            count, off = self._tree(job, root, receipts, dropped)
        else:
            files = _by_folder(last_of_each(receipts), job.destination)
            count, off = self._named_files(job.name, files)
        for url in sorted(dropped - off):
            detail = "its receipt was dropped by a repair that was cut off"
            self._tell(job.name, Verdict(url=url, what="unproven", detail=detail))
        lack = lack_of_receipts(job, log, count)
        if lack and not dropped:
            self._tell(job.name, Verdict(url=job.target, what="unproven", detail=lack))
        if mending is not None and (off or dropped or lack):
            told = mending.job(job_id, job, off | dropped)
            self._emit(told)
            if isinstance(told, PutBack):
                joblist.mark_put_back()

    def _tree(
        self,
        job: Job,
        root: str,
        receipts: Callable[[], Iterator[Receipt]],
        dropped: set[str],
    ) -> tuple[int, set[str]]:
        """Compare a whole tree by one listing; return how many receipts there are, what is off."""
        store = self._stores.open(root, "destination")
        tree = Tree(store, receipts, dropped=dropped, tell=partial(self._tell, job.name))
        tree.compare()
        self._findings.looked_at(files=tree.looked_at, size_bytes=tree.size_bytes)
        doubted = tree.doubted(
            deep=self._deep, times_tell_something=lambda: self._times.tell_something
        )
        reading = (
            partial(read, store, path, receipt, was_doubted_by_time=by_time)
            for path, receipt, by_time in doubted
        )
        return tree.count, tree.off | self._judge(job.name, reading)

    def _named_files(
        self, job: str, receipts: Iterable[tuple[str, str, Receipt]]
    ) -> tuple[int, set[str]]:
        """Compare named files one by one; return how many receipts there are, what is off."""
        count = 0
        stores: dict[str, Store] = {}

        def looking() -> Iterator[Callable[[], Verdict]]:
            nonlocal count
            for folder, name, receipt in receipts:
                count += 1
                self._findings.looked_at(size_bytes=receipt.size)
                if folder not in stores:
                    if len(stores) >= _MAX_STORES:
                        stores.clear()
                    try:
                        stores[folder] = self._stores.open(folder, "destination")
                    except UsageError as error:
                        yield partial(_unreadable, receipt.dst_path, error)
                        continue
                yield partial(
                    look,
                    stores[folder],
                    name,
                    receipt,
                    deep=self._deep,
                    times_tell_something=self._times.tell_something,
                )

        off = self._judge(job, looking())
        return count, off

    def _judge(self, job: str, tasks: Iterable[Callable[[], Verdict]]) -> set[str]:
        """Carry out tasks by threads; tell the verdicts in order; return the URLs to be mended."""
        off: set[str] = set()
        verdicts = in_parallel(call, tasks, threads=self._threads)
        with contextlib.closing(verdicts):
            for done, verdict in enumerate(verdicts, start=1):
                if self._watch is not None:
                    self._watch(done)
                if verdict.what in _MENDED:
                    off.add(verdict.url)
                if verdict.was_doubted_by_time:
                    self._times.unfounded()
                self._tell(job, verdict)
        return off

    def _tell(self, job: str, verdict: Verdict) -> None:
        if verdict.what is not None:
            self._findings.tell(job, verdict.what, verdict.url, verdict.detail)


def _unreadable(url: str, error: Exception) -> Verdict:
    return Verdict(url=url, what="unreadable", detail=reason_of(error))


def _by_folder(receipts: Iterable[Receipt], root: str | None) -> Iterator[tuple[str, str, Receipt]]:
    """Yield each receipt with the store that its file is in, ``root`` where that holds it."""
    inside = None if root is None else root.rstrip("/") + "/"
    for receipt in receipts:
        if root is not None and inside is not None and receipt.dst_path.startswith(inside):
            yield root, receipt.dst_path[len(inside) :], receipt
        else:
            folder, name = parent_of(receipt.dst_path)
            yield folder, name, receipt
