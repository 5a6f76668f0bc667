"""The options of a worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from jobtool.events import unfailing
from jobtool.jobs.exportsettings import require_uncompressed
from jobtool.jobs.forms import Compression
from jobtool.jobs.jobchoice import JobChoice
from jobtool.methods.method import OWN_METHODS, STREAM
from jobtool.methods.plugins import AUTO, named_methods
from jobtool.stop import Stop
from jobtool.stores.preserve import KEEP_BY_DEFAULT, attributes_to_keep
from jobtool.transfer.concurrency import most_small_files
from jobtool.transfer.packing.codecs import require_usable
from jobtool.transfer.policies import IfExists, IfGone, Policies, Verify
from jobtool.transfer.retry import DEFAULT_PATIENCE_SECONDS, Retry

if TYPE_CHECKING:
    from jobtool.jobs.claimpolicy import ClaimSetting
    from jobtool.jobs.settings import Settings, TransferSettings
    from jobtool.stores.local import LinkPolicy
    from jobtool.worker.events import JobProgress, RunProgress

DEFAULT_THREADS = 16
DEFAULT_MAX_ATTEMPTS = 3


def _now() -> datetime:
    return datetime.now(UTC)


def _watch_nothing(progress: JobProgress | RunProgress) -> None:
    pass


#: When a worker looks at the whole list, to tell how far it is.
Looks = Literal["always", "if-short", "never"]


class WorkerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a worker: up to ``threads`` files at a time. It ends after ``max_jobs`` jobs.

    A job that fails in ways that may pass is tried ``max_attempts`` times in all; a store that
    doesn't answer is given ``patience_seconds``. ``part_bytes`` is the size from which files go in
    parts. ``if_exists``, ``links``, ``verify``, ``if_gone``, ``compression``, ``preserve`` (words),
    ``methods`` (names), ``bandwidth`` and ``max_requests_per_second`` (0 for no limit) are the
    options of ``transfer-worker`` of these names. If one of all these is None, the value in
    joblist.toml applies, else the default.

    ``stop``, once set, makes the worker finish the files and parts in progress, hand its job back
    and end. ``drain_at`` is when that happens for lack of time, on the ``monotonic`` clock, None
    for never. The worker begins no job that would take longer. ``claims`` is the kind of claims,
    None for the joblist's own. With ``wait`` the worker stays until nothing is ``ongoing``. Without
    ``share`` it neither helps other workers nor accepts help. ``site`` is where the worker is: it
    does the steps of packages that belong there; None for those of all sites. ``jobs`` are those
    that it takes, ``order`` how it puts them in order, as ``--order`` has it.

    ``watch`` is called with the job's progress several times a second, ``watch_run`` with that of
    this worker and of the whole list, or of all ranks at rank 0. An exception from them fails no
    job. For its progress the worker looks at the whole list: by ``looks`` ``always``, ``if-short``
    (and if few others do so, too) or ``never``. ``now`` and ``monotonic`` (seconds) are the clock.
    ``sleep`` waits between tries; by default ``stop`` interrupts it.
    """

    threads: int | None = None
    part_bytes: int | None = None
    max_attempts: int | None = None
    patience_seconds: float | None = None
    if_exists: IfExists | None = None
    links: LinkPolicy | None = None
    verify: Verify | None = None
    if_gone: IfGone | None = None
    compression: Compression | None = None
    preserve: Sequence[str] | None = None
    methods: Sequence[str] | None = None
    bandwidth: str | None = None
    max_requests_per_second: float | None = None
    max_jobs: int | None = None
    stop: Stop = msgspec.field(default_factory=Stop)
    drain_at: float | None = None
    claims: ClaimSetting | None = None
    wait: bool = False
    share: bool = True
    site: str | None = None
    jobs: JobChoice = JobChoice()
    order: str = "name"
    watch: Callable[[JobProgress], None] = _watch_nothing
    watch_run: Callable[[RunProgress], None] = _watch_nothing
    looks: Looks = "if-short"
    now: Callable[[], datetime] = _now
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] | None = None


class ResolvedOptions(WorkerOptions, frozen=True, kw_only=True):
    """The same options with everything decided; ``part_bytes`` None is the copier's default.

    ``small_files`` is how many small files at a time there may be if that is more than ``threads``.
    ``is_auto`` says that ``methods`` are those that ``auto`` stands for.
    """

    threads: int = DEFAULT_THREADS
    small_files: int | None = None
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    patience_seconds: float = DEFAULT_PATIENCE_SECONDS
    if_exists: IfExists = "verify"
    links: LinkPolicy = "follow"
    verify: Verify = "digest"
    if_gone: IfGone = "error"
    compression: Compression = "none"
    methods: Sequence[str] = OWN_METHODS
    is_auto: bool = False

    @property
    def policies(self) -> Policies:
        """The user's choices, as the transfer takes them."""
        keep = KEEP_BY_DEFAULT if self.preserve is None else attributes_to_keep(self.preserve)
        return Policies(
            if_exists=self.if_exists,
            links=self.links,
            verify=self.verify,
            if_gone=self.if_gone,
            preserve=keep,
            compression=self.compression,
            own_methods=tuple(name for name in OWN_METHODS if name in self.methods),
        )

    def retry(
        self, stop: Stop, *, on_retry: Callable[[BaseException], None] | None = None
    ) -> Retry:
        """Return the ``Retry`` that these options ask for. It tries until ``stop`` is set."""
        return Retry(
            patience_seconds=self.patience_seconds,
            stop=stop,
            sleep=self.sleep,
            on_retry=on_retry,
            monotonic=self.monotonic,
        )


def options_for(settings: Settings, options: WorkerOptions) -> ResolvedOptions:
    """Decide the options of a worker on a joblist; see ``resolve_options``.

    Raises ``UsageError``, also for compression of an export's files.
    """
    resolved = resolve_options(options, settings.transfer)
    if settings.export is not None:
        require_uncompressed(resolved.compression)
    return resolved


def resolve_options(options: WorkerOptions, settings: TransferSettings) -> ResolvedOptions:
    """Decide: options as given, else ``[transfer]`` of joblist.toml, else the defaults.

    Work is shared only where jobtool's own methods move all files: helpers know of no other.
    Raises ``UsageError`` for compression that isn't possible.
    """
    of_joblist = {name: getattr(settings, name) for name in settings.__struct_fields__}
    of_joblist["part_bytes"] = of_joblist.pop("part_size_bytes")
    given = {name: getattr(options, name) for name in options.__struct_fields__}
    decided = {
        name: value
        for values in (of_joblist, given)
        for name, value in values.items()
        if value is not None
    }
    asked = decided.get("methods", OWN_METHODS)
    compression = decided.get("compression", "none")
    methods = named_methods(asked, compression)
    decided |= {
        "small_files": None if "threads" in decided else most_small_files(),
        "methods": methods,
        "is_auto": AUTO in asked,
        "share": options.share and shares_with(methods),
        "watch": unfailing(options.watch),
        "watch_run": unfailing(options.watch_run),
    }
    require_usable(compression, methods)
    return ResolvedOptions(**decided)


def shares_with(methods: Sequence[str]) -> bool:
    """Return True if workers may help each other: helpers know of no methods but jobtool's own."""
    return STREAM in methods and set(methods) <= set(OWN_METHODS)
