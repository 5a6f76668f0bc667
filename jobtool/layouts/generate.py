"""Generating a joblist from a source tree.

Generating again is safe: an existing job file is never touched, so that a ``{uuid}`` once made
stays, and only new jobs are added.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256

from msgspec import structs
from msgspec.structs import replace

from jobtool import __version__
from jobtool.errors import LayoutError, UsageError
from jobtool.events import Emit, ignore
from jobtool.jobs.job import COPY, JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.jobs.joblog import LogRecord, encode_record
from jobtool.jobs.requirements import STEPS
from jobtool.layouts.drafts import Draft, Drafter
from jobtool.layouts.events import Creating, Generated, Incomplete, JobBroken, JobPlanned
from jobtool.layouts.existing import existing_destinations, existing_job_ids, existing_source
from jobtool.layouts.layout import Layout
from jobtool.layouts.manifest import Manifest
from jobtool.layouts.namedfiles import install, tell_jobless
from jobtool.layouts.request import Request
from jobtool.layouts.resolution import Resolution, resolve
from jobtool.names import filename_of, quote
from jobtool.stores.location import inside


def generate(request: Request, emit: Emit = ignore) -> Generated:
    """Write the requested joblist; return the counts.

    Raises ``LayoutError`` if nothing matches or two jobs would collide, ``JoblistError`` if the
    request contradicts the existing joblist, ``UsageError``, ``SourceError``,
    ``InfrastructureError``.
    """
    with tempfile.TemporaryDirectory() as scratch:
        return _Generation(resolve(request, emit, scratch), emit).run()


class _Generation:
    def __init__(self, resolution: Resolution, emit: Emit) -> None:
        self._resolution = resolution
        self._request = resolution.request
        self._settings = resolution.settings
        self._layout = resolution.layout
        self._emit = emit
        self._manifest: Manifest | None = None

    def run(self) -> Generated:
        incomplete: Mapping[str, Sequence[str]] = {}
        unreadable = names_left_out = 0
        if self._layout is None:
            drafts = self._manifest_drafts()
        else:
            drafter = self._drafter(self._layout)
            drafts = drafter.drafts()
            incomplete, unreadable = drafter.incomplete, drafter.unreadable
            names_left_out = self._jobless(drafts, incomplete)
            if self._resolution.is_guessed and drafts:  # without drafts the guess is useless
                self._resolution.require_used()
        created = existing = invalid = 0
        joblist: JobList | None = None
        taken = existing_job_ids(self._request.joblist_path)
        made: set[str] = set()
        if self._layout is None:
            existing = len(taken)  # a manifest's drafts are only those of its new rows
        open_list = JobList(os.path.realpath(self._request.joblist_path), self._settings)
        for nameless in drafts:
            draft = self._named(nameless, open_list, taken, made)
            if draft is None:
                existing += 1
                continue
            if joblist is None and not self._request.dry_run:
                self._emit(Creating())
                joblist = self._create()
            job_id = filename_of(draft.job.name)
            taken[job_id] = draft.job.source
            made.add(job_id)
            created += 1
            invalid += draft.problem is not None
            self._write(draft, joblist)
        if existing and joblist is None and not self._request.dry_run:
            joblist = self._create()
        if joblist is not None:
            joblist.flush()
        for missing, paths in incomplete.items():
            self._emit(Incomplete(missing=missing, paths=tuple(paths)))
        count_incomplete = sum(map(len, incomplete.values()))
        if not (created or existing or count_incomplete):
            raise LayoutError(self._nothing_found(known=len(taken)))
        generated = Generated(
            created=created,
            existing=existing,
            invalid=invalid,
            incomplete=count_incomplete,
            unreadable=unreadable,
            names_left_out=self._manifest.left_out if self._manifest else names_left_out,
            excluded=self._manifest.excluded if self._manifest else 0,
            dry_run=self._request.dry_run,
        )
        self._emit(generated)
        return generated

    def _drafter(self, layout: Layout) -> Drafter:
        return Drafter(
            layout,
            self._resolution.stores.open(self._request.source, "source"),
            values=self._settings.values,
            destination=self._settings.destination,
            joblist_path=self._request.joblist_path,
            selection=self._resolution.selection,
            names=self._resolution.names,
            emit=self._emit,
        )

    def _jobless(self, drafts: Iterable[Draft], incomplete: Mapping[str, Sequence[str]]) -> int:
        """Return the number of names that are in no job; they are told."""
        names, root = self._resolution.names, self._request.source
        collected = self._resolution.collected
        if names is None:
            return 0
        sources = {inside(root, draft.job.source or "") or "" for draft in drafts}
        others = [inside(root, url) or "" for urls in incomplete.values() for url in urls]
        jobless = tell_jobless(names, sources, others, self._resolution.selection, self._emit)
        return jobless + (0 if collected is None else collected.left_out)

    def _manifest_drafts(self) -> Iterable[Draft]:
        if not os.path.isfile(self._request.source):
            raise UsageError(
                f"expected a CSV or Parquet file, or a list, at {quote(self._request.source)}, for "
                "the layout 'manifest'; found none"
            )
        settings = self._settings
        manifest = self._manifest = Manifest(
            self._request.source,
            settings.values,
            settings.destination,
            selection=self._resolution.selection,
        )
        manifest.check(self._emit)
        known = JobList(self._request.joblist_path, settings)
        return map(Draft, manifest.jobs(existing_destinations(known), existing_job_ids(known.path)))

    def _named(
        self,
        draft: Draft,
        joblist: JobList,
        taken: Mapping[str, str | None],
        made: Container[str],
    ) -> Draft | None:
        """Return the draft under a free name; None if its job file exists.

        ``made`` holds the job IDs of this run. Raises ``LayoutError`` for a second draft of a
        source.
        """
        job = draft.job
        if self._layout is None:
            return draft
        digest = sha256((job.source or "").encode("utf-8", "surrogateescape")).hexdigest()[:8]
        for name in (job.name, f"{job.name}~{digest}"):
            job_id = filename_of(name)
            if job_id not in taken:
                return replace(draft, job=replace(job, name=name))
            other = taken[job_id] or existing_source(joblist, job_id)
            if other is not None and other == job.source and job_id in made:
                raise LayoutError(
                    f"two jobs would have the same source {quote(job.origin)}, and only one of "
                    "them can be made. Use a layout that distinguishes them."
                )
            if other is None or other == job.source:  # None: it can't be read and stays as it is
                return None
        raise LayoutError(f"there are two jobs {quote(job.name)}~{digest} of other sources")

    def _create(self) -> JobList:
        if self._resolution.collected is not None:
            install(self._resolution.collected, os.path.realpath(self._request.joblist_path))
        existing = self._resolution.existing
        if (
            existing is not None
            and structs.replace(existing, jobtool=__version__) == self._settings
        ):
            return JobList(os.path.realpath(self._request.joblist_path), existing)
        return JobList.create(self._request.joblist_path, self._settings)

    def _write(self, draft: Draft, joblist: JobList | None) -> None:
        job, log = draft.job, b""
        if self._settings.steps not in ((), (COPY,)):
            job = replace(job, requires=(STEPS,), steps=self._settings.steps)
        if draft.problem is not None:
            self._emit(JobBroken(job=job.name, reason=draft.problem))
            job = replace(job, status=JobStatus.ERROR)
            now = datetime.now(UTC)
            log = encode_record(
                LogRecord(time=now, event="error", values={"reason": draft.problem})
            )
        else:
            self._emit(JobPlanned(job=job.name, source=job.origin, destination=job.target))
        if joblist is not None:
            joblist.add(job, log)

    def _nothing_found(self, *, known: int) -> str:
        if self._layout is None:
            filtered = " that the filters include" if self._settings.filters else ""
            return f"{quote(self._request.source)} lists no files{filtered}"
        filtered = " that the filters include" if self._settings.filters else ""
        question = "Is it the right input path, and the right layout? (--layout)"
        if known:
            question = f"The joblist has {known} job(s) of it: is its filesystem mounted?"
        return (
            f"expected folders that match {self._layout.pattern} below "
            f"{quote(self._request.source)}; found none{filtered}. {question}"
        )
