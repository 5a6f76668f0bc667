"""A job: what it copies where, its status, the allowed changes of status."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

import msgspec
from msgspec.structs import replace

from jobtool.errors import JobtoolError
from jobtool.jobs.exportshare import ExportShare
from jobtool.jobs.packagetask import PackageTask


class JobStatus(StrEnum):
    """The word on the first line of a job file."""

    TODO = "todo"
    ONGOING = "ongoing"
    ERROR = "error"
    SUCCESS = "success"


#: The step of a job whose file names no steps: its files are copied and proven.
COPY = "copy"

#: The allowed changes of status. ``ongoing → ongoing`` is a job taken over from a dead worker.
#: ``success → todo`` and ``error → todo`` are decided by a person or by the audit,
#: ``todo → todo`` by a person who ends a job's wait, ``todo → error`` by one who stops it.
TRANSITIONS: Mapping[JobStatus, frozenset[JobStatus]] = MappingProxyType(
    {
        JobStatus.TODO: frozenset({JobStatus.ONGOING, JobStatus.TODO, JobStatus.ERROR}),
        JobStatus.ONGOING: frozenset(JobStatus),
        JobStatus.ERROR: frozenset({JobStatus.TODO}),
        JobStatus.SUCCESS: frozenset({JobStatus.TODO}),
    }
)


class FilePair(msgspec.Struct, frozen=True, kw_only=True):
    """One named file of a job.

    ``source`` is a URL, an absolute path, or a path relative to the job's source. ``destination``
    is a URL, an absolute path, or a path relative to the job's destination.
    """

    source: str
    destination: str


class StepState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one step of a job. ``attempts`` counts how often it was begun."""

    status: JobStatus = JobStatus.TODO
    attempts: int = 0


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A unit of transfer: a tree, a file, or some named files.

    ``source`` and ``destination`` are absolute paths or URLs. A job without ``files`` copies the
    tree (or the one file) at ``source`` to ``destination``. A job read from the older form of job
    file has no destination of its own. ``fields`` are the fields that the layout found in the path.

    ``attempts`` counts claims, ``failures`` the attempts that ended in an error.
    ``requires_intervention`` says that no attempts are left. ``hand_backs`` counts how often in a
    row the job was handed back, without progress, for a reason outside the job. ``not_before`` is
    when to look again at a ``todo`` job whose files can't be read yet, in UTC. Jobs of a higher
    ``priority`` come first.

    ``export`` is the share of an export that the job does; None for a job that copies files. Its
    chunks are files below the destination. ``package`` is the step of a package that the job does;
    None for other jobs.

    ``requires`` are words that a version must know to work on the job (``jobs.requirements``).
    ``steps`` is the chain of steps, empty if the job file names none. ``step_states`` has the state
    of each step that was begun. ``extra`` are header lines that this version doesn't know, kept
    unchanged.
    """

    name: str
    status: JobStatus = JobStatus.TODO
    source: str | None = None
    destination: str | None = None
    files: tuple[FilePair, ...] = ()
    fields: Mapping[str, str] = msgspec.field(default_factory=dict)
    attempts: int = 0
    failures: int = 0
    requires_intervention: bool = False
    hand_backs: int = 0
    not_before: datetime | None = None
    priority: int = 0
    export: ExportShare | None = None
    package: PackageTask | None = None
    requires: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    step_states: Mapping[str, StepState] = msgspec.field(default_factory=dict)
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def chain(self) -> tuple[str, ...]:
        """The steps in order; ``copy`` alone if the job file names none."""
        return self.steps or (COPY,)

    def step_state(self, name: str) -> StepState:
        """Return the state of a step. None is kept for a job whose file names no steps."""
        return self.step_states.get(name, StepState())

    @property
    def undone_steps(self) -> tuple[str, ...]:
        """The steps that the job file names and that aren't a success yet."""
        return tuple(
            name for name in self.steps if self.step_state(name).status is not JobStatus.SUCCESS
        )

    def with_step(self, name: str, state: StepState) -> Job:
        """Return the job with another state of one step; unchanged if its file names no steps."""
        if not self.steps:
            return self
        return replace(self, step_states={**self.step_states, name: state})

    def with_all_steps_undone(self) -> Job:
        """Return the job with every step to be done again. Their counts of attempts stay."""
        states = {
            name: replace(state, status=JobStatus.TODO) for name, state in self.step_states.items()
        }
        return replace(self, step_states=states)

    @property
    def origin(self) -> str:
        """The source to show for the job: its own, that of its first file, or its share."""
        if self.export is not None:
            return ", ".join(value for _, value in self.export.lines())
        if self.source is None and self.package is not None and not self.files:
            return f"package {self.package.package}"
        return self.source or self.files[0].source

    @property
    def target(self) -> str:
        """The destination to show for the job: that of its first file, or its own."""
        return self.files[0].destination if self.files else self.destination or ""

    def to(self, status: JobStatus) -> Job:
        """Return the job with another status.

        If the job is handed back or fails, its ongoing step gets the same status. Raises
        ``JobtoolError`` if ``TRANSITIONS`` doesn't allow the change, or for a success while a step
        isn't done.
        """
        if status not in TRANSITIONS[self.status]:
            raise JobtoolError(f"job {self.name}: {self.status} can't become {status}")
        if status is JobStatus.SUCCESS and self.undone_steps:
            undone = ", ".join(self.undone_steps)
            raise JobtoolError(f"job {self.name}: can't be a success before its steps: {undone}")
        if status is JobStatus.ONGOING:
            return replace(self, status=status)
        states = {
            name: replace(state, status=status) if state.status is JobStatus.ONGOING else state
            for name, state in self.step_states.items()
        }
        return replace(self, status=status, step_states=states)
