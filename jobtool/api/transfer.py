"""``transfer_jobs``: transfers the jobs of a joblist until none is left."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from jobtool.api.background import Call, in_background
from jobtool.api.places import Filesystem, Place, local_path, opened
from jobtool.errors import UsageError
from jobtool.events import Emit, Event, ignore, unfailing
from jobtool.stop import Stop

if TYPE_CHECKING:
    from jobtool.jobs.claimpolicy import ClaimSetting
    from jobtool.jobs.forms import Compression
    from jobtool.jobs.joblist import JobList
    from jobtool.stores.local import LinkPolicy
    from jobtool.transfer.policies import IfExists, IfGone, Policies, Verify
    from jobtool.worker.events import JobProgress, WorkerFinished


class Transferred(msgspec.Struct, frozen=True, kw_only=True):
    """What ``transfer_jobs`` did, and the state of the joblist afterwards.

    ``succeeded``, ``failed`` and ``handed_back`` count the jobs that this call took up.
    ``statuses`` counts all jobs of the joblist, by ``todo``, ``ongoing``, ``error``, ``success``
    and ``invalid``. ``exit_code`` is that of ``transfer-worker``: 0 if nothing is left to claim and
    nothing in error, 1 if some job is in error or invalid, 3 if work is left, 5 if that waits for
    files that can't be read yet. ``stopped`` is why it ended early, None if it didn't. ``policies``
    are those that applied: the arguments, else the values in joblist.toml, else the defaults.
    """

    succeeded: int
    failed: int
    handed_back: int
    statuses: Mapping[str, int]
    exit_code: int
    stopped: str | None
    policies: Policies


def transfer_jobs(
    joblist: Place | JobList,
    *,
    threads: int | None = None,
    jobs: Collection[str] | None = None,
    match: Collection[str] | None = None,
    order: str = "name",
    max_jobs: int | None = None,
    time_limit_seconds: float | None = None,
    grace_seconds: float | None = None,
    wait: bool = False,
    site: str | None = None,
    share: bool = True,
    claims: ClaimSetting | None = None,
    part_size_bytes: int | None = None,
    max_attempts: int | None = None,
    patience_seconds: float | None = None,
    if_exists: IfExists | None = None,
    verify: Verify | None = None,
    links: LinkPolicy | None = None,
    if_gone: IfGone | None = None,
    compression: Compression | None = None,
    preserve: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    bandwidth: str | None = None,
    max_requests_per_second: float | None = None,
    metrics_textfile: Place | None = None,
    credentials: Mapping[str, Any] | None = None,
    source_fs: Filesystem | None = None,
    target_fs: Filesystem | None = None,
    trust: bool = False,
    on_event: Emit = ignore,
    on_progress: Callable[[JobProgress], None] = ignore,
    stop: Stop | None = None,
) -> Transferred:
    """Transfer the jobs of a joblist, each file verified, until nothing is left to claim.

    It is one worker, like ``transfer-worker``, and works next to others. Under mpirun it is a
    single worker, not a rank. If an argument is None, joblist.toml decides, else the default
    applies.

    The work is done in separate threads. ``on_event`` and ``on_progress`` are called in the thread
    of the caller, one call at a time. An exception from them stops nothing, except
    ``KeyboardInterrupt`` and others that aren't an ``Exception``. Such an interruption, for
    instance by Ctrl-C, finishes the files in progress, hands the job back, and is raised again. A
    second one doesn't wait for the files in progress.

    Args:
        joblist: The folder, or an open joblist.
        threads: How many files at a time at most, 1 to 256. By default 16, and up to 64 small ones
            while that is faster.
        jobs: Only these jobs, by name; None for all. An empty collection is an error. ``exit_code``
            is about these alone.
        match: Only jobs whose names match one of these globs, such as ``plate1*``.
        order: Which jobs come first: by ``name``, ``largest``, ``smallest``, ``field:NAME`` or
            ``random``. Jobs of a higher priority come before.
        max_jobs: End after this many jobs.
        time_limit_seconds: In how many seconds this process will be killed; by default what the
            scheduler says. The work stops before.
        grace_seconds: How many seconds before that to begin to stop; 120 by default, or a quarter
            of the time if that is less.
        wait: Stay until no job is ongoing, and take what is left.
        site: Where this worker is, by the joblist's sites file: it does the steps of packages that
            belong there. None does those of all sites.
        share: Help other workers with a large job, and let them help.
        claims: ``lock``, ``lease`` or ``auto``, by the filesystem.
        part_size_bytes: The size from which files are sent in parts, and that of each part, 5 MiB
            to 5 GiB.
        max_attempts: How often a job with temporary errors is tried; 3 by default.
        patience_seconds: How many seconds to wait for a store that doesn't answer.
        if_exists: A file at the destination without a receipt is compared and kept if it is the
            same (``verify``), sent again (``overwrite``), or an ``error``.
        verify: A written file is proven by the store's digest or from memory (``digest``), or by
            reading it again from its medium (``read-back``).
        links: ``follow``, ``skip``, ``error`` or ``keep`` the symbolic links of a local source.
        if_gone: A file that was listed by an earlier attempt, and is gone from the source, is an
            ``error`` or left out (``ignore``).
        compression: Store files compressed by ``zstd`` or ``gzip`` where that saves something,
            under names that end in ``.zst`` or ``.gz``; or store such files as what they were
            (``unpack``); or neither (``none``, the default).
        preserve: Which attributes are kept: some of ``mode``, ``times``, ``xattrs``, ``acl``,
            ``owner``; or ``none`` or ``all``.
        methods: How files are moved: names of methods, each of which gets what those before it
            leave. By default ``server-side``, then ``stream``; packages bring others.
        bandwidth: The bytes that may be moved in a second, such as ``200MB/s``, by all workers
            together; or a timetable, such as ``08:00-18:00 50MB/s, else unlimited``.
        max_requests_per_second: The requests to stores in a second, of all workers together; 0 for
            no limit.
        metrics_textfile: A folder in which this worker's metrics are written to a file, for
            node_exporter's textfile collector.
        credentials: A table ``[credentials]`` in place of the joblist's.
        source_fs: The filesystem of the source, as for ``generate_joblist``: a dictionary, over
            that of joblist.toml, or an object. Its secrets stay in this process.
        target_fs: The filesystem of the destination, likewise.
        trust: Run the commands that joblist.toml names for credentials, even if others could have
            written it.
        on_event: Called with each event.
        on_progress: Called several times a second with the progress of the running job.
        stop: Once it is set, from any thread, the files in progress are finished and the job is
            handed back.

    Raises:
        UsageError: There is nothing at the path, an argument is invalid, or other workers use
            another kind of claims.
        JoblistError: The folder isn't a joblist, or its joblist.toml can't be used or trusted.
        InfrastructureError: Credentials, a store or the joblist can't be used. The job was handed
            back.
        MembershipLostError: Other workers regard this one as dead.

    Examples:
        >>> jobtool.transfer_jobs("joblist", threads=4).statuses["success"]
        2
    """
    from jobtool.api.options import require_grace, require_seconds, require_settings, worker_options
    from jobtool.jobs.job import JobStatus
    from jobtool.jobs.jobchoice import JobChoice
    from jobtool.metrics.meter import metered
    from jobtool.notify.watching import notifying
    from jobtool.worker.environment import alone
    from jobtool.worker.events import WorkerFinished
    from jobtool.worker.loop import Worker
    from jobtool.worker.options import resolve_options
    from jobtool.worker.order import require_order

    policies = {
        "if_exists": if_exists,
        "verify": verify,
        "links": links,
        "if_gone": if_gone,
        "compression": compression,
        "preserve": preserve,
    }
    limits = {
        "methods": methods,
        "threads": threads,
        "max_attempts": max_attempts,
        "patience_seconds": patience_seconds,
        "bandwidth": bandwidth,
        "max_requests_per_second": max_requests_per_second,
    }
    require_settings(part_size_bytes=part_size_bytes, **limits, **policies)
    require_seconds(time_limit_seconds=time_limit_seconds, grace_seconds=grace_seconds)
    require_grace(
        grace_seconds,
        time_limit_seconds,
        grace_name="grace_seconds",
        time_limit_name="time_limit_seconds",
    )
    if max_jobs is not None and not (type(max_jobs) is int and max_jobs >= 1):
        raise UsageError(f"max_jobs: expected a whole number, 1 or more; found {max_jobs!r}")
    if claims not in (None, "auto", "lock", "lease"):
        raise UsageError(f"claims: expected one of auto, lock, lease; found {claims!r}")
    joblist = opened(
        joblist,
        trust=trust,
        credentials=credentials,
        source_fs=source_fs,
        target_fs=target_fs,
    )
    textfile = None if metrics_textfile is None else local_path(metrics_textfile)
    tell, show = unfailing(on_event), unfailing(on_progress)
    own_stop = Stop(parent=stop)
    chosen = {
        "jobs": JobChoice.of(jobs, match),
        "order": require_order(order),
        "max_jobs": max_jobs,
        "wait": wait,
        "site": site,
        "share": share,
        "claims": claims,
        "part_bytes": part_size_bytes,
        **limits,
        **policies,
    }
    options = worker_options(
        chosen,
        own_stop,
        time_limit_seconds=time_limit_seconds,
        grace_seconds=grace_seconds,
        warn=lambda text: warnings.warn(text, RuntimeWarning, stacklevel=5),
    )

    def work(call: Callable[[Call], None]) -> WorkerFinished:
        finished: list[WorkerFinished] = []

        def emit(event: Event) -> None:
            if isinstance(event, WorkerFinished):
                finished.append(event)
            call(partial(tell, event))

        watched = replace(options, watch=lambda progress: call(partial(show, progress)))
        environment = alone(os.environ)
        with (
            metered(joblist, environment, emit, watched, textfile=textfile) as (told, watched),
            notifying(joblist, environment, told, watched) as (told, watched),
        ):
            Worker(joblist, environment, watched, told).run()
        return finished[-1]

    finished = in_background(work, own_stop)
    found = Counter(scanned.status for scanned in joblist.scan())
    return Transferred(
        succeeded=finished.succeeded,
        failed=finished.failed,
        handed_back=finished.handed_back,
        statuses={**{status.value: found[status] for status in JobStatus}, "invalid": found[None]},
        exit_code=finished.exit_code,
        stopped=finished.stopped,
        policies=resolve_options(options, joblist.settings.transfer).policies,
    )
