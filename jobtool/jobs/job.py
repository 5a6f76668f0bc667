"""What a job is: its status, what it copies where, and which changes of status are allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from jobtool.errors import JobtoolError


class JobStatus(StrEnum):
    """The word on the first line of a job file."""

    TODO = "todo"
    ONGOING = "ongoing"
    ERROR = "error"
    SUCCESS = "success"


#: Which status may follow which. ``ongoing → ongoing`` is a job taken over from a dead worker;
#: ``success → todo`` and ``error → todo`` are a person's or the audit's decision.
TRANSITIONS: Mapping[JobStatus, frozenset[JobStatus]] = MappingProxyType(
    {
        JobStatus.TODO: frozenset({JobStatus.ONGOING}),
        JobStatus.ONGOING: frozenset(JobStatus),
        JobStatus.ERROR: frozenset({JobStatus.TODO}),
        JobStatus.SUCCESS: frozenset({JobStatus.TODO}),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePair:
    """One named file of a job.

    ``source`` is a URL or an absolute path, or relative to the job's source; ``destination``
    likewise to the job's destination.
    """

    source: str
    destination: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A unit of transfer: a tree, a file, or some named files.

    ``source`` and ``destination`` are absolute paths or URLs. A job without ``files`` copies the
    tree (or the one file) at ``source`` to ``destination``. A job read from the older form of job
    file has no destination of its own. ``fields`` are what the layout found in the path;
    ``attempts`` counts claims, ``failures`` those that ended in an error, and
    ``requires_intervention`` says that they were as many as may be; ``hand_backs`` counts how often
    in a row it was handed back, without progress, for a reason that is not its own;
    ``extra`` are header lines that this version doesn't know, kept as they are.
    """

    name: str
    status: JobStatus = JobStatus.TODO
    source: str | None = None
    destination: str | None = None
    files: tuple[FilePair, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 0
    failures: int = 0
    requires_intervention: bool = False
    hand_backs: int = 0
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def origin(self) -> str:
        """Where its bytes are, in a word: the source, or the first file's."""
        return self.source or self.files[0].source

    @property
    def target(self) -> str:
        """Where its bytes go, in a word: the first file's destination, or the tree's."""
        return self.files[0].destination if self.files else self.destination or ""

    def to(self, status: JobStatus) -> Job:
        """Return the job with another status.

        Raises ``JobtoolError`` if ``TRANSITIONS`` doesn't allow it.
        """
        if status not in TRANSITIONS[self.status]:
            raise JobtoolError(f"job {self.name}: {self.status} can't become {status}")
        return replace(self, status=status)
