"""The number of files at a time: more where threads wait for storage, few where they don't."""

from __future__ import annotations

import pytest

from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Capabilities
from jobtool.transfer.concurrency import FIRST_THREADS, Concurrency
from jobtool.transfer.plan import Route


class Machine:
    """A clock, and the CPU time of a process that uses ``cpus`` at a time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.used = 5.0
        self.cpus = 0.0

    def go(self, seconds: float) -> None:
        self.now += seconds
        self.used += seconds * self.cpus

    def concurrency(self, most: int = 16, cpus: int = 2) -> Concurrency:
        return Concurrency(
            most, cpu_seconds=lambda: self.used, monotonic=lambda: self.now, cpus=cpus
        )


class NetworkStore(MemoryStore):
    capabilities = Capabilities(cheap_reads=False)


LOCAL = Route(MemoryStore(Memory(), "memory://a"), MemoryStore(Memory(), "memory://b"))


def counts(machine: Machine, concurrency: Concurrency, looks: int) -> list[int]:
    found = [concurrency.begin([LOCAL])]
    for _ in range(looks):
        machine.go(0.1)
        found.append(concurrency.adapted(found[-1]))
    return found


@pytest.mark.parametrize(
    ("cpus_used", "cpus", "expected"),
    [
        (0.05, 2, [2, 4, 8, 16, 16]),  # a parallel filesystem: threads wait
        (1.1, 2, [2, 2, 2, 2, 2]),  # a page cache: one runs, and the others wait for it
        (1.1, 64, [2, 2, 2, 2, 2]),
        (1.9, 2, [2, 2, 2, 2, 2]),  # all CPUs are busy
        (1.9, 64, [2, 4, 4, 4, 4]),  # threads hash side by side, until they get in each other's way
    ],
)
def test_threads_are_added_while_they_wait(
    cpus_used: float, cpus: int, expected: list[int]
) -> None:
    machine = Machine()
    machine.cpus = cpus_used
    assert counts(machine, machine.concurrency(cpus=cpus), 4) == expected


@pytest.mark.parametrize("network", [(0,), (1,), (0, 1)])
def test_a_network_store_gets_all_threads_at_once(network: tuple[int, ...]) -> None:
    stores = [MemoryStore(Memory(), "memory://a"), MemoryStore(Memory(), "memory://b")]
    for index in network:
        stores[index] = NetworkStore(Memory(), stores[index].url)
    concurrency = Machine().concurrency()
    assert concurrency.begin([Route(*stores)]) == 16
    assert concurrency.begin([LOCAL, Route(*stores)]) == 16
    assert concurrency.begin([LOCAL]) == FIRST_THREADS, "learnt from local stores only"


def test_the_next_job_begins_with_what_the_last_one_came_to() -> None:
    machine = Machine()
    concurrency = machine.concurrency()
    assert counts(machine, concurrency, 2) == [2, 4, 8]
    machine.cpus = 1.0
    assert counts(machine, concurrency, 2) == [8, 8, 8]


def test_the_limit_of_the_user_is_kept() -> None:
    machine = Machine()
    assert counts(machine, machine.concurrency(most=1), 3) == [1, 1, 1, 1]
    assert counts(machine, machine.concurrency(most=5), 3) == [2, 4, 5, 5]


def test_a_look_too_early_changes_nothing() -> None:
    machine = Machine()
    concurrency = machine.concurrency()
    assert concurrency.begin([LOCAL]) == 2
    machine.go(0.03)
    assert concurrency.adapted(2) == 2
    machine.go(0.03)
    assert concurrency.adapted(2) == 4


def test_time_between_jobs_does_not_count_as_waiting() -> None:
    machine = Machine()
    concurrency = machine.concurrency()
    machine.go(60)  # idle: the next job is awaited
    machine.cpus = 1.0
    assert counts(machine, concurrency, 1) == [2, 2]
