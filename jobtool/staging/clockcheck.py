"""Whether this machine's clock can be right, by the access records and by the store's clock.

A wrong clock could have files deleted that are still needed. So a difference that no drift explains
is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from jobtool.errors import StagingError
from jobtool.jobs.stamps import stamp_of
from jobtool.names import quote
from jobtool.staging.accessrecord import AccessRecord

#: How far a record, or the store's clock, may be ahead of this machine's.
MOST_BEHIND = timedelta(days=1)

#: How long after the newest record a clock can be right.
MOST_AHEAD = timedelta(days=5 * 365)


def require_likely(
    now: datetime, records: Iterable[AccessRecord], written: datetime | None, *, where: str
) -> None:
    """Raise ``StagingError`` if ``now`` can't be the time.

    ``written`` is when a file was last written to ``where``, the place of the records, by the
    store's own clock; None if that isn't known.
    """
    times = [record.at for record in records]
    if written is not None:
        times.append(written)
    newest = max(times, default=None)
    if newest is None:
        return
    if newest - now > MOST_BEHIND:
        _refuse(now, f"in {quote(where)} there is an access record of {stamp_of(newest)}, later")
    if now - newest > MOST_AHEAD:
        _refuse(now, f"the last access record in {quote(where)} is of {stamp_of(newest)}")


def _refuse(now: datetime, found: str) -> None:
    raise StagingError(
        f"expected a clock that is about right; this machine's says {stamp_of(now)}, and {found}. "
        "Correct the clock, or move that record away if its host's clock was wrong."
    )
