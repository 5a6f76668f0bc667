"""The transfer of one file: what is decided is done, and tries go on as long as they help."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from jobtool.errors import FileError, RefusedError, SourceDigestError, StoreError, UnreachableError
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import Receipt, UploadRecord
from jobtool.md5 import md5_of
from jobtool.stop import Stop
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Attributes, Content, Note, mismatch
from jobtool.testing.faults import Fault
from jobtool.testing.faulty_store import FaultyStore
from jobtool.transfer.copy import Copier
from jobtool.transfer.decision import Held
from jobtool.transfer.filetransfer import FileTransfer
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.ledger.uploads import record_of
from jobtool.transfer.notes import Notes
from jobtool.transfer.partqueue import PartQueues
from jobtool.transfer.partranges import MEBIBYTE
from jobtool.transfer.phases import Phase
from jobtool.transfer.plan import Plan, Route
from jobtool.transfer.policies import Policies
from jobtool.transfer.progress import Tally
from jobtool.transfer.retry import Retry
from tests.stores.plain import PlainStore
from tests.stores.raw import MemoryRaw

PART_BYTES = MEBIBYTE
LARGE = random.Random(0).randbytes(5 * PART_BYTES // 2)  # three parts
SMALL = b"small"


class Source(MemoryStore):
    """Calls ``on_read`` before each read; reading may be expensive."""

    is_dear = False
    recorded = None  # a file's MD5 in its metadata

    @property
    def capabilities(self):
        return replace(super().capabilities, cheap_reads=not self.is_dear)

    def read(self, entry, offset, length):
        self.on_read()
        content = super().read(entry, offset, length)
        notes = (Note("owner", "nobody has it"),)
        attributes = replace(content.attributes, notes=notes, md5=self.recorded)
        return Content(data=content.data, attributes=attributes)


class Destination(MemoryStore):
    """May need a file's MD5 before the first part.

    ``on_part`` is called before each part, ``on_proof`` before the proof of a large file.
    """

    needs_md5_first = False

    @property
    def capabilities(self):
        return replace(super().capabilities, attributes_first=self.needs_md5_first)

    def put_part(self, upload, number, offset, data, md5):
        self.on_part()
        return super().put_part(upload, number, offset, data, md5)

    def complete(self, upload, parts, attributes):
        self.on_proof()
        return super().complete(upload, parts, attributes)

    def digest(self, path):
        self.on_proof()
        return super().digest(path)


class World:
    """One file, what is known about it, and its transfer."""

    def __init__(
        self,
        folder,
        data,
        *,
        faults=(),
        attempt=1,
        if_exists="verify",
        retry=None,
        wrap=lambda inner: inner,
    ):
        memory = Memory()
        MemoryRaw(memory, "").write("x", data, mtime_ns=1)
        self.source = Source(memory, "memory://a")
        self.inner = Destination(Memory(), "memory://b")
        self.source.on_read = self.inner.on_part = self.inner.on_proof = lambda: None
        self.raw = MemoryRaw(self.inner.memory, "")
        self.destination = FaultyStore(wrap(self.inner), faults)
        self.plan = Plan()
        self.plan.is_tree = True
        self.plan.start_route(Route(self.source, self.destination))
        for entry in self.source.list():
            self.plan.add(entry)
        self.journal = Journal(str(folder / "job.jsonl"))
        self.ledger = Ledger(self.plan, self.journal, attempt=attempt)
        self.tally = Tally(self.ledger)
        self.queues = PartQueues()
        self.notes = Notes()
        self.retry = retry or Retry(tries=3, sleep=lambda seconds: None)
        self.if_exists = if_exists

    def begin_upload(self, parts=1):
        """Leave the upload of an earlier try, with some of its parts."""
        upload = self.inner.begin("x", Attributes(mtime_ns=1))
        record = UploadRecord(
            src_path="memory://a/x",
            dst_path="memory://b/x",
            size=self.plan.size_of(0),
            mtime_ns=1,
            part_size=PART_BYTES,
            token=upload.token,
        )
        self.ledger.fold([record])
        for number in range(1, parts + 1):
            offset = (number - 1) * PART_BYTES
            data = LARGE[offset : offset + PART_BYTES]
            sent = self.inner.put_part(upload, number, offset, data, md5_of(data))
            self.ledger.fold([record_of(upload.token, sent)])

    def transfer(self):
        copier = Copier(threads=1, part_bytes=PART_BYTES)
        files = FileTransfer(
            self.ledger,
            copier,
            policies=Policies(if_exists=self.if_exists),
            worker="w",
            stop=Stop(),
            retry=self.retry,
            queues=self.queues,
            tally=self.tally,
            notes=self.notes,
        )
        try:
            found = files.transfer(0)
        finally:
            copier.close()
        return None if found is None else found[1]

    @property
    def receipt(self):
        self.ledger.flush()
        (found,) = (record for record in self.journal.read() if isinstance(record, Receipt))
        return found


# What a method claims


def test_what_a_method_has_brought_gets_a_receipt_that_names_it(tmp_path):
    world = World(tmp_path, SMALL)
    world.ledger.methods.give([0], "cp")
    world.raw.write("x", SMALL)
    world.ledger.methods.claim(0)
    copied = world.transfer()
    assert copied.was_there
    assert world.receipt.method == "cp"
    assert world.destination.calls["write"] == 0
    assert world.tally.progress.files_sent == 0


@pytest.mark.parametrize("there", [None, b"other"], ids=["missing", "other"])
def test_what_a_method_claims_and_has_not_brought_is_left_to_the_next(tmp_path, there):
    world = World(tmp_path, SMALL)
    world.ledger.methods.claim(0)
    if there is not None:
        world.raw.write("x", there)
    assert world.transfer() is None
    known = world.ledger.known(0)
    assert (known.is_proven, known.is_claimed, known.held) == (False, False, Held.OTHER_SIZE)
    assert world.destination.calls["write"] == 0


def test_what_a_method_claims_and_cannot_be_compared_is_left_to_the_next(tmp_path):
    folder = FileError("there is a folder")
    world = World(tmp_path, SMALL, faults=[Fault(method="prove", error=folder)])
    world.ledger.methods.claim(0)
    assert world.transfer() is None
    assert not world.ledger.known(0).is_claimed


def test_what_a_method_claims_and_cannot_be_read_is_left_to_the_next(tmp_path):
    damaged = Fault(method="prove", error=StoreError("no node has it"), times=None)
    world = World(tmp_path, SMALL, faults=[damaged], retry=Retry(tries=2, sleep=lambda _: None))
    world.raw.write("x", SMALL)
    world.ledger.methods.claim(0)
    assert world.transfer() is None
    assert not world.ledger.known(0).is_claimed
    assert world.destination.calls["prove"] == 2


def test_a_comparison_that_fails_for_a_moment_is_made_again(tmp_path):
    world = World(tmp_path, SMALL, faults=[Fault(method="prove", error=StoreError("reset"))])
    world.raw.write("x", SMALL)
    world.ledger.methods.claim(0)
    assert world.transfer().was_there
    assert world.destination.calls["prove"] == 2


def test_a_file_that_nobody_claims_and_that_cannot_be_compared_is_in_error(tmp_path):
    folder = FileError("there is a folder")
    world = World(tmp_path, SMALL, faults=[Fault(method="prove", error=folder)])
    world.ledger.note_destination([len(SMALL)], [False])
    with pytest.raises(FileError, match="there is a folder"):
        world.transfer()


# What is there already


def test_a_file_that_is_there_needs_its_upload_no_more(tmp_path):
    world = World(tmp_path, LARGE)
    world.begin_upload()
    world.raw.write("x", LARGE)
    world.ledger.compare(Retry.never())
    assert world.transfer().was_there
    assert world.inner.memory.uploads == {}
    assert world.ledger.tokens() == set()
    assert world.retry.elsewhere.last > float("-inf"), "the destination works"


def test_another_file_that_is_there_leaves_the_upload_to_be_resumed(tmp_path):
    world = World(tmp_path, LARGE)
    world.begin_upload()
    world.raw.write("x", LARGE[::-1])
    world.ledger.compare(Retry.never())
    assert not world.transfer().was_there
    assert world.raw.read("x") == LARGE
    assert world.destination.calls["begin"] == world.destination.calls["abort"] == 0
    assert world.destination.calls["put_part"] == 2
    assert world.tally.progress.bytes_sent == len(LARGE) - PART_BYTES


@pytest.mark.parametrize("is_there", [False, True])
def test_before_a_file_is_refused_the_destination_is_asked_again(tmp_path, is_there):
    world = World(tmp_path, SMALL, attempt=2, if_exists="error")
    world.ledger.note_destination([len(SMALL) + 1], [False])  # as it was listed
    if is_there:
        world.raw.write("x", b"precious")
        with pytest.raises(FileError, match="memory://b/x exists and has no receipt"):
            world.transfer()
        assert world.raw.read("x") == b"precious"
    else:
        assert not world.transfer().was_there
        assert world.raw.read("x") == SMALL


@pytest.mark.parametrize(("if_exists", "writes"), [("error", 1), ("verify", 2)])
def test_a_file_whose_answer_was_lost_is_ours_where_another_would_be_an_error(
    tmp_path, if_exists, writes
):
    lost = Fault(method="write", error=StoreError("lost answer"), late=True)
    world = World(tmp_path, SMALL, faults=[lost], if_exists=if_exists)
    copied = world.transfer()
    assert copied.was_there == world.ledger.known(0).is_tried == (if_exists == "error")
    assert world.destination.calls["write"] == writes


# An upload begun whose answer is lost


@pytest.mark.parametrize(
    ("error", "listings", "uploads_left"),
    [(None, 1, 0), (StoreError("reset"), 2, 0), (RefusedError("no permission to list"), 1, 1)],
    ids=["listed", "listed later", "not listed"],
)
def test_an_upload_whose_token_was_lost_is_dropped_before_another_is_begun(
    tmp_path, error, listings, uploads_left
):
    faults = [Fault(method="begin", error=StoreError("lost answer"), late=True)]
    if error is not None:
        faults.append(Fault(method="leftovers", error=error))
    world = World(tmp_path, LARGE, faults=faults)
    assert not world.transfer().was_there
    assert world.raw.read("x") == LARGE
    assert world.destination.calls["begin"] == 2
    assert world.destination.calls["leftovers"] == listings
    assert len(world.inner.memory.uploads) == uploads_left


def test_an_upload_begun_without_the_files_md5_is_dropped_where_that_must_come_first(tmp_path):
    world = World(tmp_path, LARGE)
    world.inner.needs_md5_first = True
    world.begin_upload()
    shared = []
    world.source.on_read = lambda: shared.extend(
        queue.upload for queue in world.queues.open_queues()
    )
    assert not world.transfer().was_there
    assert world.raw.read("x") == LARGE
    assert world.destination.calls["abort"] == world.destination.calls["begin"] == 1
    assert world.inner.memory.uploads == {}
    assert shared[0] is None, "nobody sends parts of the upload that was dropped"
    assert world.tally.progress.bytes_sent == len(LARGE)


def test_parts_that_make_another_file_are_all_sent_again(tmp_path):
    error = mismatch("memory://b/x", sent="0" * 32, found="1" * 32)
    world = World(tmp_path, LARGE, faults=[Fault(method="complete", error=error)])
    assert not world.transfer().was_there
    assert world.raw.read("x") == LARGE
    assert world.destination.calls["begin"] == 2
    assert world.destination.calls["put_part"] == 6


def test_a_file_that_its_metadata_deny_is_read_again_by_the_next_try(tmp_path):
    world = World(tmp_path, LARGE)
    world.source.is_dear = True  # else it is read again anyway
    world.source.recorded = "0" * 32
    with pytest.raises(SourceDigestError):
        world.transfer()
    assert world.raw.paths() == set()
    log = world.ledger.log_of(0, world.plan.item(0))
    assert len(log.digests(PART_BYTES)) == 0


# What it tells others


def test_a_file_that_arrived_is_counted_and_its_notes_are_kept(tmp_path):
    world = World(tmp_path, SMALL)
    assert not world.transfer().was_there
    (unkept,) = world.notes.told
    assert (unkept.attribute, unkept.paths) == ("owner", ("memory://a/x",))
    progress = world.tally.progress
    assert (progress.files_sent, progress.bytes_sent) == (1, len(SMALL))
    assert (progress.files_done, progress.bytes_done) == (1, len(SMALL))
    assert world.receipt.method == "stream"


@pytest.mark.parametrize("wrap", [lambda inner: inner, PlainStore], ids=["parts", "stream"])
def test_bytes_are_counted_as_they_arrive(tmp_path, wrap):
    world = World(tmp_path, LARGE, wrap=wrap)
    seen = []
    world.inner.on_proof = lambda: seen.append(world.tally.progress)
    assert not world.transfer().was_there
    (before_proof,) = seen
    assert (before_proof.files_done, before_proof.bytes_done) == (0, len(LARGE))
    assert before_proof.phase is Phase.READING_BACK
    progress = world.tally.progress
    assert (progress.files_done, progress.bytes_done) == (1, len(LARGE))
    assert (progress.files_sent, progress.bytes_sent) == (1, len(LARGE))


@pytest.mark.parametrize(("size", "is_expected"), [(PART_BYTES - 1, False), (PART_BYTES, True)])
def test_others_wait_for_the_parts_of_a_file_that_has_any(tmp_path, size, is_expected):
    world = World(tmp_path, LARGE[:size])
    seen = []
    world.source.on_read = lambda: seen.append(world.queues.are_expected)
    world.transfer()
    assert set(seen) == {is_expected}
    assert not world.queues.are_expected


@pytest.mark.parametrize("held", [0, 1], ids=["begun", "resumed"])
def test_a_part_that_another_worker_sends_meanwhile_is_counted_and_sent_once(tmp_path, held):
    data = LARGE + LARGE  # five parts, of which three are taken before the first has arrived
    world = World(tmp_path, data)
    if held:
        world.begin_upload()

    def send_the_last():
        world.inner.on_part = lambda: None
        (queue,) = world.queues.open_queues()
        ((number, offset, length),) = batch = queue.pop_last(1)
        upload = world.ledger.upload_of(0).at("x")
        last = data[offset : offset + length]
        queue.put_back(batch, [world.inner.put_part(upload, number, offset, last, md5_of(last))])

    world.inner.on_part = send_the_last
    assert not world.transfer().was_there
    assert world.raw.read("x") == data
    assert world.destination.calls["put_part"] == 4 - held  # besides the other worker's
    assert world.tally.progress.bytes_sent == len(data) - held * PART_BYTES


@pytest.mark.parametrize(
    ("data", "setup", "phase"),
    [
        (SMALL, "", Phase.COPYING),
        (SMALL, "MD5 first", Phase.COPYING),
        (SMALL, "there", Phase.COMPARING),
        (LARGE, "", Phase.COPYING),
        (LARGE, "there", Phase.COMPARING),
        (LARGE, "MD5 first", Phase.CHECKING_PARTS),
        (LARGE, "MD5 first, dear", Phase.COPYING),
        (LARGE, "begun", Phase.COPYING),
        (LARGE, "begun, parts", Phase.CHECKING_PARTS),
    ],
)
def test_the_first_phase_of_a_file_is_what_is_done_first(tmp_path, data, setup, phase):
    world = World(tmp_path, data)
    if "there" in setup:
        world.raw.write("x", data)
    if "begun" in setup:
        world.begin_upload(parts=int("parts" in setup))
    world.inner.needs_md5_first = "MD5 first" in setup
    world.source.is_dear = "dear" in setup
    world.ledger.compare(Retry.never())
    world.tally.phases.all_at(Phase.SYNCING)
    seen = []
    world.source.on_read = lambda: seen.append(world.tally.phases.now)
    world.transfer()
    assert seen[0] is phase
    assert world.tally.phases.now is Phase.SYNCING


# How long it is tried


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_file_is_tried_as_long_as_its_parts_arrive(tmp_path):
    """Each try sends one part more; all of them together take longer than the patience."""
    clock, tries = Clock(), []
    retry = Retry(patience_seconds=100, sleep=lambda seconds: None, monotonic=clock)
    world = World(tmp_path, LARGE, retry=retry)

    def fail_every_other():
        clock.now += 60
        tries.append(clock.now)
        if len(tries) % 2:
            raise UnreachableError("503")

    world.inner.on_part = fail_every_other
    assert world.transfer().md5 == world.receipt.hashsum_dst
    assert world.raw.read("x") == LARGE
    assert len(tries) == 6


def test_a_part_that_arrives_shows_others_that_the_destination_works(tmp_path):
    fault = Fault(method="complete", error=FileError("no"))
    world = World(tmp_path, LARGE, faults=[fault])
    with pytest.raises(FileError):
        world.transfer()
    assert world.retry.elsewhere.last > float("-inf")


def test_nothing_that_fails_shows_that_the_destination_works(tmp_path):
    world = World(tmp_path, SMALL, faults=[Fault(method="write", error=FileError("no"))])
    with pytest.raises(FileError):
        world.transfer()
    assert world.retry.elsewhere.last == float("-inf")
    assert world.tally.progress.bytes_done == world.tally.progress.bytes_sent == 0
