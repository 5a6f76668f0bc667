"""Generating: a source tree and a layout become a joblist.

Doing it again is safe: a job file that exists is never touched, so a ``{uuid}`` once minted stays,
and only what is new is added.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256

from msgspec import structs

from jobtool import __version__
from jobtool.errors import JobFileError, JoblistError, LayoutError, UsageError
from jobtool.events import Emit, ignore
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.jobfile import LogRecord, encode_record
from jobtool.jobs.joblist import JobList, job_ids_in
from jobtool.jobs.settings import FILENAME, Settings
from jobtool.layouts.auto import pick_layout
from jobtool.layouts.drafts import Draft, Drafter, with_absolute_folders
from jobtool.layouts.events import (
    Creating,
    Generated,
    Incomplete,
    JobBroken,
    JobPlanned,
    LayoutChosen,
)
from jobtool.layouts.layout import AUTO, MANIFEST, Layout, layout_of_table, load_layout
from jobtool.layouts.manifest import MANIFEST_VALUES, Manifest
from jobtool.names import filename_of, quote
from jobtool.stores.location import parse
from jobtool.suggest import did_you_mean
from jobtool.transfer.stores_of import stores_by


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to generate: absolute paths or URLs, a layout's name or file, values for templates.

    ``destination`` None takes that of the existing joblist; ``layout`` None likewise, or looks.
    With ``trust`` commands that an existing joblist.toml names are run whoever could have written
    it.
    """

    source: str
    joblist_path: str
    destination: str | None = None
    layout: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    s3: Mapping[str, object] = field(default_factory=dict)
    credentials: Mapping[str, object] = field(default_factory=dict)
    trust: bool = False
    dry_run: bool = False


def generate(request: Request, emit: Emit = ignore) -> Generated:
    """Write the joblist that a request asks for; return the counts.

    Raises ``LayoutError`` if nothing matches or two jobs would collide, ``JoblistError`` if the
    request contradicts the existing joblist, ``UsageError``, ``SourceError``, ``WorldError``.
    """
    return _Generation(request, emit).run()


class _Generation:
    def __init__(self, request: Request, emit: Emit) -> None:
        source = parse(request.source).url
        destination = request.destination and parse(request.destination).url
        self._request = request = replace(request, source=source, destination=destination)
        self._emit = emit
        self._existing = _existing_settings(request.joblist_path, trust=request.trust)
        before = _canonical(self._existing or Settings())
        self._values = {**before.values, **request.values}
        self._s3 = {**before.s3, **request.s3}
        self._credentials = {**before.credentials, **request.credentials}
        self._stores = stores_by(Settings(s3=self._s3, credentials=self._credentials))
        self._destination = destination or before.destination
        self._layout_name, self._layout = self._choose_layout(before)
        self._is_guessed = request.layout in (None, AUTO) and not before.layout
        if not self._is_guessed or self._layout is None:
            _require_used(request.values, self._layout_name, self._layout)
        if self._layout is not None:
            values = {**self._layout.values, **self._values}
            if self._destination is None:
                values = with_absolute_folders(self._layout, values)
                told = with_absolute_folders(self._layout, before.values)
                before = structs.replace(before, values=told)
            self._values = values
        self._settings = Settings(
            jobtool=__version__,
            id=before.id or uuid.uuid4().hex,
            source=source,
            destination=self._destination,
            layout={"preset": self._layout_name} if self._layout is None else self._layout.table(),
            values=self._values,
            s3=self._s3,
            credentials=self._credentials,
            claims=before.claims,
            lease_seconds=before.lease_seconds,
            stall_seconds=before.stall_seconds,
            transfer=before.transfer,
        )
        _require_same(before, self._settings, request)

    def run(self) -> Generated:
        incomplete: Mapping[str, Sequence[str]] = {}
        unreadable = 0
        if self._layout is None:
            drafts = self._manifest_drafts()
        else:
            drafter = self._drafter(self._layout)
            drafts = drafter.drafts()
            incomplete, unreadable = drafter.incomplete, drafter.unreadable
            if self._is_guessed and drafts:  # else the guess is worth nothing
                _require_used(self._request.values, self._layout_name, self._layout)
        created = existing = invalid = 0
        joblist: JobList | None = None
        taken = _taken_job_ids(self._request.joblist_path)
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
            raise LayoutError(self._nothing_found())
        generated = Generated(
            created=created,
            existing=existing,
            invalid=invalid,
            incomplete=count_incomplete,
            unreadable=unreadable,
            dry_run=self._request.dry_run,
        )
        self._emit(generated)
        return generated

    def _choose_layout(self, before: Settings) -> tuple[str, Layout | None]:
        wanted = self._request.layout
        if wanted is None and before.layout:
            if before.layout.get("preset") == MANIFEST:
                return MANIFEST, None
            return "joblist.toml", layout_of_table(before.layout, shown=FILENAME)
        if wanted in (None, AUTO):
            wanted, reason = pick_layout(self._stores.open(self._request.source, "source"))
            self._emit(LayoutChosen(layout=wanted, reason=reason))
        assert wanted is not None
        return (MANIFEST, None) if wanted == MANIFEST else load_layout(wanted)

    def _drafter(self, layout: Layout) -> Drafter:
        return Drafter(
            layout,
            self._stores.open(self._request.source, "source"),
            values=self._values,
            destination=self._destination,
            joblist_path=self._request.joblist_path,
            emit=self._emit,
        )

    def _manifest_drafts(self) -> Iterable[Draft]:
        if not os.path.isfile(self._request.source):
            raise UsageError(
                f"expected a CSV or Parquet file at {quote(self._request.source)}, for the layout "
                "'manifest'; found none"
            )
        manifest = Manifest(self._request.source, self._values, self._destination)
        known = JobList(self._request.joblist_path, self._settings)

        def jobs() -> Iterator[Job]:
            return manifest.jobs(_destinations_in(known), _taken_job_ids(known.path))

        for _ in jobs():  # the first reading finds a row that is wrong before a job is written
            pass
        return map(Draft, jobs())

    def _named(
        self,
        draft: Draft,
        joblist: JobList,
        taken: Mapping[str, str | None],
        made: Container[str],
    ) -> Draft | None:
        """Return the draft under a free name, or None if its job file exists.

        ``made`` are the stems of this run. Raises ``LayoutError`` for a second draft of a source.
        """
        job = draft.job
        if self._layout is None:
            return draft
        digest = sha256((job.source or "").encode("utf-8", "surrogateescape")).hexdigest()[:8]
        for name in (job.name, f"{job.name}~{digest}"):
            job_id = filename_of(name)
            if job_id not in taken:
                return replace(draft, job=replace(job, name=name))
            other = taken[job_id] or _source_in(joblist, job_id)
            if other is not None and other == job.source and job_id in made:
                raise LayoutError(
                    f"two jobs would have the one source {quote(job.origin)}, and only one of them "
                    "could be made. Use a layout that tells them apart."
                )
            if other is None or other == job.source:  # None: it can't be read, and stays as it is
                return None
        raise LayoutError(f"there are two jobs {quote(job.name)}~{digest} of other sources")

    def _create(self) -> JobList:
        existing = self._existing
        if (
            existing is not None
            and structs.replace(existing, jobtool=__version__) == self._settings
        ):
            return JobList(os.path.realpath(self._request.joblist_path), existing)
        return JobList.create(self._request.joblist_path, self._settings)

    def _write(self, draft: Draft, joblist: JobList | None) -> None:
        job, log = draft.job, b""
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

    def _nothing_found(self) -> str:
        if self._layout is None:
            return f"{quote(self._request.source)} lists no files"
        return (
            f"expected folders that match {self._layout.pattern} below "
            f"{quote(self._request.source)}; found none. Is it the right input path, and the right "
            "layout? (--layout)"
        )


def _existing_settings(path: str, *, trust: bool) -> Settings | None:
    if os.path.exists(os.path.join(path, FILENAME)):
        joblist = JobList.open(path, trust=trust)
        joblist.require_trusted()
        return joblist.settings
    if os.path.exists(path) and not os.path.isdir(path):
        raise JoblistError(f"expected a folder for the joblist at {quote(path)}; found a file")
    if os.path.isdir(path):
        names = os.listdir(path)
        if names and not any(name.endswith(".txt") for name in names):
            raise JoblistError(
                f"{quote(path)} is no joblist and not empty: it holds {quote(min(names))}. Choose "
                "another --output-path, or an empty folder."
            )
    return None


def _canonical(settings: Settings) -> Settings:
    """Return settings whose places are written as generating writes them."""
    try:
        return structs.replace(
            settings,
            source=settings.source and parse(settings.source).url,
            destination=settings.destination and parse(settings.destination).url,
        )
    except UsageError as error:
        raise JoblistError(f"{FILENAME}: {error}") from None


def _require_used(values: Mapping[str, str], name: str, layout: Layout | None) -> None:
    """Refuse values that would change nothing: a misspelt one must not pass for one that does."""
    known = MANIFEST_VALUES if layout is None else layout.settable()
    for key in values:
        if key not in known:
            if key.startswith("transfer."):
                raise UsageError(
                    f"--set {key}=…: expected a value of the layout, s3.KEY or credentials.KEY. "
                    "Settings of [transfer] are options of transfer-worker, or are written into "
                    "joblist.toml."
                )
            takes = ", ".join(sorted(known)) or "none"
            table, dot, rest = key.lower().partition(".")
            is_table = dot and table in ("s3", "credentials")
            hint = f" Did you mean {table}.{rest}?" if is_table else did_you_mean(key, known)
            raise UsageError(
                f"--set {key}=…: the layout {quote(name)} has no use for it."
                f"{hint} The values that it takes: {takes}; besides these "
                "--set takes s3.KEY and credentials.KEY."
            )


def _require_same(before: Settings, now: Settings, request: Request) -> None:
    """Refuse to mix jobs that were made in other ways into one joblist."""
    if before.source is None and not before.layout:
        return
    for what, way_out, old, new in (
        ("input path", "take that input path", before.source, now.source),
        ("destination", "leave out --destination", before.destination, now.destination),
        ("layout", "leave out --layout", before.layout, now.layout),
        ("values", "leave out --set", before.values, now.values),
    ):
        if old and old != new:
            raise JoblistError(
                f"{quote(request.joblist_path)} was made with another {what}: it has {old!r}, "
                f"asked for is {new!r}. Use another --output-path, or {way_out}."
            )


def _taken_job_ids(path: str) -> dict[str, str | None]:
    if not os.path.isdir(path):
        return {}
    return dict.fromkeys(job_ids_in(path))


def _source_in(joblist: JobList, job_id: str) -> str | None:
    try:
        return joblist.load(job_id)[0].source
    except (JobFileError, FileNotFoundError):
        return None


def _destinations_in(joblist: JobList) -> Iterator[str]:
    if not os.path.isdir(joblist.path):
        return
    for job_id in job_ids_in(joblist.path):
        try:
            job, _ = joblist.load(job_id)
        except FileNotFoundError:
            continue
        except JobFileError as error:
            raise LayoutError(
                f"job file {quote(job_id)}.txt is invalid, so which rows it has can't be told: "
                f"{error}. Mend or remove it first."
            ) from None
        yield from (pair.destination for pair in job.files)
