"""The number of files at a time: more where threads wait, few where they hinder each other."""

from __future__ import annotations

import resource
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.transfer.concurrency import (
    FIRST_THREADS,
    LARGE_BYTES,
    MOST_SMALL_FILES,
    Concurrency,
    most_small_files,
)


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


class Storage:
    """Storage that answers after some seconds, and does so many files in a second at most.

    ``numbers`` are the numbers of files at a time that there should be, every tenth of a second.
    """

    def __init__(
        self,
        *,
        answer: float = 0.02,
        most_files: float = 1e6,
        size: int = 1000,
        cpu_per_file: float = 0.0,
        has_waited: bool = False,
    ) -> None:
        self.answer = answer
        self.most_files = most_files
        self.size = size
        self.cpu_per_file = cpu_per_file
        self.now = self.used = self._left = 0.0
        self.concurrency = Concurrency(
            16,
            most_small=64,
            has_waited=lambda: has_waited,
            cpu_seconds=lambda: self.used,
            monotonic=lambda: self.now,
        )
        self.numbers: list[int] = []

    def rate(self, threads: int) -> float:
        return min(threads / self.answer, self.most_files)

    def run(self, seconds: float, *, count: int = 64, trouble_above: int = 1000) -> list[int]:
        """Transfer small steps of a job; return the numbers that there were."""
        steps, told = 20, len(self.numbers)
        wanted = self.concurrency.begin(count)
        for _ in range(round(10 * seconds)):
            for _ in range(steps):
                self.now += 0.1 / steps
                self._left += self.rate(min(wanted, count)) * 0.1 / steps
                while self._left >= 1:
                    self._left -= 1
                    self.used += self.cpu_per_file
                    self.concurrency.note_file(self.size)
            if wanted > trouble_above:
                self.concurrency.note_trouble()
            wanted = self.concurrency.adapted()
            self.numbers.append(wanted)
        return self.numbers[told:]


def test_small_files_that_wait_soon_get_more_threads() -> None:
    assert Storage(answer=0.02).run(1.0) == [4, 8, 16, 32, *[64] * 6]
    assert Storage(answer=0.1).run(3.0)[-1] == 64


@pytest.mark.parametrize(
    "storage",
    [
        Storage(size=LARGE_BYTES),
        Storage(cpu_per_file=0.0012),  # 16 files at a time use a CPU
        Storage(has_waited=True),
    ],
)
def test_large_files_busy_threads_and_limits_get_no_more(storage: Storage) -> None:
    assert max(storage.run(5.0)) <= 16


def test_the_number_before_is_kept_if_more_threads_do_no_more() -> None:
    storage = Storage(most_files=1000)  # 20 files at a time are enough
    numbers = storage.run(100.0)
    assert set(numbers) == {4, 8, 16, 32, 64}
    assert numbers.count(64) < 60
    assert numbers.count(32) > 900
    assert Storage(most_files=800).run(100.0).count(16) > 900


class Overrun(Storage):
    """Storage that does less if more than 16 files are under way."""

    def rate(self, threads: int) -> float:
        return 200 if threads > 16 else 800


def test_threads_that_do_harm_end_at_once() -> None:
    assert Overrun().run(0.5)[-2:] == [32, 16]
    assert Overrun().run(100.0).count(16) > 980


def test_smaller_files_alone_are_no_gain() -> None:
    storage = Storage(most_files=500, size=10_000)
    assert storage.run(0.5)[-1] == 32  # a try, that isn't judged yet
    storage.most_files, storage.size = 1000, 5
    assert storage.run(0.5)[-1] == 16


def test_a_store_in_trouble_gets_half_and_is_left_alone_for_longer_each_time() -> None:
    storage = Storage()
    numbers = storage.run(100.0, trouble_above=32)
    assert set(numbers) == {4, 8, 16, 32, 64}
    assert numbers.count(64) < 10
    assert numbers.count(32) > 900
    storage = Storage()
    assert max(storage.run(10.0, trouble_above=0)) == FIRST_THREADS


def test_large_files_after_small_ones_get_no_more_than_others() -> None:
    storage = Storage()
    assert storage.run(1.0)[-1] == 64
    storage.size = 2 * LARGE_BYTES
    assert storage.run(0.3) == [16, 16, 16]
    storage.size = 1000
    assert storage.run(3.0)[-1] == 64
    storage.concurrency.expect(1000)
    assert storage.concurrency.begin(64) == 64
    storage.concurrency.expect(LARGE_BYTES)
    assert storage.concurrency.begin(64) == 16


def test_more_threads_are_tried_only_where_they_can_be_used() -> None:
    assert max(Storage().run(5.0, count=16)) == 16
    assert max(Storage().run(5.0, count=20)) == 32


def test_a_try_in_short_jobs_is_judged_by_the_next_ones() -> None:
    storage = Storage()
    for _ in range(10):
        storage.run(0.1)
        storage.now += 1.0  # the next job is awaited
    assert storage.numbers[-1] == 64
    storage = Storage(most_files=800)
    for _ in range(200):
        storage.run(0.1)  # too short to judge 32 files at a time
    assert storage.numbers.count(16) > 150


@given(
    answer=st.floats(0.005, 0.5),
    most_files=st.floats(100.0, 2000.0),
    cpu_per_file=st.floats(0.0, 0.01),
    size=st.sampled_from([0, 1, 1000, LARGE_BYTES - 1, LARGE_BYTES, 10 * LARGE_BYTES]),
    count=st.integers(1, 100),
    trouble_above=st.sampled_from([0, 1, 15, 16, 31, 32, 63, 64]),
)
def test_the_number_is_bounded_helps_and_settles(
    answer: float, most_files: float, cpu_per_file: float, size: int, count: int, trouble_above: int
) -> None:
    storage = Storage(answer=answer, most_files=most_files, size=size, cpu_per_file=cpu_per_file)
    numbers = storage.run(40.0, count=count, trouble_above=trouble_above)
    assert set(numbers) <= {2, 4, 8, 16, 32, 64}
    if size >= LARGE_BYTES or count <= 16:
        assert max(numbers) <= 16
    changes = sum(before != after for before, after in pairwise(numbers))
    assert changes <= 20  # 5 to the most, and 2 or 3 for each try, a second, two, four… later
    kept = max(set(numbers), key=numbers.count)
    if kept > 16:
        assert kept <= trouble_above or trouble_above >= 64
        gain = storage.rate(min(kept, count)) / storage.rate(kept // 2)
        assert gain > 1.1  # what was measured differs a little


def test_few_open_files_leave_the_number_as_it_is_for_all_files() -> None:
    assert most_small_files(1024) == most_small_files(resource.RLIM_INFINITY) == MOST_SMALL_FILES
    assert most_small_files(256) is None
