"""Files that are sent whole, to stores without parts and proofs."""

from __future__ import annotations

import random
from itertools import islice

import pytest
from msgspec.structs import replace

from jobtool.errors import (
    ClaimLostError,
    DigestMismatchError,
    RefusedError,
    SourceDigestError,
    StoppedError,
    StoreError,
)
from jobtool.jobs.journal import Journal
from jobtool.md5 import md5_of
from jobtool.stop import Stop
from jobtool.stores.local import LocalStore
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.optional import PROTOCOLS, Multipart, ReadsTogether, WritesTogether
from jobtool.stores.store import Content, Note, entry_of
from jobtool.testing.faults import Corruption, Fault
from jobtool.testing.faulty_store import FaultyStore
from jobtool.transfer.copy import Copier
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.partranges import MEBIBYTE
from jobtool.transfer.plan import Plan, Route
from jobtool.transfer.retry import Retry
from jobtool.transfer.run import JobTransfer
from tests.stores.plain import PlainStore
from tests.stores.raw import MemoryRaw
from tests.transfer.test_copy import MTIME_NS, PATH, Notes, copy, item_of

PART_BYTES = 5 * MEBIBYTE
LARGE = random.Random(0).randbytes(3 * PART_BYTES + 7)
SIZES = pytest.mark.parametrize("data", [b"", b"small", LARGE], ids=["empty", "small", "large"])


@pytest.fixture
def copier():
    made = Copier(threads=2, part_bytes=PART_BYTES, buffer_bytes=1)
    yield made
    made.close()


def pair(data, faults=(), *, wrap=PlainStore):
    """A source with one file, a plain destination that fails as configured, and its files."""
    memories = Memory(), Memory()
    MemoryRaw(memories[0], "").write(PATH, data, mtime_ns=MTIME_NS)
    plain = wrap(MemoryStore(memories[1], "memory://b"))
    source = MemoryStore(memories[0], "memory://a")
    return source, FaultyStore(plain, faults), MemoryRaw(memories[1], "")


def test_a_faulty_store_has_just_what_the_wrapped_one_has():
    _, faulty, _ = pair(b"")
    assert not any(isinstance(faulty, protocol) for protocol in PROTOCOLS)
    inner = MemoryStore(Memory(), "memory://x")
    for protocol in PROTOCOLS:
        assert isinstance(FaultyStore(inner), protocol) == isinstance(inner, protocol)
    local = FaultyStore(LocalStore("/"))
    assert isinstance(local, Multipart)
    assert not isinstance(local, ReadsTogether | WritesTogether)


@SIZES
def test_a_file_is_streamed_in_bounded_memory_and_proven_by_reading(copier, data):
    source, destination, raw = pair(data)
    copied = copy(copier, source, destination)
    assert raw.read(PATH) == data
    assert (copied.md5, copied.proof.md5) == (md5_of(data), md5_of(data))
    assert (copied.proof.verified_by, copied.part_size) == ("read-back", None)
    assert destination.calls["digest"] == 1
    assert max(destination.inner.chunk_sizes) <= PART_BYTES


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
def test_a_flipped_bit_is_found_and_the_file_removed(copier, data):
    source, destination, raw = pair(data, [Corruption(method="write")])
    with pytest.raises(DigestMismatchError, match="removed"):
        copy(copier, source, destination)
    assert raw.paths() == set()
    assert copy(copier, source, destination).proof.md5 == md5_of(data)


@pytest.mark.parametrize("taken", [1, 4], ids=["two of four chunks", "all without the end"])
def test_a_file_of_which_a_store_takes_only_a_part_is_removed(copier, taken):
    class Sated(PlainStore):
        def write(self, path, chunks, attributes):
            return super().write(path, islice(chunks, taken), attributes)

    class Liar(MemoryStore):
        def read(self, entry, offset, length):
            content = super().read(entry, offset, length)
            wrong = replace(content.attributes, md5="0" * 32)
            return Content(data=content.data, attributes=wrong)

    source, destination, raw = pair(LARGE, wrap=Sated)
    if taken == 4:  # then what the source has recorded is compared after the file is published
        source = Liar(source.memory, "memory://a")
    with pytest.raises(SourceDigestError if taken == 4 else StoreError):
        copy(copier, source, destination)
    assert raw.paths() == set()


def test_bytes_of_a_stream_that_does_not_arrive_are_no_progress(tmp_path):
    source, destination, _ = pair(LARGE, [Fault(method="write", error=RefusedError("403"))])
    plan = Plan()
    plan.start_route(Route(source, destination))
    plan.add(entry_of(source, PATH), PATH)
    copier = Copier(threads=2, part_bytes=PART_BYTES)
    transfer = JobTransfer(
        Ledger(plan, Journal(str(tmp_path / "journal.jsonl"))),
        copier,
        threads=1,
        worker="w",
        stop=Stop(),
        retry=Retry.never(),
    )
    passed = []
    transfer.run(lambda progress: passed.append(progress.bytes_done))
    copier.close()
    assert transfer.is_doubtful
    assert transfer.progress.bytes_sent == 0


def test_a_store_that_says_it_holds_something_else_is_not_believed(copier):
    class Liar(PlainStore):
        def write(self, path, chunks, attributes):
            return self.inner.write(path, [b"".join(chunks)[:-1]], replace(attributes, md5=None))

    source, destination, raw = pair(LARGE, wrap=Liar)
    with pytest.raises(DigestMismatchError):
        copy(copier, source, destination)
    assert raw.paths() == set()


def test_a_store_that_stops_taking_chunks_has_not_taken_the_file(copier):
    class Hasty(PlainStore):
        def write(self, path, chunks, attributes):
            super().write(path, [next(iter(chunks))], attributes)

    source, destination, _ = pair(LARGE, wrap=Hasty)
    with pytest.raises(StoreError, match="only a part"):
        copy(copier, source, destination)


def test_what_the_sources_metadata_deny_is_never_published(copier):
    class Recorded(MemoryStore):
        def read(self, entry, offset, length):
            found = super().read(entry, offset, length)
            attributes = replace(found.attributes, md5=md5_of(b"other"))
            return Content(data=found.data, attributes=attributes)

    source, destination, raw = pair(LARGE)
    raw.write(PATH, b"old")
    recorded = Recorded(source.memory, source.url)
    with pytest.raises(SourceDigestError):
        copy(copier, recorded, destination)
    assert raw.read(PATH) == b"old"


@pytest.mark.parametrize(("is_lost", "error"), [(False, StoppedError), (True, ClaimLostError)])
def test_a_stop_between_two_chunks_publishes_nothing(copier, is_lost, error):
    source, destination, raw = pair(LARGE)
    stop = Stop()

    def on_bytes(count):
        (stop.lose if is_lost else stop.set)("asked to")

    with pytest.raises(error):
        copy(copier, source, destination, stop=stop, on_bytes=on_bytes)
    assert raw.paths() == set()


def test_a_claim_that_is_lost_with_the_last_chunk_publishes_nothing(copier):
    source, destination, raw = pair(LARGE)
    raw.write(PATH, b"of the new holder")
    stop, passed = Stop(), []

    def on_bytes(count):
        passed.append(count)
        if sum(passed) == len(LARGE):
            stop.lose("the claim was lost")

    with pytest.raises(ClaimLostError):
        copy(copier, source, destination, stop=stop, on_bytes=on_bytes)
    assert raw.read(PATH) == b"of the new holder"


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
def test_once_the_claim_is_lost_nothing_is_removed(copier, data):
    class Late(PlainStore):
        def write(self, path, chunks, attributes):
            super().write(path, chunks, attributes)
            raw.write(path, b"of the new holder")
            stop.lose("the claim was lost")

    source, destination, raw = pair(data, wrap=Late)
    stop = Stop()
    with pytest.raises(ClaimLostError):
        copy(copier, source, destination, stop=stop)
    assert raw.read(PATH) == b"of the new holder"


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
def test_what_the_source_could_not_tell_is_noted_with_the_proof(copier, data):
    class Silent(MemoryStore):
        def read(self, entry, offset, length):
            found = super().read(entry, offset, length)
            attributes = replace(found.attributes, notes=(note,))
            return Content(data=found.data, attributes=attributes)

    note = Note("owner", "nobody has it")
    source, destination, _ = pair(data)
    silent = Silent(source.memory, source.url)
    assert copy(copier, silent, destination).proof.notes == (note,)


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
def test_what_is_there_is_compared_by_its_digest(copier, data):
    source, destination, raw = pair(data)
    item = item_of(source, destination)
    log = Notes()
    log.item = item
    assert copier.adopt(item, log, stop=Stop()) is None
    raw.write(PATH, data[::-1])
    assert copier.adopt(item, log, stop=Stop()) is None
    raw.write(PATH, data)
    found = copier.adopt(item, log, stop=Stop())
    assert found is not None
    assert (found.md5, found.part_size, found.was_there) == (md5_of(data), None, True)


def test_a_file_whose_proof_fails_for_a_moment_is_proven_at_the_next_try(copier):
    source, destination, raw = pair(LARGE, [Fault(method="digest", error=StoreError("reset"))])
    with pytest.raises(StoreError, match="reset"):
        copy(copier, source, destination)
    item = item_of(source, destination)
    log = Notes()
    log.item = item
    assert copier.adopt(item, log, stop=Stop()) is not None
    assert raw.read(PATH) == LARGE
