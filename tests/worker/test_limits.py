"""Limits of workers: divided among those that move data, changed while they run."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

import jobtool
from jobtool.jobs.joblist import JobList
from jobtool.jobs.movers import MOVERS_FOLDER, Movers
from jobtool.jobs.settings import Settings, TransferSettings
from jobtool.worker.limits import Limits
from jobtool.worker.options import WorkerOptions
from tests.commands import assert_one_line_error, run, run_ok
from tests.prepare import prepare
from tests.trees import contents, make_items, statuses


class World:
    """A joblist, a clock, and workers that are or aren't running."""

    def __init__(self, path: Path) -> None:
        self.seconds = 0.0
        self.members: set[str] = set()
        self.events: list[str] = []
        settings = Settings(transfer=TransferSettings(bandwidth="12MB/s"))
        self.joblist = JobList.create(str(path / "list"), settings)
        self.toml = path / "list" / "joblist.toml"

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        """Noon, local time, when the clock is at 0."""
        return datetime(2026, 1, 7, 12).astimezone(UTC) + timedelta(seconds=self.seconds)

    def movers(self, name: str) -> Movers:
        self.members.add(name)
        return Movers(
            self.joblist.claims_path, name, self.members.__contains__, monotonic=self.monotonic
        )

    def limits(
        self, name: str = "one", ranks: int = 1, rank: int = 0, workers: int = 1, **options: object
    ) -> Limits:
        self.members.add(name)
        group = SimpleNamespace(
            size=ranks,
            rank=rank,
            membership=SimpleNamespace(
                is_present=self.members.__contains__, count=lambda: len(self.members)
            ),
        )
        chosen = WorkerOptions(monotonic=self.monotonic, now=self.now, **options)
        return Limits(
            JobList.open(self.joblist.path),
            chosen,
            lambda event: self.events.append(event.text()),
            group,
            name,
            workers=lambda: workers,
        )

    def files(self) -> list[str]:
        folder = os.path.join(self.joblist.claims_path, MOVERS_FOLDER)
        return sorted(name.partition(".")[0] for name in os.listdir(folder))

    def pass_time(self, seconds: float, *limits: Limits, moving: bool = True) -> None:
        for _ in range(round(seconds)):
            self.seconds += 1
            for one in limits:
                if moving:
                    one.throttle._use(one.throttle._bytes)
                one.look()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def share(limits: Limits) -> float | None:
    return limits.throttle._bytes.rate


def test_movers_see_each_other_and_forget_who_left_or_died(world: World) -> None:
    movers = [world.movers(name) for name in ("a", "b.lease-12.5", "c")]
    assert [one.beat() for one in movers] == [1, 2, 3]
    world.seconds += 1
    assert [one.beat() for one in movers] == [3, 3, 3]
    movers[0].leave()
    world.seconds += 1
    assert [one.beat() for one in movers[1:]] == [3, 3]  # a listing may pass over a file once
    world.seconds += 1
    assert [one.beat() for one in movers[1:]] == [2, 2]
    for _ in range(11):  # c is killed, or frozen
        world.seconds += 1
        found = movers[1].beat()
    assert found == 1
    for _ in range(60):
        world.seconds += 1
        movers[1].beat()
    assert world.files() == ["b"]
    assert movers[2].beat() == 2  # it goes on
    assert movers[1].beat() == 2


def test_a_killed_workers_file_is_removed_at_once(world: World) -> None:
    world.movers("dead").beat()
    world.members.remove("dead")
    assert world.movers("new").beat() == 1
    assert world.files() == ["new"]


def test_shares_are_divided_among_those_that_move_data(world: World) -> None:
    one, two = world.limits("one"), world.limits("two")
    one.look()
    assert share(one) == 0  # until it moves something
    world.pass_time(1, one, two)
    assert share(one) + share(two) <= 12e6
    world.pass_time(2, one, two)
    assert (share(one), share(two)) == (6e6, 6e6)
    for _ in range(5):
        world.pass_time(1, one)
        two.look()  # idle
    assert (share(one), share(two)) == (12e6, 0)
    assert world.files() == ["one"]


@pytest.mark.parametrize("many", [{"ranks": 1000}, {"workers": 1000}])
def test_a_thousand_workers_look_at_joblist_toml_fifty_times_a_second(
    world: World, many: dict[str, int]
) -> None:
    one = world.limits("one", **many)
    one.look()
    world.toml.write_text(world.toml.read_text().replace("12MB/s", "9MB/s"))
    heard = []
    for _ in range(45):
        world.pass_time(1, one)
        heard.append(any("9MB/s" in text for text in world.events))
    assert heard.index(True) == 39  # its second look finds that the file stays as it is


def test_ranks_that_begin_together_never_exceed_the_limit(world: World) -> None:
    ranks = [world.limits(f"rank{number}", ranks=4) for number in range(4)]
    for rank in ranks:
        rank.throttle._use(rank.throttle._bytes)
        rank.look()
        assert sum(share(one) or 0 for one in ranks) <= 12e6
    world.pass_time(5, *ranks)
    assert [share(rank) for rank in ranks] == [3e6] * 4


def test_ranks_that_begin_together_send_their_parts_one_after_the_other(world: World) -> None:
    ranks = [world.limits(f"rank{number}", ranks=4, rank=number) for number in range(4)]
    for rank in ranks:
        rank.throttle._use(rank.throttle._bytes)
        rank.look()
    owed = [-rank.throttle._bytes._level for rank in ranks]
    assert owed == [0, 750_000, 1_500_000, 2_250_000]  # of a part, or of a second's bytes
    world.pass_time(5, *ranks)
    assert all(rank.throttle._bytes._level > 0 for rank in ranks), "only at the beginning"


def test_without_the_folder_a_share_is_that_of_the_ranks(world: World) -> None:
    rank = world.limits(ranks=3)
    os.rmdir(world.joblist.claims_path)
    Path(world.joblist.claims_path).write_text("in the way")
    world.pass_time(3, rank)
    assert share(rank) == 4e6


def test_an_option_goes_before_the_joblist(world: World) -> None:
    limits = world.limits(bandwidth="1MB/s", max_requests_per_second=5.0)
    world.pass_time(2, limits)
    world.toml.write_text(world.toml.read_text().replace("12MB/s", "3MB/s"))
    world.pass_time(10, limits)
    assert share(limits) == 1e6
    assert world.events == ["Limits: 1MB/s and 5 requests/s, shared by all workers that move data."]
    off = world.limits("two", bandwidth="unlimited")
    off.look()
    assert not off.throttle.is_on


def test_a_timetable_changes_the_share(world: World) -> None:
    limits = world.limits(bandwidth="11:00-12:01 10MB/s, else unlimited")
    world.pass_time(2, limits)
    assert share(limits) == 10e6
    world.pass_time(60, limits)
    assert not limits.throttle.is_on
    assert world.files() == []
    assert world.events[-1] == "Limits: none apply now."
    world.seconds += 23 * 3600
    world.pass_time(2, limits)
    assert share(limits) == 10e6


def test_a_changed_joblist_is_read_again_and_a_broken_one_isnt_believed(world: World) -> None:
    limits = world.limits()
    world.pass_time(10, limits)
    whole = world.toml.read_text()
    world.toml.write_text(whole.replace("12MB/s", "24MB/s"))
    world.pass_time(7, limits)
    assert share(limits) == 24e6
    for broken in ("", whole[: len(whole) // 2], whole.replace("12MB/s", "12mb/s"), None):
        if broken is None:
            world.toml.unlink()
        else:
            world.toml.write_text(broken)
        world.pass_time(20, limits)
        assert share(limits) == 24e6
    kept = [text for text in world.events if "can't be read again" in text]
    assert 1 <= len(kept) <= 4
    assert all("stay as they are" in text for text in kept)
    world.toml.write_text(whole.replace("12MB/s", "6MB/s"))
    world.pass_time(10, limits)
    assert share(limits) == 6e6
    world.toml.write_text(whole.replace('bandwidth = "12MB/s"', "max_requests_per_second = 8"))
    world.pass_time(10, limits)
    assert (share(limits), limits.throttle._requests.rate) == (None, 8)


def test_a_file_that_is_being_written_isnt_read_before_it_is_whole(world: World) -> None:
    limits = world.limits()
    world.pass_time(10, limits)
    whole = world.toml.read_text()
    cut = whole[: whole.index("[transfer]")]  # valid, and without a limit
    world.toml.write_text(cut)
    world.pass_time(3, limits)
    world.toml.write_text(whole)
    world.pass_time(10, limits)
    assert world.events == ["Limits: 12MB/s, shared by all workers that move data."]


def test_the_thread_gives_a_waiting_reader_its_share_at_once(world: World) -> None:
    limits = world.limits()
    with limits:
        assert share(limits) == 0
        assert limits.throttle.share_bytes_per_second() == 12e6
        thread = threading.Thread(target=limits.throttle.share_bytes_per_second)
        thread.start()
        thread.join()
    assert world.files() == []


def test_a_limited_run_moves_everything_and_says_so(tmp_path: Path) -> None:
    items = make_items(tmp_path / "in", 3)
    paths = ("-i", items, "-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    prepare("generate-joblist", *paths)
    limits = ("--bandwidth", "50MB/s", "--max-requests-per-second", 100)
    said = "Limits: 50MB/s and 100 requests/s, shared by all workers that move data."
    worker = ("transfer-worker", "-i", tmp_path / "list", *limits)
    assert said in run_ok(*worker, "--dry-run").stdout
    assert said in run_ok(*worker).stdout
    assert contents(tmp_path / "out") == contents(items)
    assert set(statuses(tmp_path / "list").values()) == {"success"}
    assert os.listdir(tmp_path / "list" / ".claims" / MOVERS_FOLDER) == []


def test_a_limit_that_cant_be_read_is_one_clear_line(tmp_path: Path) -> None:
    done = run("transfer-worker", "-i", tmp_path, "--bandwidth", "200Mb/s")
    assert_one_line_error(done, 2, "--bandwidth", "expected B for bytes or bit for bits")
    with pytest.raises(jobtool.UsageError, match=r"^bandwidth: expected B for bytes"):
        jobtool.transfer_jobs(tmp_path, bandwidth="200Mb/s")
    with pytest.raises(jobtool.UsageError, match="max_requests_per_second: expected a number"):
        jobtool.transfer_jobs(tmp_path, max_requests_per_second=-1)
