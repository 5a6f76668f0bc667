"""The limits of a worker: chosen by its options or by joblist.toml, and shared with others."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from datetime import time

from jobtool.errors import JoblistError, JobtoolError, reason_of
from jobtool.events import Emit
from jobtool.jobs import settings
from jobtool.jobs.joblist import JobList
from jobtool.jobs.limits import Bandwidth
from jobtool.jobs.movers import Movers
from jobtool.jobs.safe_read import UnfitFileError
from jobtool.jobs.settings import TransferSettings
from jobtool.jobs.trust import read_trusted
from jobtool.transfer.partranges import DEFAULT_PART_BYTES
from jobtool.transfer.throttle import Throttle
from jobtool.worker.events import LimitsKept, LimitsSet
from jobtool.worker.options import WorkerOptions
from jobtool.worker.rankgroup import RankGroup
from jobtool.worker.routelimits import RouteLimits

#: How often a worker looks whether joblist.toml or control.json has changed. All workers together
#: look about fifty times a second at most.
_READ_SECONDS = 3.0
_READS_PER_SECOND = 50

#: In the folder of claims: the workers that move data over each route, or from or to each place.
_ROUTES_FOLDER = "routes"

#: How often the share is divided again while this worker moves data.
_LOOK_SECONDS = 1.0

#: After this time without data a worker leaves its share to others.
_IDLE_SECONDS = 1.5

#: The last rank of a run begins at most this much later than the first.
_APART_SECONDS = 1.0

#: How long the end of a worker waits for the thread.
_END_SECONDS = 10.0


class Chosen:
    """The values of ``bandwidth`` and ``max_requests_per_second`` that apply.

    A value of ``options`` goes before that of joblist.toml, which is read again when it has
    changed. ``on_kept`` is called, once for each change of the file, if it can't be read: the last
    good values stay.
    """

    def __init__(
        self, joblist: JobList, options: WorkerOptions, on_kept: Callable[[str], None]
    ) -> None:
        self._path = os.path.join(joblist.path, settings.FILENAME)
        self._options = options
        self._on_kept = on_kept
        self._state: tuple[int, ...] | None = None  # of the file as it was read
        self._new_state: tuple[int, ...] | None = None  # of the file when it was last looked at
        self._is_kept = False
        self.is_fixed = None not in (options.bandwidth, options.max_requests_per_second)
        self._adopt(joblist.settings.transfer)

    def _adopt(self, of_joblist: TransferSettings) -> None:
        given = self._options
        text = given.bandwidth if given.bandwidth is not None else of_joblist.bandwidth
        requests = given.max_requests_per_second
        if requests is None:
            requests = of_joblist.max_requests_per_second
        self.bandwidth = Bandwidth() if text is None else Bandwidth.parse(text)
        self.requests_per_second = requests or None

    def read_again(self) -> None:
        """Read joblist.toml if it has changed, and has stayed the same since the last look.

        So a file that is being written isn't read before it is whole.
        """
        try:
            found = os.stat(self._path)
            state = (found.st_mtime_ns, found.st_size, found.st_ino)
            is_settled, self._new_state = state == self._new_state, state
            if state == self._state:
                self._is_kept = False
                return
            if not is_settled:
                return
            data, _ = read_trusted(self._path)
            self._state = state
            self._adopt(settings.decode(data.decode(), path=self._path).transfer)
            self._is_kept = False
        except (OSError, UnicodeDecodeError, UnfitFileError, JoblistError) as error:
            if not self._is_kept:
                self._is_kept = True
                is_ours = isinstance(error, JoblistError)
                self._on_kept(str(error) if is_ours else reason_of(error))


class Limits:
    """Keeps ``throttle`` at this worker's share of the limits, from a thread of its own.

    The limits are divided equally among the workers of the joblist that move data now.
    ``name`` is this worker's name as a member. ``also`` is called as often as joblist.toml is
    looked at, and must not raise. ``workers`` returns how many workers the joblist has, as far as
    this one knows. In its first second a worker takes no more than if
    all ranks of its run, and all members, moved data: those that begin at the same moment don't see
    each other yet. The ranks of a run begin one after the other, within the time of a part: else
    all would send a part at the same moment, again and again.
    """

    def __init__(
        self,
        joblist: JobList,
        options: WorkerOptions,
        emit: Emit,
        rank_group: RankGroup,
        name: str,
        also: Callable[[], None] = lambda: None,
        workers: Callable[[], int] = lambda: 1,
    ) -> None:
        self._also = also
        self._workers = workers
        self.throttle = Throttle(options.monotonic)
        self._emit = emit
        self._now = options.now
        self._monotonic = options.monotonic
        self._chosen = Chosen(joblist, options, self._tell_kept)
        self._membership = rank_group.membership
        self._movers = Movers(
            joblist.claims_path, name, self._membership.is_present, options.monotonic
        )
        self._routes = RouteLimits(
            lambda limit: Movers(
                joblist.claims_path,
                name,
                self._membership.is_present,
                options.monotonic,
                os.path.join(_ROUTES_FOLDER, limit),
            )
        )
        self._rank, self._ranks = rank_group.rank, rank_group.size
        self._told: tuple[float | None, float | None] = (None, None)
        self._has_begun = False
        self._divisor = 0  # 0 while this worker moves nothing
        self._read_at = self._beat_at = self._used_at = float("-inf")
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="limits", daemon=True)

    def __enter__(self) -> Limits:
        self.look()
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._is_over = True
        self.throttle.wanted.set()
        self._thread.join(_END_SECONDS)  # not for ever: the joblist's filesystem may be gone
        self._movers.leave()
        self._routes.leave()

    def use_routes(self, limits: Mapping[str, Bandwidth]) -> None:
        """Keep the limits of a leg, too, by their names; none for jobs that aren't moved by one."""
        if limits or self._routes.are_any:
            self._routes.use(limits)
            self.look_again()

    def look_again(self) -> None:
        """Have the thread look at once."""
        self.throttle.wanted.set()

    def _run(self) -> None:
        try:
            while True:
                self.throttle.wanted.wait(self._pause_seconds)
                if self._is_over:
                    return
                self.throttle.wanted.clear()
                self.look()
        except BaseException:  # a bug; no thread may wait for a share for ever
            self._divisor = self._divisor or self._ranks
            self.throttle.set_shares(*map(self._share_of, self._told))
            raise

    @property
    def _pause_seconds(self) -> float:
        if self.throttle.is_on:
            return _LOOK_SECONDS
        return self._read_seconds

    @property
    def _read_seconds(self) -> float:
        return max(_READ_SECONDS, max(self._ranks, self._workers()) / _READS_PER_SECOND)

    def look(self) -> None:
        """Look at everything that may have changed, and set this worker's share."""
        now = self._monotonic()
        if now - self._read_at >= self._read_seconds:
            self._read_at = now
            self._also()
            if not self._chosen.is_fixed:
                self._chosen.read_again()
        limits = self.tell()
        if self.throttle.is_in_use:
            self._used_at = now
        is_in_use = now - self._used_at < _IDLE_SECONDS
        of_route = self._routes.share(self._local_time, is_in_use=is_in_use)
        if limits == (None, None):
            self._leave()
            self.throttle.set_shares(of_route, None)
            return
        is_first = False
        if now - self._used_at >= _IDLE_SECONDS:
            self._leave()
        elif not self._divisor or now - self._beat_at >= self._movers.period_seconds:
            self._beat_at = now
            is_first, self._has_begun = not self._has_begun, True
            self._divide(is_first=is_first)
        shares = [self._share_of(limit) for limit in limits]
        least = min((rate for rate in (shares[0], of_route) if rate is not None), default=None)
        self.throttle.set_shares(least, shares[1])
        if is_first and shares[0] is not None:
            most = min(shares[0] * _APART_SECONDS, DEFAULT_PART_BYTES)
            self.throttle.owe_bytes(int(most * self._rank / self._ranks))

    def _share_of(self, limit: float | None) -> float | None:
        if limit is None:
            return None
        return limit / self._divisor if self._divisor else 0.0

    def _divide(self, *, is_first: bool) -> None:
        """Count the workers that move data. If the folder can't be used, the last number stays."""
        least = 0
        with contextlib.suppress(OSError, JobtoolError):
            if is_first:
                least = max(self._ranks, self._membership.count())
            self._movers.beat()
        self._divisor = max(self._movers.count or self._ranks, least)

    def _leave(self) -> None:
        self._divisor = 0
        self._movers.leave()

    @property
    def _local_time(self) -> time:
        return self._now().astimezone().time()

    def tell(self) -> tuple[float | None, float | None]:
        """Return the bytes and the requests that may be moved now; emit them if they are new."""
        rate = self._chosen.bandwidth.at(self._local_time)
        limits = (rate, self._chosen.requests_per_second)
        if limits != self._told:
            self._told = limits
            self._emit(LimitsSet(bytes_per_second=limits[0], requests_per_second=limits[1]))
        return limits

    def _tell_kept(self, reason: str) -> None:
        self._emit(LimitsKept(reason=reason))
