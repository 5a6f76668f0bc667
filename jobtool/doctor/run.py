"""The whole diagnosis: its checks in order, each on the ranks that it needs."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping

import msgspec
from msgspec.structs import replace

from jobtool.doctor.checkresult import CheckResult, Subject, Verdict
from jobtool.doctor.claims import View, chosen, claims_result
from jobtool.doctor.destination import STAGING, DestinationProbe
from jobtool.doctor.environment import surrounding_results, versions
from jobtool.doctor.folder import (
    clock_result,
    folder_results,
    lock_result,
    probe_folder,
    probe_path,
    remove_probe,
)
from jobtool.doctor.janitor import Janitor
from jobtool.doctor.methods import methods_results
from jobtool.doctor.metrics import metrics_results
from jobtool.doctor.nodes import Between, look_between
from jobtool.doctor.notices import notices_results
from jobtool.doctor.places import Places, places_of
from jobtool.doctor.ranks import DEFAULT_TIMEOUT_SECONDS, Ranks, RanksLostError
from jobtool.doctor.source import source_result
from jobtool.errors import JoblistUnavailableError, JobtoolError, UsageError, reason_of
from jobtool.jobs.claimpolicy import claim_policy_of, claim_setting_of
from jobtool.jobs.filesystem import Filesystem, filesystem_of
from jobtool.jobs.joblist import JobList
from jobtool.stores.registry import StoreRegistry
from jobtool.transfer.stores_of import stores_of
from jobtool.worker.environment import Environment

#: The subjects of the checks, in the order in which they are printed.
ORDER = (
    "surroundings",
    "joblist",
    "nodes",
    "source",
    "staging",
    "destination",
    "metrics",
    "notices",
)

#: How many seconds stores may take: each has timeouts of its own, and there are several.
_STORES_SECONDS = 900.0

_NODES = Subject("nodes")


class Diagnosis(msgspec.Struct, frozen=True):
    """All results, at rank 0. With ``is_broken_off`` other ranks still wait and must be ended."""

    results: tuple[CheckResult, ...] = ()
    is_broken_off: bool = False

    @property
    def exit_code(self) -> int:
        """4 if anything failed, else 0."""
        return 4 if any(result.verdict is Verdict.FAIL for result in self.results) else 0


class _Orders(msgspec.Struct, frozen=True):
    """Rank 0's decisions: the probe's name, and which ranks check what for their node."""

    token: str
    deputies: frozenset[int]
    places: Places


class _RollCall(msgspec.Struct, frozen=True):
    """What a rank sends about itself first."""

    view: View
    versions: str
    error: JobtoolError | None


def diagnose(
    open_joblist: Callable[[], JobList],
    environment: Environment,
    environ: Mapping[str, str],
    *,
    ranks: Ranks | None = None,
) -> Diagnosis:
    """Examine a joblist from all ranks; the results are at rank 0.

    ``open_joblist`` opens it by this rank's own path. Everything that is made is removed, however
    this ends. Raises at rank 0 what any rank's ``open_joblist`` raises, and ``RanksLostError`` at
    the others if rank 0 doesn't answer.
    """
    ranks = ranks or Ranks(environment, timeout_seconds=DEFAULT_TIMEOUT_SECONDS)
    opened, roll_call = _roll_call(open_joblist, environment)
    calls = ranks.gather(roll_call)
    absent = next((call for call in calls if call.error is not None), None)
    if ranks.broadcast(absent is not None) or opened is None:
        _raise(absent, ranks)
        return Diagnosis()
    examination = _Examination(*opened, ranks, calls)
    try:
        examination.run()
    except (RanksLostError, JoblistUnavailableError, OSError) as error:
        if ranks.rank:
            if isinstance(error, RanksLostError):
                raise
            raise JoblistUnavailableError(f"{roll_call.view.name}: {reason_of(error)}") from None
        what = reason_of(error) if isinstance(error, OSError) else str(error)
        advice = "Start doctor again; if it happens again, leave that node out."
        examination.results.append(_NODES.failed("answer", what, advice))
        examination.is_broken_off = ranks.size > 1
    results = examination.results
    if ranks.rank == 0:
        views = [call.view for call in calls]
        told = [call.versions for call in calls]
        results += surrounding_results(environ, environment, views, told)
    results.sort(key=lambda result: ORDER.index(result.about))
    return Diagnosis(tuple(results), examination.is_broken_off)


def _roll_call(
    open_joblist: Callable[[], JobList], environment: Environment
) -> tuple[tuple[JobList, StoreRegistry] | None, _RollCall]:
    view = View(host=environment.host, rank=environment.rank, filesystem=Filesystem("unknown", "/"))
    try:
        joblist = open_joblist()
        stores = stores_of(joblist)
    except JobtoolError as error:
        return None, _RollCall(view, versions(), error)
    view = replace(view, filesystem=filesystem_of(joblist.path))
    return (joblist, stores), _RollCall(view, versions(), None)


def _raise(absent: _RollCall | None, ranks: Ranks) -> None:
    if absent is None or absent.error is None:
        return  # rank 0 prints it for all
    if ranks.size == 1:
        raise absent.error
    raise UsageError(f"{absent.view.name}: {absent.error}")


class _Examination:
    """One rank's part. All ranks go through the same steps."""

    def __init__(
        self, joblist: JobList, stores: StoreRegistry, ranks: Ranks, calls: list[_RollCall]
    ) -> None:
        self.results: list[CheckResult] = []
        self.is_broken_off = False
        self._joblist = joblist
        self._ranks = ranks
        self._views = [call.view for call in calls]
        self._subject = Subject("joblist", joblist.path)
        self._stores = stores
        self._janitor = Janitor()

    def run(self) -> None:
        """Examine everything."""
        orders = self._ranks.broadcast(self._orders() if self._ranks.rank == 0 else None)
        assert orders is not None
        with contextlib.ExitStack() as stack:
            if self._ranks.rank in orders.deputies | {0}:
                stack.enter_context(self._janitor)
            try:
                self._folder(orders)
            except RanksLostError:
                if self._ranks.rank:  # rank 0, which made the folder, may be dead
                    remove_probe(probe_path(self._joblist.claims_path, orders.token))
                raise
            self._places(orders)

    def _orders(self) -> _Orders:
        first_of_host: dict[str, int] = {}
        for view in self._views:
            first_of_host.setdefault(view.host, view.rank)
        deputies = frozenset(first_of_host.values()) - {0}
        return _Orders(secrets.token_hex(8), deputies, places_of(self._joblist))

    def _folder(self, orders: _Orders) -> None:
        claims_path = self._joblist.claims_path
        with contextlib.ExitStack() as stack:
            folder = probe_path(claims_path, orders.token)
            if self._ranks.rank == 0:
                self._janitor.expect_folder(folder)
                try:
                    stack.enter_context(probe_folder(claims_path, orders.token))
                    self.results += folder_results(self._subject, folder)
                except OSError as error:
                    advice = "Check its owner and mode, its quota, and how it is mounted."
                    self.results.append(
                        self._subject.failed("write", f"can't write: {reason_of(error)}", advice)
                    )
            if self._ranks.broadcast(not self._has_failed("write", "rename")):
                self._between(orders, folder)

    def _between(self, orders: _Orders, folder: str) -> None:
        ranks = self._ranks
        setting = claim_setting_of(self._joblist)
        may_lock = False
        if ranks.rank == 0:
            is_needed = chosen(setting, self._views[0]) == "lock"
            lock = lock_result(self._subject, folder, is_needed=is_needed)
            self.results.append(lock)
            may_lock = lock.verdict is Verdict.PASS
        between = Between()
        if ranks.size > 1:
            between = look_between(
                _NODES,
                ranks,
                folder,
                self._views,
                may_lock=may_lock,
                strictest=orders.places.strictest_clock,
            )
        clock = None
        if ranks.rank in orders.deputies | {0}:
            clock = clock_result(self._subject, folder, strictest=orders.places.strictest_clock)
        clocks = ranks.gather([] if clock is None else [clock])
        if ranks.rank:
            return
        self.results += between.results
        self.results += self._merged("clock and filesystem", clocks)
        is_excluding = may_lock and between.is_excluding
        recorded = claim_policy_of(self._joblist).kind
        self.results.append(
            claims_result(self._subject, setting, recorded, self._views, is_excluding=is_excluding)
        )

    def _places(self, orders: _Orders) -> None:
        ranks, places = self._ranks, orders.places
        with contextlib.ExitStack() as first:
            probes: list[DestinationProbe] = []
            if ranks.rank == 0:
                probes = [self._entered(probe, first) for probe in self._probes(orders)]
            ranks.broadcast(
                None
            )  # other ranks make folders only from here on: rank 0 knows which weren't there
            mine: list[CheckResult] = []
            with contextlib.ExitStack() as then:
                if ranks.rank in orders.deputies:
                    probes = [self._entered(probe, then) for probe in self._probes(orders)]
                if ranks.rank in orders.deputies | {0}:
                    joblist = self._joblist
                    mine += (source_result(url, self._stores, joblist) for url in places.sources)
                    mine += self._export_results()
                    mine += metrics_results(self._joblist.settings.metrics)
                    mine += notices_results(self._joblist.settings.notify)
                for probe in probes:
                    is_brief = ranks.rank or probe.about == STAGING
                    mine += probe.briefly() if is_brief else probe.thoroughly()
            told = ranks.gather(mine, timeout_seconds=_STORES_SECONDS)
        self.results += self._merged("reach from other nodes", told)
        if ranks.rank == 0:
            self.results += methods_results(self._joblist, self._stores)
        ranks.broadcast(None, timeout_seconds=_STORES_SECONDS)
        if ranks.rank == 0 and not places.destinations:
            self.results.append(
                Subject("destination").warned(
                    "reach and write",
                    "neither joblist.toml nor a job names a destination",
                    "Make jobs with generate-joblist, then run doctor again.",
                )
            )

    def _probes(self, orders: _Orders) -> Iterator[DestinationProbe]:
        is_strict = self._joblist.settings.transfer.if_exists == "error"
        token = f"{orders.token}-{self._ranks.rank}"
        for url in orders.places.destinations:
            yield DestinationProbe(url, self._stores, token, is_strict=is_strict)
        export = self._joblist.settings.export
        if export is not None and export.staging is not None:
            yield DestinationProbe(export.staging, self._stores, token, about=STAGING)

    def _export_results(self) -> Iterator[CheckResult]:
        """Yield what is checked of an export only."""
        settings = self._joblist.settings.export
        if settings is None:
            return
        from jobtool.doctor.export import default_staging_result, query_results

        yield from query_results(settings)
        if settings.staging is None:
            yield default_staging_result(self._joblist, settings)

    def _entered(self, probe: DestinationProbe, stack: contextlib.ExitStack) -> DestinationProbe:
        stack.enter_context(probe)
        self._janitor.expect_destination(
            probe.url, probe.token, probe.made_folders, self._joblist.settings
        )
        return probe

    def _merged(self, check: str, told: list[list[CheckResult]]) -> Iterator[CheckResult]:
        """Yield rank 0's results, what isn't a pass on other nodes, and how many are well."""
        if not told:
            return
        yield from told[0]
        well = 0
        for view, results in zip(self._views[1:], told[1:], strict=True):
            bad = [result for result in results if result.verdict is not Verdict.PASS]
            well += bool(results) and not bad
            for result in bad:
                yield replace(result, found=f"on {view.host}: {result.found}")
        if well:
            yield _NODES.passed(check, f"all is well on {well} other node(s)")

    def _has_failed(self, *checks: str) -> bool:
        return any(
            result.verdict is Verdict.FAIL and result.check in checks for result in self.results
        )
