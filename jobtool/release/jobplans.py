"""Plans for the sources of finished jobs that copy files.

A file may be named by several jobs, such as those of a second destination, perhaps by another path
that a link leads to. It goes only if it is proven at the destinations of all of them.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import partial

from jobtool.errors import JobFileError, JobtoolError, reason_of
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.lastreceipts import last_of_each
from jobtool.jobs.records import Receipt
from jobtool.layouts.destination import with_destination
from jobtool.names import quote
from jobtool.release.checking import Candidate, check_files, foreign
from jobtool.release.context import ReleaseContext
from jobtool.release.destinations import Copy, UnprovenError
from jobtool.release.plan import ReleasePlan, open_place
from jobtool.release.sent import RealFolders, Sent
from jobtool.stores.location import absolute, inside, is_local, parent_of

#: What job files of a package's steps require.
PACKAGE = "package"


class Senders:
    """Which jobs of a joblist send which files.

    Raises ``JobFileError`` for a job that can't be read: nobody knows what it sends.
    """

    def __init__(self, joblist: JobList) -> None:
        self._joblist = joblist
        self.jobs: dict[str, Job] = {}
        self.sent: dict[str, Sent] = {}
        self._folders = RealFolders()
        starts: list[tuple[str, str]] = []  # the paths that jobs send, with the job's ID
        for job_id in joblist.job_ids():
            try:
                job = with_destination(joblist.load(job_id)[0], joblist.settings)
            except FileNotFoundError:
                continue
            except JobtoolError as error:
                raise JobFileError(
                    f"{quote(joblist.path_of(job_id))}: {reason_of(error)}. Nothing is released "
                    "while a job can't be read: it may need the same files."
                ) from None
            self._take(job_id, job)
            starts += ((path, job_id) for path in self.sent[job_id].paths)
        self._starts = sorted(starts)

    def refresh(self, job_id: str, job: Job) -> None:
        """Take the job as it is under its claim."""
        self._take(job_id, with_destination(job, self._joblist.settings))

    def _take(self, job_id: str, job: Job) -> None:
        self.jobs[job_id] = job
        self.sent[job_id] = Sent(job, self._folders)

    def others(self, job_id: str) -> list[str]:
        """Return the IDs of the other jobs that may send some of a job's files."""
        found: set[str] = set()
        for path in self.sent[job_id].paths:
            found |= self._at(path) | self._below(path)
            above = path
            while (parent := parent_of(above)[0]) != above:
                above = parent
                found |= self._at(above)
        return sorted(found - {job_id})

    def _at(self, path: str) -> set[str]:
        first = bisect_left(self._starts, (path, ""))
        return self._while(first, lambda start: start == path)

    def _below(self, path: str) -> set[str]:
        prefix = path.rstrip("/") + "/"
        first = bisect_left(self._starts, (prefix, ""))
        return self._while(first, lambda start: start.startswith(prefix))

    def _while(self, first: int, accepts: Callable[[str], bool]) -> set[str]:
        found = set()
        while first < len(self._starts) and accepts(self._starts[first][0]):
            found.add(self._starts[first][1])
            first += 1
        return found


def plan_of_job(
    joblist: JobList,
    job_id: str,
    senders: Senders,
    context: ReleaseContext,
    *,
    keep_days: float,
    trash: str | None = None,
) -> ReleasePlan:
    """Return the plan to release the source files of a finished job.

    Raises ``UnprovenError`` with the reason if the job can't be released at all.
    """
    job = senders.jobs[job_id]
    if job.status is not JobStatus.SUCCESS:
        raise UnprovenError(f"expected a job that is success; found {job.status.value}")
    if job.export is not None:
        raise UnprovenError("expected a job that copies files; found one that exports rows")
    if PACKAGE in job.requires:
        raise UnprovenError(
            "expected a job that copies files; found a step of a package, which "
            "has a step of its own to release"
        )
    root = _root_of(joblist, job_id, job)
    source = joblist.settings.source
    beside = root
    if source is not None and inside(source, root) is not None:
        beside = source if not is_local(source) or os.path.isdir(source) else root
    place = open_place(root, context, beside=beside, trash=trash)
    candidates = _Candidates(joblist, job_id, senders, root)
    return ReleasePlan(
        name=job.name,
        job_id=job_id,
        place=place,
        check=lambda running: check_files(place, candidates.all(), running),
        keep_days=keep_days,
    )


def _root_of(joblist: JobList, job_id: str, job: Job) -> str:
    """Return the folder or prefix that a job's files are below."""
    sent = _sent_by(job)
    if not sent:
        raise UnprovenError("expected a job with a source; found none")
    if not job.files:
        first = next(joblist.receipts_of(job_id), None)
        is_file = first is not None and first.src_path == sent[0]
        return parent_of(sent[0])[0] if is_file else sent[0]
    if job.source is not None and all(inside(job.source, path) for path in sent):
        return job.source
    folders = [parent_of(path)[0] for path in sent]
    root = folders[0]
    while any(inside(root, folder) is None for folder in folders):
        above = parent_of(root)[0]
        if above == root:
            raise UnprovenError(
                f"expected files in one place; found {quote(sent[0])} and others that have no "
                "folder in common"
            )
        root = above
    return root


def _sent_by(job: Job) -> list[str]:
    """Return the paths of a job: of its tree or file, or of its named files."""
    if job.export is not None:
        return []
    if job.files:
        return [absolute(job.source, pair.source) for pair in job.files]
    return [] if job.source is None else [job.source]


class _Candidates:
    """The files that a job has receipts for."""

    def __init__(self, joblist: JobList, job_id: str, senders: Senders, root: str) -> None:
        self._joblist, self._job_id, self._root = joblist, job_id, root
        self._sent = senders.sent[job_id]
        self._others = [(one, senders.sent[one]) for one in senders.others(job_id)]

    def all(self) -> Iterator[Candidate]:
        """Yield a candidate for each source file with a receipt."""
        others = [_Other(self._joblist, one, sent, self._root) for one, sent in self._others]
        for receipts in self._by_source():
            yield self._candidate(receipts, others)

    def _by_source(self) -> Iterator[list[Receipt]]:
        """Yield the receipts in force of each source file."""
        found = last_of_each(partial(self._joblist.receipts_of, self._job_id))
        if not self._sent.is_named:
            for receipt in found:
                yield [receipt]
            return
        grouped: dict[str, list[Receipt]] = {}
        for receipt in found:
            grouped.setdefault(self._sent.source_of(receipt), []).append(receipt)
        yield from grouped.values()

    def _candidate(self, receipts: list[Receipt], others: list[_Other]) -> Candidate:
        first = receipts[0]
        url, path = self._sent.source_of(first), inside(self._root, first.src_path)
        copies: list[Copy] = []
        lack: str | None = None
        try:
            # By a link that has come into its way, it is another file, which the check finds.
            if not path or not (self._sent.has(url) or self._sent.has(first.src_path)):
                raise UnprovenError(foreign(first.src_path, self._root))
            copies += self._sent.copies(url, receipts)
            for other in others:
                copies += other.copies_of(url)
        except UnprovenError as error:
            lack = str(error)
        return Candidate(
            path=path or parent_of(first.src_path)[1],
            size=first.size,
            mtime_ns=first.mtime_ns,
            md5=first.hashsum_src,
            copies=tuple(copies),
            lack=lack,
        )


class _Other:
    """Another job that may send the same files."""

    def __init__(self, joblist: JobList, job_id: str, sent: Sent, root: str) -> None:
        self._sent = sent
        self._receipts: dict[str, list[Receipt]] = {}
        if sent.job.status is JobStatus.SUCCESS:
            for receipt in last_of_each(partial(joblist.receipts_of, job_id)):
                source = sent.source_of(receipt)
                if inside(root, source) is not None:
                    self._receipts.setdefault(source, []).append(receipt)

    def copies_of(self, url: str) -> list[Copy]:
        """Return the copies that the job has made of a file; empty if it doesn't send it.

        Raises ``UnprovenError`` if the job hasn't sent it yet.
        """
        if not self._sent.has(url):
            return []
        if url not in self._receipts:
            job = self._sent.job
            raise UnprovenError(
                f"expected that the job {quote(job.name)} has sent it, too; found none of "
                f"its receipts for it. That job is {job.status.value}"
            )
        return self._sent.copies(url, self._receipts[url])
