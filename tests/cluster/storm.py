"""A storm: workers on one joblist, of which one is killed at random again and again.

To try it by hand:

    python -m tests.cluster.storm FOLDER --seconds 20 [--lease 3 [--hosts]] [--mounts] [--seed N]

The source is read through a mount of a given rate, so that workers are in the middle of a job
nearly all the time, however fast the machine is, and the work lasts as long as the storm.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jobtool.errors import JobtoolError
from jobtool.jobs.joblog import decode_log
from jobtool.jobs.records import Receipt
from jobtool.jobs.table import read_table
from tests.cluster.history import (
    ENDS,
    JobHistory,
    attempts_of,
    differences,
    faults_of,
    leftovers_in,
    read_job,
    unproven,
)
from tests.cluster.mounts import mounted, two_mounts
from tests.cluster.watcher import Watcher
from tests.commands import BIN, environment, run_ok
from tests.trees import make_items, statuses

JOBS = 300
FILES = 12
WORKERS = 8
ROUNDS = 6

#: Smaller files count as this size in the rate of a mount, which reads whole pages.
_PAGE_BYTES = 4096

_ANY = 0.2  # of all hits: on any worker, even one that is only starting
_AIMED = 1 / 3  # of all kills
# The hits of a storm in which claims can be lost, in an order of their own for each ten.
_HITS = ["kill"] * 7 + ["long stop"] * 2 + ["short stop"]
_HOLDER_SECONDS = 60
_AIM_SECONDS = 0.8
_ROUND_SECONDS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a worker runs: its path of the joblist, and its own hostname if it has one."""

    joblist: Path
    host: str | None = None

    def start(self, output: Path) -> subprocess.Popen[bytes]:
        """Start a worker; the process is the worker itself, whatever starts it."""
        command = [BIN / "transfer-worker", "-i", self.joblist, "--threads", "1", "-v", "1"]
        if self.host is not None:
            named = ("unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', self.host)
            command = [*named, *command]
        with open(output, "wb") as file:
            return subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment(),
            )

    def name_of(self, process: subprocess.Popen[bytes]) -> str:
        """The name of the worker in logs and receipts."""
        host = self.host or os.uname().nodename.partition(".")[0]
        return f"{host}:{process.pid}"


@dataclass(slots=True)
class Tally:
    """What the storm did. ``killed`` and ``stopped`` are workers' names."""

    started: int = 0
    killed: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    rounds: int = 0


class Storm:
    """Keeps a worker running in each place, and hits one of them every ``period`` seconds.

    A hit is a SIGKILL or, if ``freeze_seconds`` is given, in three of ten a SIGSTOP for longer than
    that. Some kills wait until their victim is about to replace a file, which random moments rarely
    hit. Workers take over jobs of others only when no other job is left. So two of three stops wait
    for a worker that holds a job and last until then: it wakes up in the middle of its successor's
    work.
    """

    def __init__(
        self,
        places: Sequence[Place],
        outputs: Path,
        *,
        seed: int,
        period: float = 1.0,
        freeze_seconds: float | None = None,
    ) -> None:
        self.tally = Tally()
        self._places = places
        self._outputs = outputs
        self._random = random.Random(seed)
        self._period = period
        self._freeze_seconds = freeze_seconds
        self._hits: list[str] = []
        self._workers: list[subprocess.Popen[bytes]] = []
        self._frozen: list[_Frozen] = []
        self._all: list[tuple[subprocess.Popen[bytes], str, Path]] = []

    def rage(self, seconds: float) -> None:
        """Hit workers for some seconds."""
        self._workers = [self._start(place) for place in self._places]
        end = time.monotonic() + seconds
        due = time.monotonic() + self._period
        while time.monotonic() < end:
            time.sleep(max(0.0, due - time.monotonic()))
            due += self._period
            self._thaw(time.monotonic())
            self._replace_ended()
            self._strike()

    def calm(self, joblist: Path) -> None:
        """Let the workers finish, and start others as long as there is work for them."""
        self._thaw_overtaken(joblist)
        for _ in range(ROUNDS):
            self._wait()
            if not {"todo", "ongoing"} & {*statuses(joblist).values()}:
                return
            self._start_all()
        self._wait()

    def close(self) -> None:
        """End every process that was started."""
        for process, _, _ in self._all:
            if process.poll() is None:
                process.kill()
                process.wait()

    def complaints(self) -> list[str]:
        """Return what workers printed that weren't killed and didn't succeed."""
        return [
            f"{name} ended with {process.returncode}: {output.read_text()[-2000:]}"
            for process, name, output in self._all
            if (process.returncode not in (0, 3) and name not in self.tally.killed)
            or "Traceback" in output.read_text()
        ]

    def _replace_ended(self) -> None:
        for number, place in enumerate(self._places):
            if self._workers[number].poll() is not None:
                self._workers[number] = self._start(place)

    def _start_all(self) -> None:
        """Start another worker in each place, where all others have ended."""
        self.tally.rounds += 1
        self._workers = [self._start(place) for place in self._places]

    def _start(self, place: Place) -> subprocess.Popen[bytes]:
        self.tally.started += 1
        output = self._outputs / f"{self.tally.started}.log"
        process = place.start(output)
        self._all.append((process, place.name_of(process), output))
        return process

    def _choose(self) -> int:
        """Choose a worker to hit: usually one that has had a job already."""
        numbers = [*range(len(self._places))]
        outputs = {process.pid: output for process, _, output in self._all}
        at_work = [
            number
            for number in numbers
            if "Found 'todo' job" in outputs[self._workers[number].pid].read_text()
        ]
        is_any = self._random.random() < _ANY or not at_work
        return self._random.choice(numbers if is_any else at_work)

    def _strike(self) -> None:
        if self._freeze_seconds is None:
            kind = "kill"
        else:
            self._hits = self._hits or self._random.sample(_HITS, len(_HITS))
            kind = self._hits.pop()
        if kind == "kill":
            number = self._kill()
        elif kind == "short stop":
            number = self._stop(seconds=self._freeze_seconds * (1.2 + self._random.random()))
        else:
            number = self._stop_holder()
        self._workers[number] = self._start(self._places[number])

    def _kill(self) -> int:
        number = self._choose()
        victim = self._workers[number]
        if self._random.random() < _AIMED:
            self._await_replacing(victim.pid)
            time.sleep(self._random.random() * 0.002)
        if victim.poll() is None:  # else it ended by itself
            victim.kill()
            victim.wait()  # at once: until its parent waits for it, it still looks alive
            self.tally.killed.append(self._places[number].name_of(victim))
        return number

    def _stop(self, *, seconds: float) -> int:
        number = self._choose()
        self._workers[number].send_signal(signal.SIGSTOP)
        self._freeze(number, until=time.monotonic() + seconds)
        return number

    def _stop_holder(self) -> int:
        """Stop a worker that holds a job, until another has claimed that job."""
        end = time.monotonic() + _HOLDER_SECONDS
        while time.monotonic() < end:
            number = self._choose()
            victim = self._workers[number]
            victim.send_signal(signal.SIGSTOP)
            if victim.poll() is None:
                os.waitid(os.P_PID, victim.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
                if _job_of(self._places[number].name_of(victim), self._places[0].joblist):
                    self._freeze(number, until=float("inf"))
                    return number
                victim.send_signal(signal.SIGCONT)
            time.sleep(0.01)
            self._replace_ended()
        raise TimeoutError(f"no worker held a job for {_HOLDER_SECONDS} s")

    def _freeze(self, number: int, *, until: float) -> None:
        """Note that a worker was stopped."""
        victim = self._workers[number]
        name = self._places[number].name_of(victim)
        self._frozen.append(_Frozen(victim, name, until))
        self.tally.stopped.append(name)

    def _await_replacing(self, pid: int) -> None:
        """Return when the process has a file open that will replace another, or after a while."""
        ending = self._random.choice((".tmp", ".part"))
        end = time.monotonic() + _AIM_SECONDS
        while time.monotonic() < end:
            if any(path.endswith(ending) for path in _open_files(pid)):
                return
            time.sleep(0.0005)

    def _thaw(self, now: float) -> None:
        for frozen in [*self._frozen]:
            if frozen.until <= now:
                self._frozen.remove(frozen)
                frozen.process.send_signal(signal.SIGCONT)

    def _thaw_overtaken(self, joblist: Path) -> None:
        """Wake each stopped worker soon after another has claimed its job."""
        jobs = {frozen.name: _job_of(frozen.name, joblist) for frozen in self._frozen}
        end = time.monotonic() + _ROUND_SECONDS
        rounds = 0
        while self._frozen:
            is_over = time.monotonic() > end
            if all(worker.poll() is not None for worker in self._workers):
                if rounds < ROUNDS:
                    rounds += 1
                    self._start_all()
                else:
                    is_over = True
            for frozen in self._frozen:
                job = jobs[frozen.name]
                if job is None or is_over or _holder_of(job) != frozen.name:
                    frozen.until = min(frozen.until, time.monotonic() + self._random.random())
            time.sleep(0.02)
            self._thaw(time.monotonic())

    def _wait(self) -> None:
        end = time.monotonic() + _ROUND_SECONDS
        for process, _, _ in self._all:
            process.wait(max(1.0, end - time.monotonic()))


@dataclass(slots=True)
class _Frozen:
    """A stopped worker, and until when."""

    process: subprocess.Popen[bytes]
    name: str
    until: float


def _job_of(worker: str, joblist: Path) -> Path | None:
    return next((path for path in joblist.glob("*.txt") if _holder_of(path) == worker), None)


def _holder_of(job: Path) -> str | None:
    """The worker that claimed a job last; None if that attempt is over."""
    claimed: dict[str, str] = {}
    for record in decode_log(job.read_bytes().partition(b"\n---\n")[2]):
        if record.event == "claimed":
            claimed = dict(record.values)
        elif record.event in ENDS:
            claimed = {}
    return claimed.get("worker")


def _open_files(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):  # it may end at any moment
        for number in os.listdir(f"/proc/{pid}/fd"):
            yield os.readlink(f"/proc/{pid}/fd/{number}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What was found after a storm: ``faults`` must be empty, ``hits`` and ``losses`` many.

    ``hits`` are the attempts that a kill has cut off, ``losses`` those cut off while their worker
    was stopped.
    """

    faults: list[str]
    hits: int
    losses: int
    tally: Tally


@contextlib.contextmanager
def _views(joblist: Path, *, has_mounts: bool) -> Iterator[tuple[Path, ...]]:
    if not has_mounts:
        yield (joblist,)
        return
    with two_mounts(joblist) as views:
        yield views


def weather(
    folder: Path,
    *,
    seconds: float,
    seed: int,
    lease_seconds: float | None = None,
    has_hosts: bool = False,
    has_mounts: bool = False,
    jobs: int = JOBS,
) -> Weather:
    """Make a joblist in ``folder``, run a storm on it, and check what is left.

    Claims are leases if ``lease_seconds`` is given, else locks. With ``has_hosts`` each worker has
    a hostname of its own. With ``has_mounts`` half of the workers see the joblist by one mount, the
    others by another.
    """
    source = make_items(folder / "in", jobs, files=FILES)
    rate = jobs * FILES * _PAGE_BYTES / seconds
    with mounted(source, f"--read-rate={rate:.0f}", at=folder / "slow") as slow:
        joblist, destination = folder / "list", folder / "out"
        run_ok("generate-joblist", "-i", slow, "-o", joblist, "-d", destination, "-l", "tree")
        settle(joblist, lease_seconds)
        outputs = folder / "outputs"
        outputs.mkdir()
        watcher = Watcher(joblist)
        with _views(joblist, has_mounts=has_mounts) as views:
            places = [
                Place(
                    joblist=views[number * len(views) // WORKERS],
                    host=f"node{number}" if has_hosts else None,
                )
                for number in range(WORKERS)
            ]
            storm = Storm(places, outputs, seed=seed, freeze_seconds=lease_seconds)
            with contextlib.closing(storm), watcher.watching():
                storm.rage(seconds)
                storm.calm(joblist)
    faults = [*watcher.rewritten, *storm.complaints()]
    histories = []
    for path in sorted(joblist.glob("*.txt")):
        table: list[Receipt] = []
        try:
            table += read_table(str(joblist / "receipts" / f"{path.stem}.parquet"))
        except JobtoolError as error:
            faults.append(str(error))
        histories.append(read_job(path, seen=watcher.receipts[path.stem], table=table))
    faults += faults_of(histories)
    faults += [f"left over: {name}" for name in leftovers_in(joblist, destination)]
    faults += [f"no receipt: {path}" for path in unproven(histories, destination)]
    faults += [f"not the same: {name}" for name in differences(source, destination)]
    return Weather(
        faults=faults,
        hits=_cut(histories, storm.tally.killed),
        losses=_cut(histories, storm.tally.stopped),
        tally=storm.tally,
    )


def settle(joblist: Path, lease_seconds: float | None) -> None:
    """Set the kind of claims for the joblist's workers."""
    toml = joblist / "joblist.toml"
    claims = 'claims = "lock"\n'
    if lease_seconds is not None:
        claims = f'claims = "lease"\nlease_seconds = {lease_seconds}\n'
    toml.write_text(claims + toml.read_text())


def _cut(histories: Sequence[JobHistory], workers: Sequence[str]) -> int:
    attempts = [attempt for job in histories for attempt in attempts_of(job)]
    return sum(attempt.end is None and attempt.worker in workers for attempt in attempts)


def main() -> int:
    """Run a storm; return 1 if it found a fault."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--lease", type=float, help="leases of so many seconds instead of locks")
    parser.add_argument("--hosts", action="store_true", help="workers on hosts of their own")
    parser.add_argument("--mounts", action="store_true", help="the joblist on two mounts")
    arguments = parser.parse_args()
    arguments.folder.mkdir()
    started = time.monotonic()
    found = weather(
        arguments.folder.resolve(),
        seconds=arguments.seconds,
        seed=arguments.seed,
        lease_seconds=arguments.lease,
        has_hosts=arguments.hosts,
        has_mounts=arguments.mounts,
        jobs=arguments.jobs,
    )
    tally = found.tally
    print("\n".join(found.faults))
    print(
        f"{len(found.faults)} faults; {tally.started} workers, {len(tally.killed)} killed, "
        f"{found.hits} of them in a job; {len(tally.stopped)} stopped, {found.losses} jobs lost by "
        f"that; {tally.rounds} rounds after; {time.monotonic() - started:.0f} s in all"
    )
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
