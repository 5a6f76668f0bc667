"""``plan_transfer``: what a transfer would do, before anything moves."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from jobtool.api.background import Call, in_background
from jobtool.api.places import Filesystem, Place, opened
from jobtool.errors import UsageError
from jobtool.events import Emit, Event, ignore, unfailing
from jobtool.stop import Stop

if TYPE_CHECKING:
    from jobtool.jobs.forms import Compression
    from jobtool.jobs.joblist import JobList
    from jobtool.stores.local import LinkPolicy
    from jobtool.transfer.policies import IfExists, IfGone
    from jobtool.worker.events import Preview


def plan_transfer(
    joblist: Place | JobList,
    *,
    rate_bytes_per_second: float | None = None,
    max_jobs: int | None = None,
    site: str | None = None,
    part_size_bytes: int | None = None,
    if_exists: IfExists | None = None,
    links: LinkPolicy | None = None,
    if_gone: IfGone | None = None,
    compression: Compression | None = None,
    methods: Sequence[str] | None = None,
    bandwidth: str | None = None,
    max_requests_per_second: float | None = None,
    credentials: Mapping[str, Any] | None = None,
    source_fs: Filesystem | None = None,
    target_fs: Filesystem | None = None,
    trust: bool = False,
    on_event: Emit = ignore,
    stop: Stop | None = None,
) -> Preview:
    """Return what ``transfer_jobs`` would do with the jobs that it could claim now.

    It is ``transfer-worker --dry-run``. Sources and destinations are listed, and nothing is
    written. The arguments are those of ``transfer_jobs``, and
    [the page about dry runs](../how-to/dry-run.md) says what the fields of the result are.

    Args:
        joblist: The folder, or an open joblist.
        rate_bytes_per_second: For the estimate of the time; by default the rate of the joblist's
            jobs so far.
        max_jobs: Look at this many jobs.
        site: Where the worker would be, by the joblist's sites file.
        part_size_bytes: The size from which files would be sent in parts, and that of each part.
        if_exists: ``verify``, ``overwrite`` or ``error``.
        links: ``follow``, ``skip``, ``error`` or ``keep``.
        if_gone: ``error`` or ``ignore``.
        compression: ``zstd``, ``gzip``, ``unpack`` or ``none``.
        methods: The names of methods.
        bandwidth: A rate or a timetable.
        max_requests_per_second: The requests to stores in a second; 0 for no limit.
        credentials: A table ``[credentials]`` in place of the joblist's.
        source_fs: The filesystem of the source.
        target_fs: The filesystem of the destination.
        trust: Run the commands that joblist.toml names for credentials, even if others could have
            written it.
        on_event: Called with each event: of each job, and of the progress.
        stop: Once it is set, from any thread, what was found until then is returned.

    Raises:
        UsageError: There is nothing at the path, or an argument is invalid.
        JoblistError: The folder isn't a joblist, or its joblist.toml can't be used or trusted.
        InfrastructureError: Credentials or the joblist can't be used.

    Examples:
        >>> planned = jobtool.plan_transfer("joblist", rate_bytes_per_second=200e6)
        >>> planned.send_files, planned.problems
        (4, [])
    """
    from jobtool.api.options import require_settings, worker_options
    from jobtool.worker.environment import alone
    from jobtool.worker.events import Preview
    from jobtool.worker.loop import Worker

    if rate_bytes_per_second is not None and not (
        math.isfinite(rate_bytes_per_second) and rate_bytes_per_second > 0
    ):
        raise UsageError(
            f"rate_bytes_per_second: expected a number above 0; found {rate_bytes_per_second!r}"
        )
    if max_jobs is not None and not (type(max_jobs) is int and max_jobs >= 1):
        raise UsageError(f"max_jobs: expected a whole number, 1 or more; found {max_jobs!r}")
    chosen = {
        "if_exists": if_exists,
        "links": links,
        "if_gone": if_gone,
        "compression": compression,
        "methods": methods,
        "bandwidth": bandwidth,
        "max_requests_per_second": max_requests_per_second,
    }
    require_settings(part_size_bytes=part_size_bytes, **chosen)
    joblist = opened(
        joblist, trust=trust, credentials=credentials, source_fs=source_fs, target_fs=target_fs
    )
    tell = unfailing(on_event)
    own_stop = Stop(parent=stop)
    chosen |= {"max_jobs": max_jobs, "site": site, "part_bytes": part_size_bytes}
    options = worker_options(
        chosen,
        own_stop,
        time_limit_seconds=None,
        grace_seconds=None,
        warn=lambda text: warnings.warn(text, RuntimeWarning, stacklevel=5),
    )

    def work(call: Callable[[Call], None]) -> Preview:
        found: list[Preview] = []

        def emit(event: Event) -> None:
            if isinstance(event, Preview):
                found.append(event)
            call(partial(tell, event))

        Worker(joblist, alone(os.environ), options, emit).preview(rate_bytes_per_second)
        return found[-1]

    return in_background(work, own_stop)
