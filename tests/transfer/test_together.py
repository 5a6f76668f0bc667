"""Small files that go together arrive as they do one by one."""

from __future__ import annotations

import contextlib
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from jobtool.errors import ClaimLostError, SourceDigestError, StoreError
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import Receipt
from jobtool.md5 import md5_of
from jobtool.stop import Stop
from jobtool.stores.local import LocalStore, small
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.testing.faults import Fault
from jobtool.testing.faulty_store import FaultyStore
from jobtool.transfer import filetransfer
from jobtool.transfer.copy import Copier
from jobtool.transfer.filequeue import FileQueue
from jobtool.transfer.leftovers import remove_leftovers
from jobtool.transfer.plan import Plan, Route
from jobtool.transfer.policies import Policies
from jobtool.transfer.retry import Retry
from jobtool.transfer.run import JobTransfer
from jobtool.transfer.throttle import Throttle
from jobtool.transfer.together import MOST_BYTES, Pace, most_for
from jobtool.transfer.whole import Sent
from tests.stores.raw import MemoryRaw
from tests.transfer.states import make_ledger
from tests.trees import contents, write

COUNT = 100
"""Enough files for threads to take several at a time."""


@pytest.fixture(params=["extension", "general"])
def way(request, monkeypatch):
    """Which of the two ways handles small files."""
    if request.param == "general":
        monkeypatch.setattr(small, "extension", None)
    elif small.extension is None:
        pytest.skip("the extension isn't built here")
    return request.param


class World:
    """A tree, its destination, and the transfer from one to the other."""

    def __init__(self, folder, *, links="follow"):
        self.folder, self.links = folder, links
        self.stop = Stop()
        self.journal = Journal(str(folder / "job.jsonl"))
        for number in range(COUNT):
            write(folder / "in" / f"{number % 3}" / f"{number}", b"%d" % number * number)
        (folder / "out").mkdir()

    def run(
        self, *, if_exists="verify", source=None, destination=None, throttle=None, on_file=None
    ):
        source = source or LocalStore(str(self.folder / "in"), links=self.links)
        out = destination or LocalStore(str(self.folder / "out"), owner="we")
        plan = Plan()
        plan.is_tree = True
        plan.start_route(Route(source, out))
        for entry in source.list():
            plan.add(entry)
        self.listed()
        retry = Retry(tries=2, stop=self.stop, sleep=lambda seconds: None)
        self.ledger = make_ledger(plan, self.journal.read(), journal=self.journal)
        self.transfer = JobTransfer(
            self.ledger,
            Copier(threads=2, throttle=throttle),
            threads=2,
            worker="w",
            stop=self.stop,
            retry=retry,
            policies=Policies(if_exists=if_exists),
            on_file=on_file,
        )
        try:
            self.transfer.run(lambda progress: None)
        finally:
            remove_leftovers(self.ledger, is_stopping=lambda: False)
        return self.transfer

    def listed(self):
        """Change something between the listing and the transfer."""

    def receipts(self):
        self.journal.flush()
        return {
            record.dst_path.removeprefix(f"{self.folder}/out/"): record
            for record in self.journal.read()
            if isinstance(record, Receipt)
        }

    def assert_perfect(self):
        wanted = contents(self.folder / "in")
        assert contents(self.folder / "out") == wanted
        assert {path: one.hashsum_dst for path, one in self.receipts().items()} == {
            path: md5_of(data) for path, data in wanted.items()
        }


@pytest.fixture
def together(monkeypatch):
    """The numbers of files that were sent together, in the order of the calls."""
    counts = []
    inner = filetransfer.send_together

    def send_together(*arguments, **named):
        tried = inner(*arguments, **named)
        counts.append(sum(isinstance(one, Sent) for one in tried))
        return tried

    monkeypatch.setattr(filetransfer, "send_together", send_together)
    return counts


@pytest.mark.parametrize("links", ["follow", "keep"])
def test_most_go_together_and_each_has_its_receipt_mode_and_time(way, tmp_path, together, links):
    world = World(tmp_path, links=links)
    for number in range(COUNT):
        path = tmp_path / "in" / f"{number % 3}" / f"{number}"
        path.chmod(0o600 | number)
        os.utime(path, ns=(0, 10**18 + number))
    transfer = world.run()
    assert transfer.is_complete
    world.assert_perfect()
    for path in contents(tmp_path / "in"):
        before, after = ((tmp_path / side / path).stat() for side in ("in", "out"))
        assert stat.S_IMODE(after.st_mode) == stat.S_IMODE(before.st_mode)
        assert after.st_mtime_ns == before.st_mtime_ns
    progress = transfer.progress
    assert (progress.files_done, progress.files_sent) == (COUNT, COUNT)
    assert (
        progress.bytes_sent
        == progress.bytes_done
        == sum(map(len, contents(tmp_path / "in").values()))
    )
    if way == "extension":
        assert sum(together) > COUNT / 2
        assert max(together) > 1


def test_what_is_unusual_goes_alone_among_the_others(way, tmp_path, together):
    world = World(tmp_path)
    write(tmp_path / "in/0/large", os.urandom(MOST_BYTES + 1))
    write(tmp_path / "in/0/empty", b"")
    write(tmp_path / "in/1/hole", b"x" * 4096 + bytes(8192) + b"y")
    write(tmp_path / "in/1/odd \udcff\n", b"name")
    os.link(tmp_path / "in/2/2", tmp_path / "in/2/also")
    (tmp_path / "in/2/link").symlink_to("../0/0")
    write(tmp_path / "out/1/1", b"1")  # the same
    write(tmp_path / "out/2/5", b"other")
    transfer = world.run()
    assert transfer.is_complete
    world.assert_perfect()
    assert {one.attribute for one in transfer.notes.told} == {"hard link"}
    assert world.receipts()["1/1"].method is None, "it was there"


def test_another_programs_file_is_kept_if_that_is_asked_for(way, tmp_path, together):
    world = World(tmp_path)
    write(tmp_path / "out/1/1", b"theirs")
    transfer = world.run(if_exists="error")
    assert [failure.path for failure in transfer.failures] == [f"{tmp_path}/in/1/1"]
    assert (tmp_path / "out/1/1").read_bytes() == b"theirs"
    assert not any(together), "those that must not replace a file go alone"


def test_files_that_changed_or_vanished_after_the_listing_fail_or_are_read_again(way, tmp_path):
    world = World(tmp_path)

    def change():
        write(tmp_path / "in/0/30", b"longer than before" * 9)
        (tmp_path / "in/1/31").unlink()
        (tmp_path / "in/2/32").unlink()
        (tmp_path / "in/2/32").symlink_to("/etc/hostname")

    world.listed = change
    transfer = world.run()
    assert {failure.path for failure in transfer.failures} == {
        f"{tmp_path}/in/1/31",
        f"{tmp_path}/in/2/32",
    }
    arrived = contents(tmp_path / "out")
    assert arrived.pop("0/30") == b"longer than before" * 9
    assert len(arrived) == COUNT - 3 == len(world.receipts()) - 1


def test_a_link_below_the_destination_is_not_followed(way, tmp_path):
    world = World(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out/1").symlink_to(tmp_path / "elsewhere")
    transfer = world.run()
    assert not transfer.is_complete
    assert all("link" in str(failure.error) for failure in transfer.failures)
    assert contents(tmp_path / "elsewhere") == {}
    arrived = contents(tmp_path / "out")
    assert {path: one.size for path, one in world.receipts().items()} == {
        path: len(data) for path, data in arrived.items()
    }


def test_nothing_is_written_once_the_claim_is_lost(way, tmp_path, monkeypatch):
    world = World(tmp_path)
    inner = LocalStore.read_together

    def read_together(store, entries):
        found = inner(store, entries)
        world.stop.lose("another worker has it")
        return found

    monkeypatch.setattr(LocalStore, "read_together", read_together)
    with pytest.raises(ClaimLostError) if way == "extension" else contextlib.nullcontext():
        world.run()
    assert contents(tmp_path / "out") == {}
    assert world.receipts() == {}


def test_bytes_that_change_on_their_way_are_noticed(tmp_path, monkeypatch):
    if small.extension is None:
        pytest.skip("the extension isn't built here")
    world = World(tmp_path)
    inner = small.extension.write

    class Flipping:
        """Writes another byte than it was given, the first time."""

        read, publish = small.extension.read, small.extension.publish
        is_first = True

        def write(self, files):
            if len(files) > 1 and self.is_first:
                self.is_first = False
                folder, name, data, mode = files[1]
                files[1] = folder, name, b"!" + bytes(data)[1:], mode
            return inner(files)

    monkeypatch.setattr(small, "extension", Flipping())
    assert world.run().is_complete
    world.assert_perfect()
    assert not small.extension.is_first


def test_a_store_that_takes_no_more_leaves_each_file_to_the_usual_way(tmp_path, together):
    class Full(LocalStore):
        def write_together(self, files):
            return [None] * len(files)

    world = World(tmp_path)
    assert world.run(destination=Full(str(tmp_path / "out"), owner="we")).is_complete
    world.assert_perfect()
    assert len(together) < COUNT, "after many no others are tried"


def in_memory(world, store=MemoryStore):
    """The source as a store that reads its files one by one."""
    memory = Memory()
    for path, data in contents(world.folder / "in").items():
        MemoryRaw(memory, "").write(path, data, mtime_ns=1)
    return store(memory, "memory://a")


@pytest.mark.parametrize("side", ["source", "destination", "both"])
def test_it_is_enough_if_one_of_the_stores_takes_files_together(way, tmp_path, together, side):
    world, out = World(tmp_path), Memory()
    stores = {}
    if side != "destination":
        stores["source"] = in_memory(world)
    if side != "source":
        stores["destination"] = MemoryStore(out, "memory://b")
    assert world.run(**stores).is_complete
    if side == "source":
        world.assert_perfect()
    else:
        assert {path: file[0] for path, file in out.files.items()} == contents(tmp_path / "in")
    if side == "both":
        assert together == []
    elif way == "extension":
        assert sum(together) > COUNT / 2


@pytest.mark.parametrize(("times", "left"), [(1, 0), (2, 0), (3, 1)])
@pytest.mark.parametrize("method", ["read", "write"])
def test_an_error_for_one_of_them_is_the_first_of_its_tries(tmp_path, method, times, left):
    world, out = World(tmp_path), Memory()
    fault = Fault(method=method, path="1/31", error=StoreError("busy"), times=times)
    if method == "read":
        faulty = FaultyStore(in_memory(world), [fault])
        transfer = world.run(source=faulty)
        arrived = contents(tmp_path / "out")
    else:
        faulty = FaultyStore(MemoryStore(out, "memory://b"), [fault])
        transfer = world.run(destination=faulty)
        arrived = {path: file[0] for path, file in out.files.items()}
    assert len(faulty.faults_left) == left, "two tries were made"
    assert [str(failure.error) for failure in transfer.failures] == ["busy"] * (times > 1)
    wanted = contents(tmp_path / "in")
    if times > 1:
        del wanted["1/31"]
    assert arrived == wanted
    assert faulty.calls[method] < 2 * COUNT


def test_a_digest_of_the_source_that_does_not_fit_fails_that_file_alone(tmp_path):
    class Recorded(MemoryStore):
        def read(self, entry, offset, length):
            content = super().read(entry, offset, length)
            md5 = md5_of(b"other" if entry.path == "1/31" else content.data)
            return replace(content, attributes=replace(content.attributes, md5=md5))

    world = World(tmp_path)
    transfer = world.run(source=in_memory(world, Recorded))
    (failure,) = transfer.failures
    assert isinstance(failure.error, SourceDigestError)
    wanted = contents(tmp_path / "in")
    del wanted["1/31"]
    assert contents(tmp_path / "out") == wanted


@pytest.mark.parametrize("side", ["source", "destination"])
def test_what_arrived_before_a_stop_has_its_receipts(tmp_path, side):
    class Stopping(MemoryStore):
        count = 0

        def note(self):
            self.count += 1
            if self.count == 30:
                world.stop.set("enough")

        def read(self, entry, offset, length):
            self.note()
            return super().read(entry, offset, length)

        def write(self, path, chunks, attributes):
            self.note()
            return super().write(path, chunks, attributes)

    world, out = World(tmp_path), Memory()
    stores = {"destination": Stopping(out, "memory://b")}
    if side == "source":
        stores = {"source": in_memory(world, Stopping)}
    transfer = world.run(**stores)
    assert not transfer.is_complete
    assert transfer.failures == []
    arrived = out.files if side == "destination" else contents(tmp_path / "out")
    assert 20 < len(arrived) < 60
    roots = ("memory://b/", f"{tmp_path}/out/")
    assert {path.removeprefix(root) for path in world.receipts() for root in roots} >= {*arrived}
    assert len(world.receipts()) == len(arrived)


def test_files_go_alone_as_long_as_there_is_a_limit_on_their_speed(tmp_path, together):
    world = World(tmp_path)
    throttle = Throttle()
    throttle.set_shares(10**9, None)
    assert world.run(throttle=throttle).is_complete
    world.assert_perfect()
    assert together == []


def test_a_bug_in_a_store_ends_the_transfer_and_loses_no_receipt(tmp_path):
    class Broken(LocalStore):
        calls = 0

        def write_together(self, files):
            type(self).calls += 1
            if self.calls == 3:
                raise ZeroDivisionError("a bug")
            return super().write_together(files)

    world = World(tmp_path)
    with pytest.raises(ZeroDivisionError):
        world.run(destination=Broken(str(tmp_path / "out"), owner="we"))
    arrived = contents(tmp_path / "out")
    assert set(world.receipts()) == set(arrived)
    assert world.run().is_complete
    world.assert_perfect()


def test_an_error_of_a_store_sends_each_file_alone(tmp_path, monkeypatch):
    def read_together(store, entries):
        raise StoreError("not now")

    monkeypatch.setattr(LocalStore, "read_together", read_together)
    world = World(tmp_path)
    assert world.run().is_complete
    world.assert_perfect()


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_bug_in_what_is_told_of_each_file_ends_the_transfer(tmp_path):
    world = World(tmp_path)

    def on_file(item, copied):
        raise ZeroDivisionError(item.entry.path)

    with pytest.raises(ZeroDivisionError):
        world.run(on_file=on_file)


def test_large_files_are_taken_one_by_one(tmp_path, monkeypatch):
    """What a thread has taken, no other thread can send."""
    world = World(tmp_path)
    for folder in range(3):
        for path in (tmp_path / "in" / f"{folder}").iterdir():
            os.truncate(path, MOST_BYTES + 1)
    taken = []
    pop = FileQueue.pop_first

    def spy(queue, most=1):
        found = pop(queue, most)
        taken.append(len(found))
        return found

    monkeypatch.setattr(FileQueue, "pop_first", spy)
    world.run()
    assert max(taken) == 1
    world.assert_perfect()


@pytest.mark.parametrize("threads", [1, 16, 64, 256])
@pytest.mark.parametrize("open_files", [256, 1024, 65536])
def test_files_that_go_together_leave_room_for_other_open_files(threads, open_files):
    most = most_for(threads, open_files)
    assert 1 <= most <= 64
    assert most == 1 or 2 * most * threads <= open_files / 2


@given(st.lists(st.floats(0, 100)))
def test_a_pace_stays_within_bounds_and_follows_the_time_that_files_take(seconds):
    clock = Clock()
    pace = Pace(clock)
    for each in seconds:
        before = pace.count
        with pace.timed():
            clock.now += each
        assert 1 <= pace.count <= 64
        if each > 0.2:
            assert pace.count == max(before // 2, 1)
        if each < 0.01:
            assert pace.count == min(2 * before, 64)


@given(st.integers(0, 500), st.lists(st.integers(1, 64), min_size=1))
def test_a_queue_gives_every_file_once_and_few_at_its_end(count, wanted):
    queue, seen, turn = FileQueue(range(count)), [], 0
    while some := queue.pop_first(wanted[turn % len(wanted)]):
        left = count - len(seen)
        assert len(some) <= max(left // 8, 1)
        seen += some
        turn += 1
    assert seen == list(range(count))
    assert len(queue) == 0
