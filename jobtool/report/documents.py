"""The types of the JSON documents of ``summarise-jobs`` and ``jobtool show``.

The schemas in the documentation are made from them (``jobtool.cli.schemas``). A test validates what
is printed against them, with no other field allowed. So a new field of ``Summary.json`` and the
like is named here, too. A new version adds fields and never removes any.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from jobtool.jobs.packagetask import PackageTask
from jobtool.jobs.workerstates import WorkerState
from jobtool.report.estimate import Estimate
from jobtool.report.fields import FieldValue

#: The status of a job as JSON has it.
StatusWord = Literal["todo", "ongoing", "success", "error", "invalid"]


class JobDocument(TypedDict):
    """The state of one job. Numbers that aren't known are null.

    ``note`` is the reason of an error, the worker of an ongoing job, or why a job was handed back.
    ``parts_bytes`` of a job that was handed back are in parts that need not be sent again.
    ``is_abandoned`` is true for an ongoing job that no worker seems to hold, ``needs_newer`` for
    one that requires a newer jobtool. ``waiting_files`` can't be read yet. ``steps`` has the status
    of each step of a job that names any. ``package`` is the step of a package that the job does.
    ``fields`` are those of the layout, ``worker`` is HOST:PID of the last attempt.
    """

    job: str
    status: StatusWord
    files_done: int | None
    files_total: int | None
    bytes_done: int | None
    bytes_total: int | None
    attempts: int
    note: str
    requires_intervention: bool
    parts_bytes: int | None
    is_abandoned: bool
    needs_newer: bool
    waiting_files: int
    excluded: int
    steps: dict[str, str]
    rows_done: int | None
    rows_total: int | None
    package: PackageTask | None
    fields: dict[str, str]
    worker: str


class PauseDocument(TypedDict):
    """A pause: who asked for it, on which host, when in UTC; ``jobs`` is null for all jobs."""

    by: str
    host: str
    since: str
    jobs: list[str] | None


class StepDocument(TypedDict):
    """The jobs of one step of packages, and of one route if it has been planned; their numbers.

    ``waiting`` come after jobs that aren't done; ``elsewhere`` of these wait for other sites.
    """

    step: str
    route: str | None
    jobs: int
    done: int
    bytes_done: int
    ongoing: int
    error: int
    waiting: int
    elsewhere: int


class CauseDocument(TypedDict):
    """Jobs in error or invalid whose reasons have ``cause`` in common, with three of their names.

    ``…`` in ``cause`` stands for what differs.
    """

    cause: str
    status: Literal["error", "invalid"]
    requires_intervention: bool
    count: int
    examples: list[str]
    hint: str


class EstimateDocument(Estimate, frozen=True, kw_only=True):
    """What the joblist holds, and how long the rest takes: bytes, bytes a second, seconds.

    ``is_estimated`` is true as long as the size of some job isn't known.
    """

    is_estimated: bool


class WorkerDocument(WorkerState, frozen=True, kw_only=True):
    """What a worker told that is alive. Times are in seconds since 1970 by the worker's clock.

    ``age_seconds`` is how old this is by the reader's clock, ``still_seconds`` how long ago the
    worker last moved a byte. ``is_late`` is true if it should have told again long ago.
    """

    age_seconds: float
    still_seconds: float | None
    is_late: bool


class SinceDocument(TypedDict):
    """What has happened since ``time``, in UTC: jobs, attempts, and the bytes that they moved."""

    time: str
    succeeded: int
    failed: int
    attempts: int
    bytes: int


class SummaryDocument(TypedDict):
    """The state of a joblist: how many jobs have which status, their totals, and each job.

    ``total`` is the number of jobs. ``files_done`` and ``bytes_done`` are proven to have arrived.
    ``excluded`` is what filters left out of the jobs that are done. ``field`` is the layout's field
    by whose values ``by_field`` counts jobs. ``since`` is there for ``--since``. ``hint`` of a
    cause is what to do. ``rows_done`` and ``rows_total`` are null unless the jobs export rows.
    """

    joblist: str
    total: int
    todo: int
    ongoing: int
    error: int
    success: int
    invalid: int
    abandoned: int
    needs_newer: int
    waiting: int
    waiting_files: int
    excluded: int
    bytes_done: int
    files_done: int
    rows_done: int | None
    rows_total: int | None
    package_steps: list[StepDocument]
    paused: list[PauseDocument]
    jobs: list[JobDocument]
    causes: list[CauseDocument]
    estimate: EstimateDocument
    workers: list[WorkerDocument]
    field: str | None
    by_field: list[FieldValue]
    since: SinceDocument | None


class LogLine(TypedDict):
    """A line of a job's log: its time in UTC, its event and its values."""

    time: str
    event: str
    values: dict[str, str]


class AttemptDocument(TypedDict):
    """An attempt at a job, in UTC; ``bytes`` are what it added."""

    attempt: int | None
    worker: str
    started: str
    ended: str
    outcome: Literal["success", "error", "handed-back", "unfinished"]
    bytes: int


class LargestFile(TypedDict):
    """A file at the destination and its size in bytes."""

    path: str
    size: int


class ReceiptsDocument(TypedDict):
    """What the receipts of a job say.

    ``first`` and ``last`` are the times in UTC of the first and the last of them. ``verified_by``
    counts files by how they were proven. ``unreadable`` says why receipts can't be read.
    """

    files: int
    bytes: int
    first: str | None
    last: str | None
    verified_by: dict[str, int]
    largest: list[LargestFile]
    unreadable: str


class _Header(TypedDict, total=False):
    """What the header of a job file says; absent if the file is invalid."""

    source: str | None
    destination: str | None
    named_files: int
    failures: int
    hand_backs: int
    priority: int
    not_before: str | None


class ShownJobDocument(JobDocument, _Header):
    """One job: its state, its header, its log, its attempts and its receipts.

    ``source``, ``destination``, ``named_files``, ``fields``, ``failures``, ``hand_backs`` and
    ``not_before`` are of its header, and absent if the job file is invalid. ``timeline`` has the
    last lines of the log; ``timeline_left_out`` counts the others. ``cause`` and ``jobs_alike``
    (the number of other jobs with this cause) are null for a job without an error. ``pause`` is the
    pause that holds the job, or null.
    """

    file: str
    timeline: list[LogLine]
    timeline_left_out: int
    attempts_made: list[AttemptDocument]
    receipts: ReceiptsDocument
    cause: str | None
    jobs_alike: int | None
    advice: str
    pause: PauseDocument | None
