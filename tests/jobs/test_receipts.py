"""Receipts survive: in the journal up to the last flush, in the table with every field."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from datetime import datetime

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool import failpoints
from jobtool.errors import JoblistUnavailableError, JobtoolError, StoreUnavailableError
from jobtool.jobs.journal import MAX_LINE_BYTES, Journal, read_journals
from jobtool.jobs.records import DigestRecord, IntentRecord, PartRecord, Receipt, UploadRecord
from jobtool.jobs.table import read_table, table_of, write_csv, write_table
from tests.strategies import some_name

methods = st.none() | st.sampled_from(["stream", "cp"]) | st.text(max_size=5)
versions = st.none() | st.sampled_from(["null", "a1B2.c3"])
receipts = st.builds(
    Receipt,
    src_path=some_name,
    dst_path=some_name,
    size=st.integers(0, 2**60),
    mtime_ns=st.integers(-(2**62), 2**62),  # 1823 to 2116
    hashsum_src=st.none() | st.just("d41d8cd98f00b204e9800998ecf8427e"),
    hashsum_dst=st.none() | st.just("d41d8cd98f00b204e9800998ecf8427e"),
    verified_by=st.sampled_from(["etag-md5", "multipart-etag", "read-back"]),
    verified_at=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(
        lambda time: time.strftime("%Y-%m-%dT%H:%M:%SZ")
    ),
    worker=st.just("node017:4711"),
    attempt=st.integers(1, 1000),
    etag=st.none() | st.just("abc-3"),
    part_size=st.none() | st.integers(1, 2**40),
    method=methods,
    source_version=versions,
    version=versions,
    checksum=st.none() | st.just("COMPOSITE-CRC32C:487badd1"),
)
intents = st.builds(
    IntentRecord,
    src_path=some_name,
    dst_path=some_name,
    at_ns=st.integers(0, 2**62),
    has_file=st.booleans(),
    method=methods,
)
uploads = st.builds(
    UploadRecord,
    src_path=some_name,
    dst_path=some_name,
    size=st.integers(0, 2**60),
    mtime_ns=st.integers(-(2**62), 2**62),
    part_size=st.integers(1, 2**40),
    token=some_name,
    md5=st.none() | st.just("d41d8cd98f00b204e9800998ecf8427e"),
)
parts = st.builds(
    PartRecord,
    token=some_name,
    number=st.integers(1, 10_000),
    offset=st.integers(0, 2**60),
    size=st.integers(0, 2**40),
    md5=st.just("d41d8cd98f00b204e9800998ecf8427e"),
    etag=st.none() | st.just("abc"),
)
md5s = st.just("d41d8cd98f00b204e9800998ecf8427e")
digests = st.builds(
    DigestRecord,
    src_path=some_name,
    dst_path=some_name,
    size=st.integers(0, 2**60),
    mtime_ns=st.integers(-(2**62), 2**62),
    part_size=st.integers(1, 2**40),
    first=st.integers(1, 10_000),
    md5s=st.lists(md5s, max_size=3).map(tuple),
    state=st.none() | md5s,
    whole=st.none() | md5s,
)
EXAMPLE = Receipt(
    src_path="/a/odd \udcff\n\u2028",
    dst_path="s3://bucket/a",
    size=5,
    mtime_ns=-1_500_000_001,
    hashsum_src="x",
    hashsum_dst="x",
    verified_by="read-back",
    verified_at="2026-11-20T14:31:00Z",
    worker="w",
    attempt=1,
)
SIMPLE = msgspec.structs.replace(EXAMPLE, src_path="/a")
UPLOAD = UploadRecord(
    src_path="/a/odd \udcff\n\u2028",
    dst_path="/b",
    size=5,
    mtime_ns=-1,
    part_size=3,
    token='/b/"odd\udcff"\n.part',
)
PART = PartRecord(token=UPLOAD.token, number=2, offset=3, size=2, md5="x", etag="y")
DIGEST = DigestRecord(
    src_path="/a",
    dst_path="/b",
    size=5,
    mtime_ns=-1,
    part_size=3,
    first=1,
    md5s=("d41d8cd98f00b204e9800998ecf8427e",),
)
EVERY_KIND = [EXAMPLE, UPLOAD, PART]


@pytest.fixture
def journal(folder):
    made = Journal(str(folder / "journals" / "job.jsonl"))
    yield made
    made.close()


@given(several=st.lists(receipts | intents | uploads | parts | digests, max_size=5))
def test_records_of_every_kind_survive_the_journal_in_their_order(several, tmp_path_factory):
    made = Journal(str(tmp_path_factory.mktemp("journal") / "a" / "job.jsonl"))
    for receipt in several:
        made.append(receipt)
    made.close()
    assert list(made.read()) == several


@given(several=st.lists(receipts, max_size=5))
def test_receipts_survive_the_table(several, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("table") / "job.parquet")
    assert write_table(path, iter(several)) == len(several)
    assert list(read_table(path)) == several
    assert os.listdir(os.path.dirname(path)) == ["job.parquet"]


@pytest.mark.parametrize("count", [7, 8, 9, 1000])
def test_values_that_are_null_here_and_there_survive_the_table(folder, count):
    path = str(folder / "job.parquet")
    several = [
        msgspec.structs.replace(SIMPLE, size=number, etag=str(number) if number % 3 else None)
        for number in range(count)
    ]
    write_table(path, several)
    assert list(read_table(path)) == several
    found = pq.read_metadata(path)
    assert {found.row_group(0).column(0).compression} == {"GZIP" if count > 9 else "UNCOMPRESSED"}


def test_writing_a_table_imports_no_pyarrow(folder):
    path = str(folder / "job.parquet")
    receipt = "Receipt(**msgspec.json.decode(sys.argv[2]))"
    program = (
        "import sys, msgspec; from jobtool.jobs.records import Receipt; "
        f"from jobtool.jobs.table import write_table; write_table(sys.argv[1], [{receipt}]); "
        "sys.exit('pyarrow' in sys.modules)"
    )
    fields = msgspec.structs.asdict(SIMPLE)
    subprocess.run([sys.executable, "-c", program, path, msgspec.json.encode(fields)], check=True)
    assert list(read_table(path)) == [SIMPLE]


@given(several=st.lists(receipts, max_size=5))
def test_a_table_of_a_version_without_later_columns_is_read_as_before(several, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("table") / "job.parquet")
    write_table(path, iter(several))
    columns = {}
    for names in (["source_version", "version"], ["method"]):
        pq.write_table(pq.read_table(path).drop_columns(names), path)
        columns |= dict.fromkeys(names)
        without = [msgspec.structs.replace(receipt, **columns) for receipt in several]
        assert list(read_table(path)) == without


def test_columns_and_keys_of_a_later_version_are_passed_over(folder):
    path = str(folder / "job.parquet")
    write_table(path, [EXAMPLE])
    table = pq.read_table(path)
    pq.write_table(table.append_column("later", [["x"]]), path)
    assert list(read_table(path)) == [EXAMPLE]


def test_a_table_that_lacks_a_column_that_was_always_there_is_refused(folder):
    path = str(folder / "job.parquet")
    write_table(path, [EXAMPLE])
    pq.write_table(pq.read_table(path).drop_columns(["worker"]), path)
    with pytest.raises(JobtoolError, match="can't be read as a table of receipts"):
        list(read_table(path))


def test_a_missing_journal_and_a_missing_table_hold_nothing(folder):
    assert list(Journal(str(folder / "none.jsonl")).read()) == []
    assert list(read_table(str(folder / "none.parquet"))) == []


def test_what_was_not_flushed_is_not_on_disk_and_a_flush_of_nothing_makes_no_file(journal):
    journal.flush()
    assert not os.path.exists(journal.path)
    journal.append(EXAMPLE)
    assert list(journal.read()) == []
    journal.flush()
    assert list(journal.read()) == [EXAMPLE]


@pytest.mark.parametrize("record", EVERY_KIND, ids=["file", "upload", "part"])
def test_a_journal_torn_anywhere_keeps_what_was_whole_and_takes_more(journal, record):
    for _ in range(3):
        journal.append(record)
    journal.close()
    with open(journal.path, "rb") as file:
        data = file.read()
    line_length = len(data) // 3
    for end in range(len(data)):
        with open(journal.path, "wb") as file:
            file.write(data[:end])
        # A line without its newline is whole if it can be read.
        assert len(list(journal.read())) in (end // line_length, (end + 1) // line_length)
        if end % 97 == 0:
            before = len(list(journal.read()))
            another = Journal(journal.path)
            another.append(record)
            another.close()
            assert list(another.read()) == [record] * (before + 1)


@pytest.mark.parametrize(
    "foreign",
    [
        b"not json\n",
        b"{}\n",
        b"[1]\n",
        b"\xff\xfe\n",
        b"\n",
        b"\0" * 50 + b"\n",
        msgspec.json.encode({**msgspec.to_builtins(SIMPLE), "src_path": '"unfinished'}) + b"\n",
    ],
)
def test_foreign_lines_are_passed_over(journal, foreign):
    journal.append(EXAMPLE)
    journal.close()
    with open(journal.path, "r+b") as file:
        data = file.read()
        file.seek(0)
        file.write(foreign + data + foreign + data)
    assert list(journal.read()) == [EXAMPLE] * 2


def test_a_line_torn_in_the_middle_of_a_journal_costs_that_record_only(journal):
    for record in EVERY_KIND * 2:
        journal.append(record)
    journal.close()
    with open(journal.path, "rb") as file:
        lines = file.read().splitlines(keepends=True)
    for torn, line in enumerate(lines):
        for end in range(1, len(line) - 1, 7):
            with open(journal.path, "wb") as file:
                file.writelines([*lines[:torn], line[:end] + b"\n", *lines[torn + 1 :]])
            rest = [record for number, record in enumerate(EVERY_KIND * 2) if number != torn]
            assert list(journal.read()) == rest


def test_two_records_run_together_by_a_tear_are_passed_over_and_never_mixed(journal):
    for record in EVERY_KIND:
        journal.append(record)
    journal.close()
    with open(journal.path, "rb") as file:
        receipt, upload, part = file.read().splitlines(keepends=True)
    with open(journal.path, "wb") as file:
        file.write(receipt + upload[:20] + part + part)
    assert list(journal.read()) == [EXAMPLE, PART]


def test_kinds_of_record_of_a_later_version_are_passed_over(journal):
    for record in EVERY_KIND:
        journal.append(record)
    journal.close()
    with open(journal.path, "rb") as file:
        data = file.read()
    with open(journal.path, "ab") as file:
        file.write(data.replace(b'"type":"', b'"type":"new ') + data)
    assert list(journal.read()) == EVERY_KIND * 2


def test_what_records_tell_of_is_made_durable_before_they_are_written(journal):
    on_disk = []
    journal.flush(lambda: on_disk.append("nothing to write"))
    journal.append(EXAMPLE)
    journal.flush(lambda: on_disk.append(list(journal.read())))
    assert on_disk == [[]]
    assert list(journal.read()) == [EXAMPLE]


def test_a_receipt_is_not_written_if_its_file_cannot_be_made_durable(journal):
    def fail():
        raise OSError("can't sync")

    journal.append(EXAMPLE)
    with pytest.raises(OSError, match="can't sync"):
        journal.flush(fail)
    assert list(journal.read()) == []


def test_fields_of_a_later_version_are_ignored(journal):
    journal.append(EXAMPLE)
    journal.close()
    with open(journal.path, "r+b") as file:
        data = file.read().replace(b"{", b'{"new_field": {"a": 1}, ', 1)
        file.seek(0)
        file.write(data)
    assert list(journal.read()) == [EXAMPLE]


@pytest.mark.parametrize("way", ["close", "flush"])
def test_what_could_not_be_made_durable_is_not_written_without_that(journal, way):
    def fails():
        raise StoreUnavailableError("not on its medium")

    journal.append(UPLOAD)
    with pytest.raises(StoreUnavailableError):
        journal.flush(fails)
    getattr(journal, way)()
    assert list(Journal(journal.path).read()) == []
    journal.flush(lambda: None)
    assert list(Journal(journal.path).read()) == [UPLOAD]


def test_threads_may_append_while_another_flushes(journal):
    def append():
        for _ in range(200):
            journal.append(EXAMPLE)

    threads = [threading.Thread(target=append) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        journal.flush()
    journal.close()
    assert list(journal.read()) == [EXAMPLE] * 800


def test_a_removed_journal_may_be_removed_again(journal):
    journal.append(EXAMPLE)
    journal.remove()
    journal.remove()
    assert not os.path.exists(journal.path)


@pytest.mark.parametrize("torn", [b"", b"{", b"{}"])
def test_a_torn_line_of_any_length_is_ended_and_a_whole_one_is_not(journal, torn):
    journal.append(SIMPLE)
    journal.close()
    with open(journal.path, "ab") as file:
        file.write(torn)
    with open(journal.path, "rb") as file:
        before = file.read()
    journal.append(PART)
    journal.close()
    with open(journal.path, "rb") as file:
        added = file.read().removeprefix(before)
    assert added.startswith(b"\n") == bool(torn)
    assert list(journal.read()) == [SIMPLE, PART]


def test_what_follows_the_longest_piece_of_a_too_long_line_is_no_record(journal):
    journal.append(SIMPLE)
    journal.close()
    with open(journal.path, "rb") as file:
        line = file.read()
    for blanks, is_read in (
        (MAX_LINE_BYTES - len(line) - 1, True),
        (MAX_LINE_BYTES - len(line), False),
        (MAX_LINE_BYTES, False),
        (2 * MAX_LINE_BYTES, False),
    ):
        with open(journal.path, "wb") as file:
            file.write(b" " * blanks + line + line)
        assert list(journal.read()) == [SIMPLE] * (1 + is_read)


def test_a_journal_exists_from_its_first_record_on_disk_until_it_is_removed(journal):
    assert journal.exists is False
    journal.append(EXAMPLE)
    assert journal.exists is False
    journal.flush()
    assert journal.exists is True
    journal.remove()
    assert journal.exists is False


def test_a_removed_journal_is_made_anew_by_the_next_record(journal):
    journal.append(EXAMPLE)
    journal.flush()
    journal.remove()
    journal.append(UPLOAD)
    journal.flush()
    assert list(journal.read()) == [UPLOAD]


def test_a_discarded_journal_gets_nothing_more_and_may_be_used_again(journal):
    journal.append(EXAMPLE)
    journal.flush()
    journal.append(UPLOAD)
    os.rename(journal.path, journal.path + " of another worker")
    journal.discard()
    journal.close()
    assert not journal.exists
    journal.append(PART)
    journal.close()
    assert list(journal.read()) == [PART]


def test_replaced_records_are_all_that_a_journal_holds_and_more_may_follow(journal):
    for record in EVERY_KIND:
        journal.append(record)
    journal.replace(record for record in journal.read() if record != EXAMPLE)
    assert list(journal.read()) == [UPLOAD, PART]
    journal.append(EXAMPLE)
    journal.close()
    assert list(journal.read()) == [UPLOAD, PART, EXAMPLE]


def test_a_journal_is_not_replaced_by_a_worker_that_lost_its_job(folder):
    path = str(folder / "job.jsonl")
    made = Journal(path)
    made.append(EXAMPLE)
    made.close()

    def lost():
        raise JobtoolError("lost")

    with pytest.raises(JobtoolError, match="lost"):
        Journal(path, lost).replace([])
    assert list(made.read()) == [EXAMPLE]


def test_a_journal_belongs_to_all_that_the_umask_lets_write(journal):
    before = os.umask(0o002)
    try:
        for made in (journal, Journal(journal.path + ".second")):  # one that makes the folder, too
            made.append(EXAMPLE)
            made.close()
            assert stat.S_IMODE(os.stat(made.path).st_mode) == 0o664
    finally:
        os.umask(before)


def test_a_closed_journal_keeps_no_file_open(journal):
    def is_open():
        links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
        return journal.path in [os.readlink(link) for link in links if os.path.lexists(link)]

    for close in (journal.close, journal.discard, journal.remove):
        journal.append(EXAMPLE)
        journal.flush()
        assert is_open()
        close()
        assert not is_open()


def test_what_is_durable_needs_no_second_proof_for_the_records_that_follow(journal):
    journal.append(EXAMPLE)
    journal.flush(lambda: None)
    journal.append(UPLOAD)
    journal.flush()
    assert list(journal.read()) == [EXAMPLE, UPLOAD]


def test_the_folder_of_journals_may_be_made_by_two_workers_at_once(journal, monkeypatch):
    makedirs = os.makedirs

    def late(*arguments, **options):
        makedirs(*arguments)
        makedirs(*arguments, **options)

    monkeypatch.setattr(os, "makedirs", late)
    journal.append(EXAMPLE)
    journal.flush()
    assert list(journal.read()) == [EXAMPLE]


def test_a_flush_syncs_the_journal_and_the_folder_that_names_it(journal, synced):
    journal.append(EXAMPLE)
    journal.flush()
    assert sorted(synced) == [os.path.dirname(journal.path), journal.path]


def test_a_record_that_is_written_in_small_pieces_is_written_as_a_whole(journal, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
    for record in EVERY_KIND:
        journal.append(record)
    journal.flush()
    assert list(journal.read()) == EVERY_KIND


def test_a_record_whose_write_breaks_off_is_written_again_by_the_next_flush(journal, monkeypatch):
    write = os.write

    def breaks_off(descriptor, data):
        if not os.fstat(descriptor).st_size:
            return write(descriptor, data[:10])
        raise OSError(errno.ENOSPC, "full")

    journal.append(EXAMPLE)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", breaks_off)
        with pytest.raises(JoblistUnavailableError, match=r"can't write .*job\.jsonl"):
            journal.flush()
    assert os.path.getsize(journal.path) == 10
    journal.append(UPLOAD)
    journal.flush()
    assert list(journal.read()) == [EXAMPLE, UPLOAD]


def test_what_a_journal_goes_through_can_be_seen_by_a_test_at_each_point(journal):
    seen = []

    def look(point, *subjects):
        seen.append((point, *subjects, len(list(journal.read()))))

    failpoints.install(look)
    try:
        journal.append(EXAMPLE)
        journal.flush()
        journal.remove()
    finally:
        failpoints.install(None)
    assert seen == [
        ("before a record", journal, EXAMPLE, 0),
        ("after a record", journal, EXAMPLE, 0),
        ("before the journal is flushed", 0),
        ("after the journal is flushed", 1),
        ("before the journal is removed", 1),
        ("after the journal is removed", 0),
    ]


def test_the_journals_of_a_folder_are_read_by_name_and_other_files_are_not(folder):
    for name, record in (("b.jsonl", PART), ("a.jsonl", UPLOAD), ("c.done", EXAMPLE)):
        made = Journal(str(folder / name))
        made.append(record)
        made.close()
    assert list(read_journals(str(folder))) == [UPLOAD, PART]
    assert list(read_journals(str(folder / "none"))) == []


def test_the_table_has_timestamps_in_utc_for_other_programs(folder):
    path = str(folder / "job.parquet")
    write_table(path, [EXAMPLE])
    table = pq.read_table(path)
    assert table.schema.field("mtime").type.tz == "UTC"
    assert table.schema.field("verified_at").type.tz == "UTC"
    (row,) = table.to_pylist()
    assert row["verified_at"].isoformat() == "2026-11-20T14:31:00+00:00"
    assert row["mtime"].isoformat().startswith("1969-12-31T23:59:58.49999")
    assert row["src_path"] == '"/a/odd \\xff\\n\\u2028"'


def many_receipts(count):
    return [msgspec.structs.replace(SIMPLE, size=number) for number in range(count)]


def test_a_table_of_many_receipts_has_groups_of_8192_rows(folder):
    path = str(folder / "job.parquet")
    several = many_receipts(2 * 8192 + 3)
    assert write_table(path, iter(several)) == len(several)
    metadata = pq.read_metadata(path)
    sizes = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    assert sizes == [8192, 8192, 3]
    assert list(read_table(path)) == several
    assert write_table(path, several[:8192]) == 8192
    assert pq.read_metadata(path).num_row_groups == 1


def test_a_table_in_memory_has_the_rows_and_columns_of_one_on_disk(folder):
    path = str(folder / "job.parquet")
    for several in ([], [EXAMPLE], many_receipts(8193)):
        write_table(path, several)
        table = table_of(several)
        assert table.schema.names == pq.read_table(path).schema.names
        assert table.to_pylist() == pq.read_table(path).to_pylist()


def test_receipts_as_csv_have_the_columns_and_rows_of_the_table(folder):
    path = str(folder / "job.csv")
    several = many_receipts(8193)
    assert write_csv(path, several) == 8193
    rows = pyarrow.csv.read_csv(path)
    assert rows.column_names == table_of([]).schema.names
    assert rows.column("size").to_pylist() == list(range(8193))
    assert os.listdir(folder) == ["job.csv"]


def test_the_unfinished_tables_of_sixteen_earlier_attempts_are_removed(folder):
    path = str(folder / "job.parquet")
    names = [f".job.parquet.{number}.tmp" for number in range(22)] + [".other.parquet.19.tmp"]
    for name in names:
        (folder / name).touch()
    write_table(path, [EXAMPLE], attempt=20)
    left = [name for name in names if (folder / name).exists()]
    later = ".job.parquet.21.tmp"
    assert left == [*names[:4], later, ".other.parquet.19.tmp"]
    write_table(path, [EXAMPLE], attempt=2)
    assert [name for name in names if (folder / name).exists()] == [*names[3:4], *left[4:]]


def test_a_table_is_not_replaced_by_a_worker_that_lost_its_job(folder):
    path = str(folder / "job.parquet")
    write_table(path, [EXAMPLE])

    def lost():
        raise JobtoolError("lost")

    with pytest.raises(JobtoolError, match="lost"):
        write_table(path, [], require_held=lost)
    assert list(read_table(path)) == [EXAMPLE]
    assert os.listdir(folder) == ["job.parquet"]


def test_a_table_is_synced_before_its_rename_and_its_folder_after_it(folder, monkeypatch):
    path = str(folder / "job.parquet")
    synced = []
    fsync = os.fsync

    def noted(descriptor):
        target = os.readlink(f"/proc/self/fd/{descriptor}")
        synced.append((os.path.basename(target), os.path.getsize(target), os.path.exists(path)))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    write_table(path, [EXAMPLE])
    (name, size, was_there), (folder_name, _, is_there) = synced
    assert (name, was_there) == (".job.parquet.0.tmp", False)
    assert size == os.path.getsize(path)
    assert (folder_name, is_there) == (folder.name, True)


def test_the_unfinished_table_of_another_process_right_now_is_left_alone(folder):
    path = str(folder / "job.parquet")
    temporary = folder / ".job.parquet.0.tmp"
    unlink = os.unlink

    def late(name):
        unlink(name) if os.path.exists(name) else None
        temporary.write_bytes(b"of another")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "unlink", late)
        with pytest.raises(FileExistsError):
            write_table(path, [EXAMPLE])
    assert temporary.read_bytes() == b"of another"
    assert not os.path.exists(path)


def changed_table(path, name, column):
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.schema.names.index(name), name, column), path)


def test_a_column_of_another_type_or_without_values_is_refused_and_named(folder):
    path = str(folder / "job.parquet")
    for name, column, found in (
        ("size", pa.array(["5"]), "'size': expected int64; found string"),
        ("worker", pa.array([None], pa.string()), "'worker' lacks values"),
    ):
        write_table(path, [EXAMPLE])
        changed_table(path, name, column)
        with pytest.raises(JobtoolError, match=found):
            list(read_table(path))


def test_a_table_replaces_the_older_one_wholly_or_not_at_all(folder):
    path = str(folder / "job.parquet")
    write_table(path, [EXAMPLE])

    def interrupted():
        yield EXAMPLE
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_table(path, interrupted())
    assert list(read_table(path)) == [EXAMPLE]
    assert os.listdir(folder) == ["job.parquet"]
    assert write_table(path, []) == 0
    assert list(read_table(path)) == []


@pytest.mark.parametrize("data", [b"", b"no table", b"PAR1" * 10])
def test_what_is_no_table_is_named(folder, data):
    path = folder / "job.parquet"
    path.write_bytes(data)
    with pytest.raises(JobtoolError, match=r"job\.parquet"):
        list(read_table(str(path)))


@pytest.mark.parametrize(
    ("record", "name", "least", "most"),
    [
        (SIMPLE, "size", 0, 2**63 - 1),
        (SIMPLE, "mtime_ns", -(2**63), 2**63 - 1),
        (SIMPLE, "attempt", 0, 2**31 - 1),
        (SIMPLE, "part_size", 0, 2**63 - 1),
        (PART, "offset", 0, 2**63 - 1),
        (DIGEST, "first", 1, 2**63 - 1),
        (DIGEST, "part_size", 1, 2**63 - 1),
    ],
)
def test_the_least_and_the_largest_numbers_that_a_table_holds_are_read_and_no_others(
    journal, folder, record, name, least, most
):
    fit = [msgspec.structs.replace(record, **{name: number}) for number in (least, most)]
    for each in fit:
        journal.append(each)
    for number in (least - 1, most + 1):
        if -(2**63) <= number < 2**64:  # larger numbers aren't JSON that any version writes
            journal.append(msgspec.structs.replace(record, **{name: number}))
    journal.close()
    assert list(journal.read()) == fit
    if isinstance(record, Receipt):
        write_table(str(folder / "job.parquet"), fit)
        assert list(read_table(str(folder / "job.parquet"))) == fit


@pytest.mark.parametrize("md5", ["0" * 31, "0" * 33, "A" * 32, "0" * 32 + "\n", ""])
@pytest.mark.parametrize("name", ["state", "whole", "md5s"])
def test_digests_of_another_form_are_passed_over(journal, name, md5):
    value = (md5,) if name == "md5s" else md5
    journal.append(msgspec.structs.replace(DIGEST, **{name: value}))
    journal.append(DIGEST)
    journal.close()
    assert list(journal.read()) == [DIGEST]


@pytest.mark.parametrize("stamp", ["2026-W47-5T14:31:00Z", "2026-11-20T143100.5Z"])
def test_a_time_that_no_table_could_hold_is_refused(stamp):
    with pytest.raises(ValueError, match="expected YYYY-MM-DDTHH:MM:SSZ"):
        msgspec.structs.replace(EXAMPLE, verified_at=stamp).__post_init__()


def test_an_intent_that_says_nothing_of_a_file_has_none(folder):
    (folder / "job.jsonl").write_bytes(
        b'{"type":"intent","src_path":"/a","dst_path":"/b","at_ns":7}\n'
        b'{"type":"intent","src_path":"/a","dst_path":"/b","at_ns":7,"has_file":true}\n'
    )
    intent = IntentRecord(src_path="/a", dst_path="/b", at_ns=7, has_file=False)
    having = IntentRecord(src_path="/a", dst_path="/b", at_ns=7, has_file=True)
    assert list(Journal(str(folder / "job.jsonl")).read()) == [intent, having]
