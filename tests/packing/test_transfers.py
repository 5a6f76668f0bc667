"""Transfers with compression: which form a file gets, its proof, and what a later attempt finds."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterable

import pytest
import zstandard
from msgspec.structs import replace

from jobtool.errors import (
    DigestMismatchError,
    FileError,
    SourceChangedError,
    SourceDigestError,
    SourceError,
    StoreError,
    StoreUnavailableError,
)
from jobtool.jobs.journal import Journal
from jobtool.jobs.records import IntentRecord, Receipt
from jobtool.md5 import md5_of
from jobtool.stop import Stop
from jobtool.stores.local import LocalStore
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.store import Attributes, Special
from jobtool.testing.faults import Corruption, Fault
from jobtool.testing.faulty_store import FaultyStore
from jobtool.transfer.copy import Copier
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.ledger.gone import Gone
from jobtool.transfer.leftovers import remove_leftovers
from jobtool.transfer.packing.trailer import Original, trailer_of
from jobtool.transfer.partranges import MEBIBYTE
from jobtool.transfer.plan import Plan, Route
from jobtool.transfer.policies import Policies
from jobtool.transfer.retry import Retry
from jobtool.transfer.run import JobTransfer
from tests.stores.plain import PlainStore
from tests.stores.raw import MemoryRaw

TEXT = b"".join(b"%d\n" % number for number in range(1000))
PART_BYTES = 128 * 1024
LARGE = random.Random(0).randbytes(3 * PART_BYTES // 2).hex().encode()  # half as much packed
HUGE = random.Random(0).randbytes(MEBIBYTE).hex().encode() * 5  # read in three pieces
NOISE = random.Random(1).randbytes(5 * PART_BYTES // 2)
OPEN = {
    "zstd": lambda data: zstandard.ZstdDecompressor().stream_reader(data).read(),
    "gzip": gzip.decompress,
}
ENDING = {"zstd": ".zst", "gzip": ".gz"}
OTHER = gzip.compress(TEXT, mtime=0)
BOTH = pytest.mark.parametrize("form", ENDING)


class World:
    """A source and a destination in memory, and attempts at the job between them."""

    def __init__(self, files, journal):
        self.source_memory, self.memory = Memory(), Memory()
        self.source = MemoryStore(self.source_memory, "memory://from")
        self.destination = MemoryStore(self.memory, "memory://to")
        self.put(files)
        self.raw = MemoryRaw(self.memory, "")
        self.journal = journal
        self.attempts = 0

    def put(self, files, mtime_ns=7):
        for path, data in files.items():
            MemoryRaw(self.source_memory, "").write(path, data, mtime_ns=mtime_ns)

    @property
    def files(self):
        return {path: self.raw.read(path) for path in self.raw.paths()}

    def ledger(self, compression, specials: Iterable[Special] = (), named=None):
        plan = Plan()
        plan.start_route(Route(self.source, self.destination))
        plan.is_tree = named is None
        for entry in self.source.list():
            if named is None or entry.path in named:
                plan.add(entry, None if named is None else named[entry.path])
        for special in specials:
            plan.add_special(special)
        self.attempts += 1
        journal = Journal(str(self.journal))
        ledger = Ledger(plan, journal, attempt=self.attempts, compression=compression)
        ledger.fold(journal.read())
        ledger.compare(Retry.never())
        return ledger

    def attempt(self, compression="zstd", *, stop=None, policies=None, **plan):
        """One attempt; return the transfer. The failure of a file is raised."""
        ledger = self.ledger(compression, **plan)
        copier = Copier(threads=2, part_bytes=PART_BYTES)
        transfer = JobTransfer(
            ledger,
            copier,
            threads=1,
            worker="w",
            stop=stop or Stop(),
            retry=Retry.never(),
            policies=replace(policies or Policies(), compression=compression),
        )
        try:
            transfer.run(lambda progress: None)
        finally:
            copier.close()
            ledger.flush()
        if transfer.failures:
            raise transfer.failures[0].error
        return transfer

    def receipts(self) -> dict[str, Receipt]:
        """The last receipt of each file, by the name of its source."""
        records = Journal(str(self.journal)).read()
        found = [record for record in records if isinstance(record, Receipt)]
        return {one.src_path.removeprefix("memory://from/"): one for one in found}


@pytest.fixture
def world(tmp_path):
    def make(files):
        return World(files, tmp_path / "journal.jsonl")

    return make


FILES = {"big": LARGE, "text": TEXT, "noise": NOISE, "sub/few": b"few", "empty": b""}


@BOTH
def test_what_shrinks_is_compressed_and_its_receipt_has_the_digests_of_both_forms(world, form):
    one = world(FILES)
    done = one.attempt(form)
    stored = one.files
    packed = {"big" + ENDING[form], "text" + ENDING[form]}
    assert stored.keys() == packed | {"noise", "sub/few", "empty"}
    for path, receipt in one.receipts().items():
        data = FILES[path]
        there = stored[receipt.dst_path.removeprefix("memory://to/")]
        assert (receipt.size, receipt.hashsum_src) == (len(data), md5_of(data))
        assert receipt.hashsum_dst == md5_of(data)
        assert (receipt.stored_size, receipt.stored_md5) == (len(there), md5_of(there))
        if path in ("big", "text"):
            assert OPEN[form](there) == data
            assert (receipt.compression, receipt.size_dst) == (form, len(there))
            assert receipt.dst_path.endswith(path + ENDING[form])
        else:
            assert there == data
            assert (receipt.compression, receipt.size_dst, receipt.hashsum_packed) == (None,) * 3
    progress = done.progress
    assert progress.bytes_sent == sum(map(len, stored.values())) < sum(map(len, FILES.values()))
    assert progress.bytes_done == progress.bytes_total == sum(map(len, FILES.values()))
    before = len([*Journal(str(one.journal)).read()])
    assert one.attempt(form).progress.files_sent == 0, "all is proven"
    assert len([*Journal(str(one.journal)).read()]) == before


@BOTH
def test_unpacking_restores_the_tree(world, form, tmp_path):
    one = world(FILES)
    one.attempt(form)
    back = World({}, tmp_path / "back.jsonl")
    back.source_memory.files.update(one.memory.files)
    back.put({"other.gz": OTHER, "other.zst": b"no such format"})
    back.attempt("unpack")
    others = {"other.gz": OTHER, "other.zst": b"no such format"}
    assert back.files == {**FILES, **others}
    receipt = back.receipts()["big" + ENDING[form]]
    assert receipt.compression == f"unpack-{form}"
    assert (receipt.hashsum_src, receipt.hashsum_dst) == (md5_of(LARGE),) * 2
    assert receipt.hashsum_packed == md5_of(one.files["big" + ENDING[form]])
    assert (receipt.size, receipt.size_dst) == (len(one.files["big" + ENDING[form]]), len(LARGE))
    assert back.attempt("unpack").progress.files_sent == 0


@BOTH
def test_a_file_that_a_killed_worker_has_published_is_adopted_by_its_content(world, form, tmp_path):
    one = world(FILES)
    other = gzip.compress(TEXT, 1) if form == "gzip" else zstandard.compress(TEXT, 1)
    other += trailer_of(form, Original(md5_of(TEXT), len(TEXT)))
    one.raw.write("text" + ENDING[form], other, mtime_ns=7)  # by another version of the library
    one.raw.write("big" + ENDING[form], other, mtime_ns=7)  # something else
    done = one.attempt(form)
    assert one.files["text" + ENDING[form]] == other
    assert OPEN[form](one.files["big" + ENDING[form]]) == LARGE
    receipt = one.receipts()["text"]
    assert (receipt.hashsum_dst, receipt.hashsum_packed) == (md5_of(TEXT), md5_of(other))
    assert receipt.method is None
    assert done.progress.files_sent == len(FILES) - 1
    back = World({}, tmp_path / "back.jsonl")
    back.source_memory.files.update(one.memory.files)
    back.raw.write("big", LARGE)
    back.raw.write("text" + ENDING[form], other, mtime_ns=7)
    back.attempt("unpack")
    assert back.receipts()["big" + ENDING[form]].method is None


@BOTH
@pytest.mark.parametrize("damage", ["cut", "its end cut", "flipped", "gone", "as long"])
def test_a_damaged_file_without_a_receipt_is_sent_again(world, form, damage):
    one = world({"big": LARGE})
    one.attempt(form)
    path = "big" + ENDING[form]
    good = one.raw.read(path)
    middle = len(good) // 2
    flipped = good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]
    if damage == "gone":
        one.destination.delete(path)
    else:
        bad = {
            "cut": good[:-1000],
            "its end cut": good[:-1],
            "flipped": flipped,
            "as long": LARGE[: len(good)],
        }
        one.raw.write(path, bad[damage], mtime_ns=7)
    if damage in ("flipped", "as long"):  # as its size isn't another
        assert one.attempt(form).progress.files_sent == 0
        one.journal.unlink()
    assert one.attempt(form).progress.files_sent == 1
    assert one.files == {path: good}


def test_a_file_keeps_its_name_where_its_other_name_is_taken(world, tmp_path):
    files = {"a": TEXT, "a.zst": b"x" * 1000, "b": TEXT, "b.zst/c": TEXT, "d": TEXT, "e": TEXT}
    one = world(files)
    one.attempt("zstd", specials=[Special("d.zst", "empty-folder")])
    assert one.files.keys() == {"a", "a.zst.zst", "b", "b.zst/c.zst", "d", "e.zst"}
    back = World({}, tmp_path / "back.jsonl")
    back.source_memory.files.update(one.memory.files)
    both = {"f.gz": one.files["e.zst"], "f.zst": one.files["e.zst"]}
    back.put({"e": b"in the way", **both})
    back.attempt("unpack")
    assert back.files == {
        **{path: files[path] for path in ("a", "a.zst", "b", "b.zst/c", "d")},
        "e": b"in the way",
        "e.zst": one.files["e.zst"],
        "f": TEXT,
        "f.gz": one.files["e.zst"],
    }


def test_files_beside_those_that_a_job_names_count_as_its_own(world):
    one = world({"a": TEXT, "a.zst": TEXT, "b": TEXT, "c": TEXT})
    one.attempt("zstd", named={"a": "x/a", "b": "x/b", "c": "x/b.zst"})
    assert one.files.keys() == {"x/a", "x/b", "x/b.zst.zst"}
    assert one.attempt("zstd", named={"a": "x/a", "b": "x/b", "c": "x/b.zst"}).is_complete


def test_another_setting_later_keeps_what_is_proven(world):
    one = world({"a": TEXT})
    one.attempt("zstd")
    for compression in ("none", "gzip", "zstd"):
        assert one.attempt(compression).progress.files_sent == 0
    assert one.files.keys() == {"a.zst"}
    one.put({"b": TEXT})
    one.attempt("none")
    assert one.attempt("zstd").progress.files_sent == 0
    assert one.files.keys() == {"a.zst", "b"}


def test_a_changed_file_that_gets_another_form_leaves_none_behind(world):
    one = world({"a": TEXT, "b": NOISE})
    one.attempt()
    assert one.files.keys() == {"a.zst", "b"}
    one.put({"a": NOISE, "b": TEXT}, mtime_ns=8)
    one.attempt()
    assert one.files.keys() == {"a", "b.zst"}
    assert one.files["a"] == NOISE


@pytest.mark.parametrize(
    ("compression", "path", "other"), [("zstd", "a", "a.zst"), ("unpack", "b.gz", "b")]
)
def test_another_programs_file_of_the_other_name_stays(world, compression, path, other):
    one = world({path: NOISE})
    one.raw.write(other, b"theirs")
    one.attempt(compression)
    assert one.files == {path: NOISE, other: b"theirs"}


def test_another_programs_file_is_respected(world):
    policies = Policies(if_exists="error")
    for path, data in (("a.zst", b"theirs"), ("a", b"theirs")):
        one = world({"a": TEXT})
        one.raw.write(path, data)
        with pytest.raises(FileError, match=f"memory://to/{path} exists and has no receipt"):
            one.attempt(policies=policies)
        assert one.files == {path: b"theirs"}
        one.journal.unlink()
    one = world({"a": TEXT})
    trailer = trailer_of("zstd", Original(md5_of(TEXT), len(TEXT)))
    one.raw.write("a.zst", zstandard.compress(TEXT) + trailer, mtime_ns=7)
    one.attempts = 1  # so a killed worker may have written it
    assert one.attempt(policies=policies).progress.files_sent == 0


def test_a_proven_file_whose_source_is_gone_stays_proven(world):
    one = world({"a": TEXT, "b": TEXT})
    one.attempt()
    one.source.delete("a")
    ledger = one.ledger("zstd")
    gone = Gone(ledger)
    ledger.fold(Journal(str(one.journal)).read(), gone.note)
    gone.settle(accept_gone=False)
    ledger.compare(Retry.never())
    assert (ledger.files_proven, len(ledger.plan), ledger.plan.failures) == (2, 2, [])


# Faults.


@BOTH
@pytest.mark.parametrize("data", [TEXT, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("wrap", [PlainStore, lambda store: store], ids=["plain", "memory"])
def test_a_byte_flipped_on_its_way_is_found_and_nothing_stays(world, form, data, wrap):
    one = world({"a": data})
    one.destination = FaultyStore(wrap(one.destination), [Corruption(method="write")])
    with pytest.raises(DigestMismatchError, match=rf"memory://to/a{ENDING[form]}: .* removed"):
        one.attempt(form)
    assert one.files == {}
    one.attempt(form)
    assert OPEN[form](one.files["a" + ENDING[form]]) == data


def test_a_full_store_gets_nothing_and_hands_the_job_back(world):
    one = world({"a": LARGE})
    full = StoreUnavailableError("no space left")
    one.destination = FaultyStore(one.destination, [Fault(method="write", error=full)])
    with pytest.raises(StoreUnavailableError):
        one.attempt()
    assert one.files == {}


class Changing(MemoryStore):
    """Its file changes, or a stop is asked for, after some reads."""

    reads = 0

    def read(self, entry, offset, length):
        self.reads += 1
        if self.reads == 3:
            self.on_third()
        return super().read(entry, offset, length)


def test_a_source_that_changes_while_it_is_read_is_never_published(world):
    one = world({"a": HUGE})
    one.source = Changing(one.source_memory, "memory://from")
    one.source.on_third = lambda: one.put({"a": HUGE}, mtime_ns=9)
    with pytest.raises(SourceChangedError):
        one.attempt()
    assert one.files == {}
    one.attempt()
    assert OPEN["zstd"](one.files["a.zst"]) == HUGE


def test_a_stop_in_the_middle_publishes_nothing(world):
    one = world({"a": HUGE})
    stop = Stop()
    one.source = Changing(one.source_memory, "memory://from")
    one.source.on_third = lambda: stop.set("asked")
    assert not one.attempt(stop=stop).is_complete
    assert one.files == {}
    one.attempt()
    assert one.files.keys() == {"a.zst"}


def test_a_source_with_another_digest_in_its_metadata_is_an_error(world):
    one = world({})
    for path, data in (("a", TEXT), ("b", LARGE)):
        one.source_memory.files[path] = (data, Attributes(mtime_ns=7, md5="0" * 32))
        with pytest.raises(SourceDigestError):
            one.attempt()
        one.source.delete(path)
    assert one.files == {}


@BOTH
@pytest.mark.parametrize("damage", ["another digest", "another size", "cut content", "a bomb"])
def test_a_damaged_archive_is_never_unpacked(world, form, damage):
    packing = {"gzip": gzip.compress, "zstd": zstandard.compress}[form]
    md5, size, packed = md5_of(TEXT), len(TEXT), packing(TEXT)
    if damage == "another digest":
        md5 = md5_of(b"")
    elif damage == "another size":
        size += 1
    elif damage == "cut content":
        packed = packed[: len(packed) // 2]
    else:
        packed = packing(bytes(8 * MEBIBYTE))
    one = world({"a" + ENDING[form]: packed + trailer_of(form, Original(md5, size))})
    with pytest.raises(SourceError, match=f"memory://from/a{ENDING[form]}"):
        one.attempt("unpack")
    assert one.files == {}


# What a kill leaves.


def test_the_upload_of_a_stream_that_a_kill_left_is_removed(world):
    one = world({"a": LARGE})
    seen = []

    class Watching(MemoryStore):
        def write(self, path, chunks, attributes):
            seen.extend(Journal(str(one.journal)).read())
            self.memory.uploads["theirs"] = ("b.zst", {})
            self.memory.uploads["ours"] = (path, {})  # as the stream of an object store
            raise StoreError("killed")

    one.destination = Watching(one.memory, "memory://to")
    with pytest.raises(StoreError):
        one.attempt()
    (intent,) = seen
    assert isinstance(intent, IntentRecord)
    assert (intent.dst_path, intent.compression) == ("memory://to/a.zst", "zstd")
    one.destination = MemoryStore(one.memory, "memory://to")
    assert remove_leftovers(one.ledger("zstd"), is_stopping=lambda: False) == 1
    assert one.memory.uploads.keys() == {"theirs"}


def test_a_large_file_that_does_not_shrink_goes_in_parts_which_count(world):
    one = world({"a": random.Random(2).randbytes(5 * MEBIBYTE // 2)})
    fault = Fault(method="put_part", error=FileError("no"), skip=1)
    one.destination = FaultyStore(one.destination, [fault])
    with pytest.raises(FileError):
        one.attempt()
    one.attempt()
    assert one.destination.calls["put_part"] == 4, "the third part, and the one that failed"
    assert one.receipts()["a"].part_size == MEBIBYTE


def test_local_files_have_their_attributes(tmp_path):
    one = World({}, tmp_path / "journal.jsonl")
    for folder in ("from", "to"):
        (tmp_path / folder).mkdir()
    for name, data in (("a", TEXT), ("b", LARGE)):
        (tmp_path / "from" / name).write_bytes(data)
        (tmp_path / "from" / name).chmod(0o640)
    one.source, one.destination = (LocalStore(str(tmp_path / one)) for one in ("from", "to"))
    one.attempt("gzip")
    for name in ("a", "b"):
        before, after = ((tmp_path / path).stat() for path in (f"from/{name}", f"to/{name}.gz"))
        assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
