"""Packages of many terabytes over three routes, in virtual time: how long, how long the queues.

    python -m tests.benchmarks.routes [--petabytes 5] [--package-tb 30] [--workers 1000] [--seed 1]
        [--kill-hours 168] [--outage-hours 48] [--room 2] [--no-failures] [--runs 5] [--json FILE]

Chile has the packages, Cologne wants them unpacked and archived. A custom route has a link of its
own by night, a direct one skips Cologne's buffer, a relay goes by a hub. The way of each package is
planned by ``jobtool.routes.plan`` with the room and the outages of that moment: so room is what
spreads packages over the routes. Packages pass the steps copy (by the relay twice), unpack and
archive.

Nothing is moved. Between two events each transfer has a constant rate: its part of its site's
workers, but at most its part of the link. Workers are killed and come back, locations fail for
hours, an unpacking fails and is tried again after a while, the third failure waits for a person. A
kill costs what the worker had in flight; a failed unpack sends nothing again.

The cost of looking for work and of the catalog is counted by operations. What one takes is a
parameter: measure it on the filesystem of the joblist.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
import statistics
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import structs

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from jobtool.routes.conditions import Probed
from jobtool.routes.found import Route, RouteLeg
from jobtool.routes.plan import plan_route
from jobtool.routes.sites import SiteLocation, Sites
from jobtool.routes.sitesfile import read_sites

TB = 10**12
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_TICK_SECONDS = 1800.0

SITES = """
[sites.chile]
time_zone = "America/Santiago"
buffer = { url = "/chile/buffer" }
[sites.hub]
buffer = { url = "/hub/buffer", keep_free = "5%" }
[sites.cologne]
buffer = { url = "/cologne/buffer", keep_free = "5%" }
processing = { url = "/cologne/work", keep_free = "5%" }
archive = { url = "/cologne/archive" }

[[routes]]
name = "custom"
type = "custom"
from = "chile.buffer"
to = "cologne.buffer"
bandwidth = "100Gbit/s"
conditions = { hours = "22:00-06:00", reachable = true }

[[routes]]
name = "direct"
type = "direct"
from = "chile"
to = "cologne"
priority = 1
bandwidth = "08:00-18:00 20Gbit/s, else 40Gbit/s"
conditions = { reachable = true }

[[routes]]
name = "relay"
type = "relay"
from = "chile"
to = "cologne"
via = "hub"
bandwidth = "60Gbit/s"
conditions = { reachable = true }
"""

#: The room of locations, and the share of the workers that each site has.
ROOM_TB = {"hub.buffer": 300, "cologne.buffer": 500, "cologne.processing": 250}
SHARES = {"chile": 0.4, "hub": 0.2, "cologne": 0.4}


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameters:
    """What is simulated; hours and seconds are of virtual time."""

    petabytes: float = 5.0
    package_tb: float = 30.0
    workers: int = 1000
    seed: int = 1
    worker_mb_s: float = 200.0
    storage_gb_s: float = 20.0
    least_workers: int = 8  # that share a package before a site begins another
    most_workers: int = 64  # that share one package
    most_per_route: int = 0  # packages that a route copies at a time; 0 for any number
    kill_hours: float = 168.0  # between two kills of a worker
    restart_seconds: float = 600.0
    lost_gb: float = 3.0  # in flight at a kill: 30 TB in 10,000 parts
    outage_hours: float = 48.0  # between two outages of a location
    repair_hours: float = 3.0
    unpack_failure: float = 0.05
    backoff_seconds: float = 900.0
    intervention_hours: float = 8.0
    years: float = 10.0  # after which a run is given up
    room: float = 1.0  # times the room of ``ROOM_TB``
    items_per_package: int = 100
    # What operations cost, in seconds: measured on local disks, in a shared machine. Those of looks
    # are from tests/benchmarks/package_scans.py.
    jobs_per_package: int = 12
    first_look_job_seconds: float = 8.3e-5  # of CPU, for one job of a joblist
    look_job_seconds: float = 1.1e-5  # the same in later looks
    look_job_calls: float = 1.7  # calls of the filesystem, for one job in later looks
    look_every_seconds: float = 10.0  # of an idle worker; longer where looks read much
    look_job_reads: float = 0.85  # job files that are looked at, for each job
    reads_per_second: float = 10_000.0  # of all workers together
    catalog_write_seconds: float = 6e-3  # one Parquet file of 100 rows, with fsync
    catalog_file_seconds: float = 1.5e-3  # to read such a file
    catalog_row_seconds: float = 1.7e-6  # to read one row of a large file

    def without_failures(self) -> Parameters:
        """Return the same with nothing that fails."""
        never = math.inf
        return replace(self, kill_hours=never, outage_hours=never, unpack_failure=0.0)


@dataclass(slots=True)
class Package:
    """One package on its way; ``steps`` are those that it has yet to pass."""

    number: int
    size: int
    route: Route | None = None
    steps: deque[tuple[str, RouteLeg | None]] = field(default_factory=deque)
    failures: int = 0


@dataclass(slots=True)
class Task:
    """A step of a package that is under way; it fails once ``left`` is down to ``fails_at``."""

    package: Package
    step: str
    leg: RouteLeg | None
    site: str
    left: float
    fails_at: float | None
    begins_at: float
    rate: float = 0.0


@dataclass(kw_only=True, slots=True)
class Found:
    """What came out. Queue lengths are packages, by the step that they wait for."""

    days: float = 0.0
    gigabytes_s: float = 0.0
    packages: int = 0
    by_route: dict[str, int] = field(default_factory=dict)
    sent_bytes: float = 0.0
    leg_bytes: float = 0.0  # the sizes of all legs: what would be sent without kills
    kills: int = 0
    outages: int = 0
    unpack_failures: int = 0
    interventions: int = 0
    queue_mean: dict[str, float] = field(default_factory=dict)
    queue_most: dict[str, int] = field(default_factory=dict)
    workers_busy: float = 0.0
    scans: int = 0
    scan_seconds: float = 0.0
    first_looks_seconds: float = 0.0  # of all workers together
    looks_a_second: float = 0.0  # of all workers, if all are idle
    calls_a_second: float = 0.0  # of the filesystem, by these looks
    look_share: float = 0.0  # of the time of all workers
    catalog_rows: int = 0
    catalog_files: int = 0
    catalog_write_seconds: float = 0.0
    catalog_read_seconds: float = 0.0
    catalog_merged_seconds: float = 0.0
    events: int = 0


class Simulation:
    """One run. The same parameters give the same run."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.random = random.Random(parameters.seed)
        self.sites = read_sites(SITES, path="sites.toml")
        total, size = round(parameters.petabytes * 1000 * TB), round(parameters.package_tb * TB)
        sizes = [min(size, total - begin) for begin in range(0, total, size)]
        self.source = deque(Package(number, each) for number, each in enumerate(sizes))
        self.waiting: dict[str, deque[Package]] = {}
        self.tasks: list[Task] = []
        self.alive = {site: round(parameters.workers * share) for site, share in SHARES.items()}
        self.workers = dict(self.alive)
        self.reserved: Counter[str] = Counter()
        self.down: set[str] = set()
        self.now = 0.0
        self.timers: list[tuple[float, int, str, object]] = []
        self.timer_count = 0
        self.may_plan = True
        self.done = 0
        self.total, self.count = total, len(sizes)
        self.found = Found(packages=len(sizes))
        self.by_route: Counter[str] = Counter()
        self.on_route: Counter[str] = Counter()  # packages that wait for their copies, or have one
        self.waited: Counter[str] = Counter()
        self.busy = 0.0

    def run(self) -> Found:
        """Run to the end and return what came out."""
        self._after(_TICK_SECONDS, "tick")
        for site in self.alive:
            self._next_kill(site)
        for place in ROOM_TB:
            self._next_outage(place)
        while self.done < self.count:
            self._start_tasks()
            self._set_rates()
            self._advance()
            self.found.events += 1
            if self.now > self.parameters.years * 365 * 86400:
                raise SystemExit(
                    f"no end within {self.parameters.years:g} years: a package fits nowhere, or "
                    "there are too few workers"
                )
        return self._summed_up()

    # Timers

    def _after(self, seconds: float, what: str, about: object = None) -> None:
        if math.isfinite(seconds):
            self.timer_count += 1
            heapq.heappush(self.timers, (self.now + seconds, self.timer_count, what, about))

    def _exponential(self, mean: float) -> float:
        return self.random.expovariate(1 / mean) if math.isfinite(mean) else math.inf

    def _next_kill(self, site: str) -> None:
        count = max(1, self.workers[site])
        self._after(self._exponential(self.parameters.kill_hours * 3600 / count), "kill", site)

    def _next_outage(self, place: str) -> None:
        self._after(self._exponential(self.parameters.outage_hours * 3600), "outage", place)

    def _fire(self, what: str, about: object) -> None:
        if what == "tick":
            self._after(_TICK_SECONDS, "tick")
        elif what == "kill":
            self._kill(str(about))
            return  # which changes no way
        elif what == "back":
            self.alive[str(about)] += 1
            return
        elif what == "outage":
            self.found.outages += 1
            self.down.add(str(about))
            self._after(self._exponential(self.parameters.repair_hours * 3600), "repair", about)
        elif what == "repair":
            self.down.discard(str(about))
            self._next_outage(str(about))
        elif what == "ready":
            assert isinstance(about, Package)
            self._queue(about)
        self.may_plan = True

    def _kill(self, site: str) -> None:
        self._next_kill(site)
        if not self.alive[site]:
            return
        self.alive[site] -= 1
        self.found.kills += 1
        self._after(self.parameters.restart_seconds, "back", site)
        own = [task for task in self.tasks if task.site == site and task.step == "copy"]
        if own:
            task = self.random.choice(own)
            lost = min(self.parameters.lost_gb * 1e9, task.package.size - task.left)
            task.left += lost

    # Packages

    def _probe(self, location: SiteLocation) -> Probed:
        name = location.place.text()
        if name not in ROOM_TB:
            return Probed(is_reachable=True)
        room = round(ROOM_TB[name] * self.parameters.room * TB)
        return Probed(
            is_reachable=name not in self.down,
            why="it is down",
            free_bytes=room - self.reserved[name],
            total_bytes=room,
        )

    def _plan(self) -> None:
        """Plan the ways of packages at the source, until there is none for the next."""
        while self.source and self.may_plan:
            package = self.source[0]
            sites = self._with_free_routes()
            if not sites.routes:
                self.may_plan = False
                return
            route = plan_route(
                sites,
                "chile",
                "cologne",
                at=_BEGIN + timedelta(seconds=self.now),
                size_bytes=package.size,
                probe=self._probe,
            )
            if not route.is_usable:
                self.may_plan = False
                return
            self.source.popleft()
            package.route = route
            self.by_route[route.legs[0].route] += 1
            self.on_route[route.legs[0].route] += 1
            for leg in route.legs:
                self.reserved[leg.target.place.text()] += package.size
                self.found.leg_bytes += package.size
                package.steps.append(("copy", leg))
            package.steps += (("unpack", None), ("archive", None))
            self._queue(package)

    def _with_free_routes(self) -> Sites:
        """Return the sites with the routes that may copy another package."""
        most = self.parameters.most_per_route
        if not most:
            return self.sites
        free = tuple(rule for rule in self.sites.routes if self.on_route[rule.name] < most)
        return structs.replace(self.sites, routes=free)

    def _queue(self, package: Package) -> None:
        step, leg = package.steps[0]
        name = step if leg is None else f"copy from {leg.origin.place.site}"
        self.waiting.setdefault(name, deque()).append(package)

    def _start_tasks(self) -> None:
        self._plan()
        at_work = Counter(task.site for task in self.tasks)
        for queue in self.waiting.values():
            for _ in range(len(queue)):
                package = queue.popleft()
                step, leg = package.steps[0]
                site = "cologne" if leg is None else leg.origin.place.site
                slots = max(1, self.workers[site] // self.parameters.least_workers)
                if at_work[site] >= slots:
                    queue.appendleft(package)
                    break
                at_work[site] += 1
                self._start(package, step, leg, site)

    def _start(self, package: Package, step: str, leg: RouteLeg | None, site: str) -> None:
        scan_seconds = self.parameters.look_job_seconds * self._jobs
        self.found.scans += 1
        self.found.scan_seconds += scan_seconds
        fails = step == "unpack" and self.random.random() < self.parameters.unpack_failure
        left = float(package.size)
        self.tasks.append(
            Task(
                package=package,
                step=step,
                leg=leg,
                site=site,
                left=left,
                fails_at=left * self.random.random() if fails else None,
                begins_at=self.now + scan_seconds,
            )
        )

    @property
    def _jobs(self) -> int:
        return self.count * self.parameters.jobs_per_package

    def _set_rates(self) -> None:
        running = [task for task in self.tasks if task.begins_at <= self.now and self._is_up(task)]
        at_site = Counter(task.site for task in running)
        on_link = Counter(self._link(task) for task in running)
        for task in self.tasks:
            task.rate = 0.0
        local = _BEGIN + timedelta(seconds=self.now)
        for task in running:
            share = min(self.parameters.most_workers, self.alive[task.site] / at_site[task.site])
            rate = share * self.parameters.worker_mb_s * 1e6
            link = self.parameters.storage_gb_s * 1e9
            if task.leg is not None and task.leg.bandwidth is not None:
                link = task.leg.bandwidth.at(local.time()) or math.inf
            task.rate = min(rate, link / on_link[self._link(task)])

    def _is_up(self, task: Task) -> bool:
        return task.leg is None or task.leg.target.place.text() not in self.down

    def _link(self, task: Task) -> str:
        """Return what transfers share: a link from location to location, or a site's storage."""
        if task.leg is None:
            return f"{task.site} {task.step}"
        return f"{task.leg.origin.place.text()} {task.leg.target.place.text()}"

    def _advance(self) -> None:
        """Go on to the next event."""
        ends = [(self._end_of(task), number) for number, task in enumerate(self.tasks)]
        when, number = min(ends, default=(math.inf, -1))
        timer = self.timers[0][0]
        until = min(when, timer)
        self._pass_time(until - self.now)
        self.now = until
        if timer <= when:
            _, _, what, about = heapq.heappop(self.timers)
            self._fire(what, about)
        else:
            task = self.tasks[number]
            if task.rate:  # else it has only begun
                del self.tasks[number]
                self._end(task)

    def _end_of(self, task: Task) -> float:
        if task.begins_at > self.now:
            return task.begins_at
        left = max(0.0, task.left - (task.fails_at or 0.0))
        return self.now + left / task.rate if task.rate else math.inf

    def _pass_time(self, seconds: float) -> None:
        used: Counter[str] = Counter()
        for task in self.tasks:
            moved = min(task.left, task.rate * seconds)
            task.left -= moved
            if task.step == "copy":
                self.found.sent_bytes += moved
            used[task.site] += task.rate / (self.parameters.worker_mb_s * 1e6)
        self.busy += seconds * sum(used.values())
        for name, length in self._lengths():
            self.waited[name] += length * seconds
            self.found.queue_most[name] = max(self.found.queue_most.get(name, 0), length)

    def _lengths(self) -> Iterator[tuple[str, int]]:
        yield "a way", len(self.source)
        for name, queue in self.waiting.items():
            yield name, len(queue)

    def _end(self, task: Task) -> None:
        package = task.package
        if task.fails_at is not None:
            package.failures += 1
            self.found.unpack_failures += 1
            wait = self.parameters.backoff_seconds * 2 ** (package.failures - 1)
            if package.failures % 3 == 0:
                self.found.interventions += 1
                wait = self.parameters.intervention_hours * 3600
            self._after(wait, "ready", package)
            return
        package.steps.popleft()
        self.found.catalog_files += 1
        self.found.catalog_rows += self.parameters.items_per_package
        self.found.catalog_write_seconds += self.parameters.catalog_write_seconds
        if task.step == "copy" and package.steps[0][0] != "copy":
            assert package.route is not None
            self.on_route[package.route.legs[0].route] -= 1
        if task.leg is not None and task.leg.origin.place.text() in ROOM_TB:
            self.reserved[task.leg.origin.place.text()] -= package.size  # the hub's is released
        if package.steps:
            self._after(self.parameters.catalog_write_seconds, "ready", package)
        else:
            assert package.route is not None
            self.reserved[package.route.legs[-1].target.place.text()] -= package.size
            self.done += 1
        self.may_plan = True

    def _summed_up(self) -> Found:
        found, parameters = self.found, self.parameters
        found.days = self.now / 86400
        found.gigabytes_s = self.total / self.now / 1e9
        found.by_route = dict(sorted(self.by_route.items()))
        found.queue_mean = {name: total / self.now for name, total in self.waited.items()}
        found.workers_busy = self.busy / self.now / parameters.workers
        look_seconds = parameters.look_job_seconds * self._jobs
        reads = parameters.look_job_reads * self._jobs * parameters.workers
        every_seconds = look_seconds + max(
            parameters.look_every_seconds, 5 * look_seconds, reads / parameters.reads_per_second
        )
        found.first_looks_seconds = (
            parameters.first_look_job_seconds * self._jobs * parameters.workers
        )
        found.looks_a_second = parameters.workers / every_seconds
        found.calls_a_second = found.looks_a_second * parameters.look_job_calls * self._jobs
        found.look_share = look_seconds / every_seconds
        found.catalog_read_seconds = found.catalog_files * parameters.catalog_file_seconds
        found.catalog_merged_seconds = found.catalog_rows * parameters.catalog_row_seconds
        return found


def simulate(parameters: Parameters) -> Found:
    """Simulate one run."""
    return Simulation(parameters).run()


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    defaults = asdict(Parameters())
    for name, value in defaults.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=type(value), default=value, metavar="N")
    parser.add_argument("--no-failures", action="store_true", help="nothing fails")
    parser.add_argument("--runs", type=int, default=5, help="runs, each with another seed")
    parser.add_argument("--json", type=Path, help="write what came out of each run to this file")
    arguments = parser.parse_args()
    given = Parameters(**{name: getattr(arguments, name) for name in defaults})
    parameters = given.without_failures() if arguments.no_failures else given
    begin = time.perf_counter()
    runs = [
        simulate(replace(parameters, seed=parameters.seed + number))
        for number in range(arguments.runs)
    ]
    report(runs, time.perf_counter() - begin)
    if arguments.json:
        results = {"parameters": asdict(parameters), "runs": [asdict(each) for each in runs]}
        text = json.dumps(results, indent=1).replace("Infinity", "null")
        arguments.json.write_text(text)


def report(runs: list[Found], seconds: float) -> None:
    """Print medians, with the least and the most in brackets."""

    def line(name: str, values: list[float], form: str = ".2f") -> None:
        least, most = (format(each, form) for each in (min(values), max(values)))
        print(f"{name:34} {statistics.median(values):{form}}  ({least} to {most})")

    events = sum(each.events for each in runs)
    print(f"{len(runs)} run(s), {events} events, {seconds:.1f} s of real time")
    line("days", [each.days for each in runs])
    line("GB/s", [each.gigabytes_s for each in runs])
    for route in sorted({name for each in runs for name in each.by_route}):
        line(f"packages by {route}", [each.by_route.get(route, 0) for each in runs], ".0f")
    line("sent, of the legs' sizes", [each.sent_bytes / each.leg_bytes for each in runs], ".4%")
    for name in ("kills", "outages", "unpack_failures", "interventions", "scans"):
        line(name.replace("_", " "), [getattr(each, name) for each in runs], ".0f")
    for name in sorted({name for each in runs for name in each.queue_mean}):
        line(f"waiting for {name}, mean", [each.queue_mean.get(name, 0) for each in runs], ".1f")
        line(f"waiting for {name}, most", [each.queue_most.get(name, 0) for each in runs], ".0f")
    line("workers busy", [each.workers_busy for each in runs], ".1%")
    line("scans, s of workers' time", [each.scan_seconds for each in runs])
    line("first looks, s of workers' time", [each.first_looks_seconds for each in runs])
    line("calls by looks, a second", [each.calls_a_second for each in runs], ".0f")
    line("looks for work, a second", [each.looks_a_second for each in runs], ".0f")
    line("looks, of workers' time", [each.look_share for each in runs], ".3%")
    line("catalog: rows", [each.catalog_rows for each in runs], ".0f")
    line("catalog: files", [each.catalog_files for each in runs], ".0f")
    line("catalog: writing, s", [each.catalog_write_seconds for each in runs])
    line("catalog: reading all files, s", [each.catalog_read_seconds for each in runs])
    line("catalog: reading it merged, s", [each.catalog_merged_seconds for each in runs])


if __name__ == "__main__":
    main()
