"""The number of files at a time: more where threads wait, few where they hinder each other."""

from __future__ import annotations

import pytest

from jobtool.transfer.concurrency import FIRST_THREADS, LARGE_BYTES, Concurrency


class Machine:
    """A clock, and the CPU time of a process that uses ``cpus`` at a time."""

    def __init__(self, *, cpus: float = 0.0, size: int = 1000) -> None:
        self.now = 100.0
        self.used = 5.0
        self.cpus = cpus
        self.size = size

    def go(self, seconds: float) -> None:
        self.now += seconds
        self.used += seconds * self.cpus

    def concurrency(self, most: int = 16) -> Concurrency:
        return Concurrency(most, cpu_seconds=lambda: self.used, monotonic=lambda: self.now)


def counts(machine: Machine, concurrency: Concurrency, looks: int) -> list[int]:
    """The numbers of threads of a job that lasts some looks. Ten files are done between two."""
    found = [concurrency.begin()]
    for _ in range(looks):
        machine.go(0.1)
        for _ in range(10):
            concurrency.note_file(machine.size)
        found.append(concurrency.adapted())
    return found


@pytest.mark.parametrize(
    ("cpus", "size", "expected"),
    [
        (0.05, 1000, [2, 4, 8, 16, 16]),  # a network: threads wait
        (1.1, 1000, [2, 2, 2, 2, 2]),  # a page cache: one runs, and the others wait for it
        (1.1, 0, [2, 2, 2, 2, 2]),
        (1.9, LARGE_BYTES, [2, 4, 8, 16, 16]),  # they hash side by side
    ],
)
def test_threads_are_added_while_they_wait_or_do_not_hinder_each_other(
    cpus: float, size: int, expected: list[int]
) -> None:
    machine = Machine(cpus=cpus, size=size)
    assert counts(machine, machine.concurrency(), 4) == expected


def test_threads_are_added_while_no_file_gets_done() -> None:
    machine = Machine(cpus=1.9)
    concurrency = machine.concurrency()
    assert concurrency.begin() == 2
    machine.go(0.1)
    assert concurrency.adapted() == 4


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
    assert concurrency.begin() == FIRST_THREADS == 2
    machine.go(0.03)
    assert concurrency.adapted() == 2
    machine.go(0.03)
    assert concurrency.adapted() == 4


def test_time_between_jobs_does_not_count_as_waiting() -> None:
    machine = Machine()
    concurrency = machine.concurrency()
    machine.go(60)  # the next job is awaited
    machine.cpus = 1.0
    assert counts(machine, concurrency, 1) == [2, 2]
