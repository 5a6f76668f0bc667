"""What has happened in a joblist since a time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from jobtool.jobs.job import JobStatus
from jobtool.jobs.stamps import stamp_of
from jobtool.report.jobline import JobLine


class Since(msgspec.Struct, frozen=True, kw_only=True):
    """What has happened since ``time``: the jobs whose last attempt has ended, and the bytes moved.

    ``bytes`` are those of all attempts, each of which is taken to have moved its bytes evenly.
    """

    time: datetime
    succeeded: int
    failed: int
    attempts: int
    bytes: int

    def json(self) -> dict[str, Any]:
        """Return plain values."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return {**values, "time": stamp_of(self.time)}


def since(lines: Iterable[JobLine], time: datetime) -> Since:
    """Add up what attempts tell of the time since then."""
    moment = time.timestamp()
    succeeded = failed = attempts = 0
    moved = 0.0
    for line in lines:
        if not line.spans or line.spans[-1][1] < moment:
            continue
        succeeded += line.status is JobStatus.SUCCESS
        failed += line.status is JobStatus.ERROR
        for start, end, count in line.spans:
            if end < moment:
                continue
            attempts += 1
            moved += count * ((end - moment) / (end - start) if start < moment else 1.0)
    return Since(
        time=time, succeeded=succeeded, failed=failed, attempts=attempts, bytes=round(moved)
    )
