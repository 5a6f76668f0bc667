"""The audit: checks that the destination holds what the receipts say.

Without ``deep``, receipts are compared with the destination's listing of its files: presence,
size, ETag and, for local copies of local files, the time. A file whose ETag or time differs is
read. With ``deep``, every file is read. The source isn't needed, but for files whose receipt has
no MD5 and whose checksum can't be found out any more.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice

from msgspec.structs import replace

from jobtool.audit.comparison import Comparison, Result
from jobtool.audit.events import PutBack, Verified
from jobtool.audit.evidence import Times, lack_of_receipts, without_receipt
from jobtool.audit.findings import Findings
from jobtool.audit.putback import left_unreadable
from jobtool.audit.repair import Repair
from jobtool.audit.sample import Drawn, Share, draw
from jobtool.audit.sampledpackage import MOST_FILES, sampled_package
from jobtool.audit.verdict import Verdict, unreadable
from jobtool.errors import (
    JobFileError,
    JobtoolError,
    Scope,
    UnmetRequirementError,
    UsageError,
)
from jobtool.events import Emit
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.journal import read_journals
from jobtool.jobs.lastreceipts import last_of_each
from jobtool.jobs.packagetask import BRINGS_NOTHING
from jobtool.jobs.records import Receipt, planned_dst_path
from jobtool.jobs.requirements import require_understood
from jobtool.jobs.table import read_table
from jobtool.jobs.unknownjob import unknown_job
from jobtool.layouts.destination import with_destination
from jobtool.names import filename_of, quote
from jobtool.release.deletionlog import released_paths
from jobtool.stores.registry import StoreRegistry
from jobtool.transfer.credentialscopes import credential_scopes_of
from jobtool.transfer.selecting import selection_in

#: The steps that bring a package as it is.
_BRING_PACKAGES = ("pack", "copy", "relay", "archive")


class Audit:
    """Compares receipts with destinations and emits the findings.

    ``stores`` opens the destinations. ``threads`` files are checked or read at a time. ``watch`` is
    called with the number of files done; what it raises ends the audit. Each thread calls
    ``on_thread`` first. With a ``sample`` only some files are looked at, which ``seed`` draws, and
    extra files aren't found.
    """

    def __init__(
        self,
        stores: StoreRegistry,
        emit: Emit,
        *,
        deep: bool,
        threads: int = 16,
        watch: Callable[[int], None] | None = None,
        on_thread: Callable[[], None] | None = None,
        sample: Share | None = None,
        seed: str = "",
    ) -> None:
        self._stores = stores
        self._deep = deep
        self._share = sample
        self._seed = seed
        self._drawn: Drawn | None = None
        self._emit = emit
        self._findings = Findings(emit)
        self._released: frozenset[str] = frozenset()
        self._comparison = Comparison(
            stores,
            self._findings,
            Times(emit),
            deep=deep,
            threads=threads,
            watch=watch,
            on_thread=on_thread,
        )

    def joblist(
        self, joblist: JobList, *, names: frozenset[str] = frozenset(), repair: bool = False
    ) -> Verified:
        """Audit the finished jobs of a joblist, or those with ``names``.

        With ``repair``, jobs with findings are put back to ``todo``. Their receipts of missing and
        changed files are dropped, so that only these are sent again. A job that can't be compared
        is reported as unreadable, and the others are audited.

        Raises ``InfrastructureError``, after it has emitted what was found so far, and
        ``UsageError`` if a named job doesn't exist.
        """
        left = {filename_of(name): name for name in names}
        job_ids = _job_ids(joblist, names)
        if joblist.settings.packages is not None:
            self._released = released_paths(joblist, _packages_of(joblist, job_ids, names))
        repairs = Repair(joblist) if repair else None
        with self._summed_up():
            self._draw(self._drawable(joblist, job_ids, names))
            for job_id in job_ids:
                try:
                    job, log = joblist.load(job_id)
                except UnmetRequirementError as error:
                    if left.pop(job_id, None) is not None or not names:
                        self._emit(left_unreadable(job_id, error))
                        self._findings.count_unfinished_job()
                    continue
                except (JobFileError, FileNotFoundError) as error:
                    if left.pop(job_id, None) is not None:
                        self._comparison.add(job_id, unreadable(joblist.path_of(job_id), error))
                    elif not names:
                        self._findings.count_unfinished_job()
                    continue
                if names and job.name not in names:
                    continue
                left.pop(filename_of(job.name), None)
                if job.package is not None and job.package.step in BRINGS_NOTHING:
                    continue
                if job.status is not JobStatus.SUCCESS:
                    self._findings.count_unfinished_job()
                    continue
                try:
                    require_understood(job.requires)
                    placed = with_destination(job, joblist.settings)
                    self._finished_job(joblist, job_id, placed, log, repairs)
                except UnmetRequirementError as error:
                    self._emit(left_unreadable(job.name, error))
                    self._findings.count_unfinished_job()
                except JobtoolError as error:
                    if error.scope is Scope.STORE:
                        raise
                    self._comparison.add(job.name, unreadable(job.target, error))
            if left:
                raise unknown_job(min(left.values()), joblist.job_ids(), joblist=joblist.path)
        return self._findings.finish(is_complete=True)

    def table(self, path: str) -> Verified:
        """Audit a merged receipts table. It doesn't show which files are extra.

        Raises ``InfrastructureError``, after it has emitted what was found so far, and
        ``JobtoolError`` if the file isn't such a table.
        """
        if not os.path.exists(path):
            raise UsageError(f"expected a verification table at {quote(path)}; found nothing")
        with self._summed_up():
            self._draw([("", read_table(path))])
            receipts = read_table(path)
            drawn = receipts if self._drawn is None else self._drawn.of_job("", receipts)
            self._comparison.named_files("", drawn, None)
        return self._findings.finish(is_complete=True)

    @contextlib.contextmanager
    def _summed_up(self) -> Iterator[None]:
        """Emit the sum of the findings so far if an error ends the audit."""
        try:
            yield
        except JobtoolError:
            if not self._findings.is_empty:
                self._findings.finish(is_complete=False)
            raise

    def _receipts(self, joblist: JobList, job_id: str) -> Iterator[Receipt]:
        """Yield the receipts of a job, but for files that were released since."""
        receipts = joblist.receipts_of(job_id)
        if not self._released:
            return receipts
        return (each for each in receipts if each.dst_path not in self._released)

    def _drawable(
        self, joblist: JobList, job_ids: Sequence[str], names: frozenset[str]
    ) -> Iterator[tuple[str, Iterator[Receipt]]]:
        """Yield the name and the receipts of each finished job.

        What can't be read is found later.
        """
        for job_id in job_ids:
            with contextlib.suppress(JobFileError, FileNotFoundError):
                job, _ = joblist.load(job_id)
                if job.status is JobStatus.SUCCESS and (not names or job.name in names):
                    yield job.name, _readable(self._receipts(joblist, job_id))

    def _draw(self, jobs: Iterable[tuple[str, Iterable[Receipt]]]) -> None:
        """Draw the sample, if only one is to be looked at."""
        if self._share is not None:
            self._drawn = draw(self._share, self._seed, jobs)
            self._findings.note_sample(of_files=self._drawn.files, seed=self._seed)

    def _sampled(self, drawn: Drawn, job: Job, receipts: Callable[[], Iterator[Receipt]]) -> Result:
        """Compare a job's drawn files; of a package that is read, a sample of its members."""
        count = 0

        def counted() -> Iterator[Receipt]:
            nonlocal count
            for receipt in last_of_each(receipts):
                count += 1
                yield receipt

        task = job.package if self._deep else None
        if task is not None and task.step in _BRING_PACKAGES and job.destination is not None:
            own = tuple(islice(last_of_each(receipts), MOST_FILES + 1))
            destination = self._stores.open(job.destination, "destination")
            package = sampled_package(destination, job.name, task.package, own, drawn)
            if package is not None:
                return self._comparison.package(job.name, package)
        found = drawn.of_job(job.name, counted())
        result = self._comparison.named_files(job.name, found, job.destination)
        return replace(result, receipts=count)

    def _finished_job(
        self, joblist: JobList, job_id: str, job: Job, log: bytes, repairs: Repair | None
    ) -> None:
        self._stores.reach_job(credential_scopes_of(job))
        receipts = partial(self._receipts, joblist, job_id)
        lines = joblist.journal_of(job_id).read()
        dropped = without_receipt(chain(lines, read_journals(joblist.blocks_path_of(job_id))))
        # Packages share a folder, and so do the items of several packages.
        has_own_folder = not (job.files or job.export or job.package)
        root = job.destination if has_own_folder else None
        first = next(receipts(), None)
        if self._drawn is not None:
            result = self._sampled(self._drawn, job, receipts)
        elif root is not None and (first is None or planned_dst_path(first) != root):
            selection = selection_in(joblist, job.source)
            result = self._comparison.tree(job.name, root, receipts, dropped, selection)
        else:
            result = self._comparison.named_files(job.name, last_of_each(receipts), job.destination)
        for url in sorted(dropped - result.repair):
            detail = "its receipt was dropped by a repair that didn't finish"
            self._comparison.add(job.name, Verdict(url=url, what="unproven", detail=detail))
        found = result.receipts
        if self._released:
            found += sum(each.dst_path in self._released for each in joblist.receipts_of(job_id))
        lack = lack_of_receipts(job, log, found)
        if lack and not dropped:
            self._comparison.add(job.name, Verdict(url=job.target, what="unproven", detail=lack))
        if repairs is not None and (result.repair or dropped or lack):
            repaired = repairs.job(job_id, job, result.repair | dropped)
            self._emit(repaired)
            if isinstance(repaired, PutBack):
                joblist.mark_put_back()


def _job_ids(joblist: JobList, names: frozenset[str]) -> list[str]:
    """Return the IDs of the jobs to look at: those with ``names``, if all have their own files."""
    named = sorted(map(filename_of, names))
    if named and all(os.path.exists(joblist.path_of(job_id)) for job_id in named):
        return named
    return joblist.job_ids()


def _packages_of(joblist: JobList, job_ids: Sequence[str], names: frozenset[str]) -> set[str]:
    """Return the packages of some named jobs; none if others may be meant."""
    found: set[str] = set()
    for job_id in job_ids if len(job_ids) == len(names) else ():
        with contextlib.suppress(JobFileError, FileNotFoundError):
            job, _ = joblist.load(job_id)
            if job.package is None:
                return set()
            found.add(job.package.package)
    return found


def _readable(receipts: Iterator[Receipt]) -> Iterator[Receipt]:
    try:
        yield from receipts
    except JobtoolError as error:
        if error.scope is Scope.STORE:
            raise
