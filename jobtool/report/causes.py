"""The causes of errors: jobs that failed for the same reason, counted together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from jobtool.report.jobline import JobLine

#: How many jobs of a cause are named.
EXAMPLES = 3

_VARIES = "…"

#: What differs between two messages of one cause: names in quotes, URLs, paths, digests, numbers.
#: Numbers of three digits stay, since they are HTTP status codes. A reason may be as long as a line
#: of a log. So each alternative fails fast where it can't match, such as at a quote that isn't
#: closed: it must not read far for each position at which it might begin.
_VARYING = re.compile(
    r"""
    (?<!\\)"(?:[^"\\]|\\.)*" | '[^']*'
    | \b[A-Za-z][A-Za-z0-9+.-]{0,20}://[^\s"',;)]*[^\s"',;:.)]
    | (?<![\w.…/])/[^\s"',;)]*[^\s"',;:.)]
    | \b[0-9a-fA-F]{16,}(?:-\d+)?\b
    | \b(?![1-5]\d\d\b)\d+(?:[.,:]\d+)*\b
    """,
    re.VERBOSE,
)


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs that need attention for one reason; ``text`` has ``…`` where their reasons differ.

    ``status`` is ``error`` or ``invalid``.
    """

    text: str
    status: str
    requires_intervention: bool
    jobs: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "cause": self.text,
            "status": self.status,
            "requires_intervention": self.requires_intervention,
            "count": len(self.jobs),
            "examples": list(self.jobs[:EXAMPLES]),
        }


def causes_of(jobs: Iterable[JobLine]) -> list[Cause]:
    """Group jobs by the cause in their notes, the most frequent first."""
    groups: dict[tuple[str, str, bool], list[JobLine]] = {}
    for job in jobs:
        status = job.status.value if job.status else "invalid"
        groups.setdefault((common(job), status, job.requires_intervention), []).append(job)
    causes = [
        Cause(
            text=text if len(found) > 1 else found[0].note,
            status=status,
            requires_intervention=requires_intervention,
            jobs=tuple(job.job for job in found),
        )
        for (text, status, requires_intervention), found in groups.items()
    ]
    return sorted(causes, key=lambda cause: -len(cause.jobs))


def common(job: JobLine) -> str:
    """Return a job's note with ``…`` for what differs between two messages of one cause."""
    text = _VARYING.sub(_VARIES, job.note)
    return text.replace(job.job, _VARIES) if len(job.job) > 1 else text
