"""Whether the jobs of a joblist export each row of the query once, by their shares."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from jobtool.errors import JobtoolError
from jobtool.jobs.exportshare import KEY, PREFIX, ExportShare
from jobtool.names import quote

_SHOWN = 5


def require_whole(shares: Mapping[str, ExportShare | None], *, is_split: bool) -> list[str]:
    """Return the IDs of the jobs in the order of their rows; ``shares`` is by job ID.

    Job files can be lost, copied and edited. So the numbers must be 1 to their count, each once,
    and each range must begin where the one before it ends. Rows without a value of the column must
    belong to one range if the query ``is_split``. Raises ``JobtoolError``.
    """
    ranges: list[tuple[int, str, ExportShare]] = []
    for job_id, share in shares.items():
        if share is None or share.kind != "rows":
            raise _unfit(f"job {quote(job_id)} isn't one of its ranges. Remove its file.")
        ranges.append((share.number, job_id, share))
    ranges.sort(key=lambda each: each[:2])
    counts = {share.count for _, _, share in ranges}
    if len(counts) != 1:
        found = ", ".join(map(str, sorted(counts))) or "no range"
        raise _unfit(f"expected one number of ranges in all jobs; found {found}")
    for (number, job_id, _), (other, other_id, _) in pairwise(ranges):
        if number == other:
            raise _unfit(
                f"jobs {quote(job_id)} and {quote(other_id)} both export range {number}. Remove "
                "the file that doesn't belong here."
            )
    missing = sorted(set(range(1, counts.pop() + 1)) - {number for number, _, _ in ranges})
    if missing:
        named = ", ".join(map(str, missing[:_SHOWN])) + (", …" if len(missing) > _SHOWN else "")
        raise _unfit(f"no job exports range {named}. Bring its job file back, or export anew.")
    _require_adjoining(ranges)
    with_nulls = sum(share.has_nulls for _, _, share in ranges)
    if with_nulls != is_split:
        raise _unfit(
            f"expected {int(is_split)} job with the line '{PREFIX}nulls: true'; found {with_nulls}"
        )
    return [job_id for _, job_id, _ in ranges]


def _require_adjoining(ranges: list[tuple[int, str, ExportShare]]) -> None:
    for (_, job_id, share), (_, next_id, following) in pairwise(ranges):
        if share.upper is None or share.upper != following.lower:
            raise _unfit(
                f"expected job {quote(next_id)} to begin where {quote(job_id)} ends; found "
                f"'{PREFIX}below: {share.upper}' and '{PREFIX}from: {following.lower}'"
            )
    if ranges[0][2].lower is not None or ranges[-1][2].upper is not None:
        raise _unfit(
            f"expected no '{PREFIX}from' in job {quote(ranges[0][1])} and no '{PREFIX}below' in "
            f"job {quote(ranges[-1][1])}, whose ranges are open"
        )


def _unfit(found: str) -> JobtoolError:
    return JobtoolError(
        f"the jobs don't export each row once, by the lines '{KEY}' of their files: {found}"
    )
