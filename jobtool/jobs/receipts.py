"""Receipts: the proof that a file arrived, one line each while a job is under way, then a table.

The journal is a file of JSON lines, appended and flushed in batches: what a kill costs is the last
batch, whose files are sent again. When a job is done its journal becomes a Parquet table.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TypeVar

import msgspec

from jobtool.errors import JobFileError, JoblistUnavailableError, JobtoolError
from jobtool.jobs.bounded import open_without_waiting
from jobtool.jobs.durable import sync_folder
from jobtool.names import quote, unquote

if TYPE_CHECKING:
    import pyarrow as pa

JOURNAL_SUFFIX = ".jsonl"
BLOCKS_SUFFIX = ".blocks"
TABLE_SUFFIX = ".parquet"

R = TypeVar("R", bound="Record")

#: How many attempts back unfinished tables are looked for.
_ATTEMPTS_TO_CLEAN = 16

_ROWS_PER_GROUP = 8192

#: A longer line of a journal is none of ours: it holds two paths and some numbers.
MAX_LINE_BYTES = 256 * 1024

#: A table whose groups of rows are larger, uncompressed, isn't read: ours have 8192 rows.
MAX_GROUP_BYTES = 256 * 1024 * 1024

#: What of a table's own description is read: strings in bytes, lists in items.
_THRIFT_LIMITS = {"thrift_string_size_limit": 16 << 20, "thrift_container_size_limit": 1 << 20}

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Attempt = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="file"):
    """Proof of one file.

    ``src_path`` and ``dst_path`` are absolute paths or URLs, written as in job files. ``size`` is
    in bytes, ``mtime_ns`` the source's modification time in nanoseconds since 1970, both as listed
    before the copy. The hash sums are MD5 in hex of the whole file, of what was read and of what
    the destination was proven to hold; ``verified_by`` says how: ``etag-md5`` (the store's own
    digest), ``multipart-etag`` (the store's digests of all parts), ``read-back``. ``etag`` is the
    object's, with the ``part_size`` in bytes that it depends on, where there is one.
    """

    src_path: str
    dst_path: str
    size: _Count
    mtime_ns: _Number
    hashsum_src: str
    hashsum_dst: str
    verified_by: str
    verified_at: str
    worker: str
    attempt: _Attempt
    etag: str | None = None
    part_size: _Count | None = None


class IntentRecord(msgspec.Struct, frozen=True, kw_only=True, tag="intent"):
    """A destination is about to be written by us, at a time in nanoseconds since 1970.

    What is found there unfinished from then on, without an upload's record, is ours.
    """

    src_path: str
    dst_path: str
    at_ns: int


class UploadRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="upload"):
    """A file in parts was begun.

    ``token`` is the store's name for the upload, ``size`` and ``mtime_ns`` the source's, ``md5``
    the whole file's where it had to be known first.
    """

    src_path: str
    dst_path: str
    size: _Count
    mtime_ns: _Number
    part_size: _Count
    token: str
    md5: str | None = None


class PartRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="part"):
    """A part of an upload was sent: its number from 1, size in bytes, MD5 in hex, ETag."""

    token: str
    number: _Count
    offset: _Count
    size: _Count
    md5: str
    etag: str | None = None


Record = Receipt | IntentRecord | UploadRecord | PartRecord


class Journal:
    """The records of a job under way. Threads may append and flush.

    ``require_held`` is called before every write; what it raises prevents that.
    """

    def __init__(self, path: str, require_held: Callable[[], None] | None = None) -> None:
        self.path = path
        self._require_held = require_held
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._pending: list[bytes] = []
        self._descriptor: int | None = None
        self._encoder = msgspec.json.Encoder()

    @property
    def exists(self) -> bool:
        """Whether there is anything in it on disk."""
        return os.path.exists(self.path)

    def append(self, record: Record) -> None:
        """Add a record; it is durable after the next ``flush``."""
        line = self._encoder.encode(_quoted(record))
        with self._lock:
            self._pending.append(line)

    def flush(self, before: Callable[[], None] | None = None) -> None:
        """Write and sync what was appended since the last flush, if anything.

        ``before`` is called first, if there is anything: it makes durable what the records tell of.
        If that or writing fails, nothing is forgotten. Raises ``JoblistUnavailableError``, and what
        ``before`` and ``require_held`` raise.
        """
        with self._writing:
            with self._lock:
                pending, self._pending = self._pending, []
            if not pending:
                return
            try:
                if before is not None:
                    before()
                if self._require_held is not None:
                    self._require_held()
                self._write(b"\n".join(pending) + b"\n")
            except BaseException:
                with self._lock:
                    self._pending = pending + self._pending  # for the next flush
                raise

    def _write(self, data: bytes) -> None:
        try:
            if self._descriptor is None:
                self._descriptor = self._open()
            while data:
                data = data[os.write(self._descriptor, data) :]
            os.fsync(self._descriptor)
        except OSError as error:
            self._close_descriptor()  # opening it again ends a torn line
            raise JoblistUnavailableError(
                f"can't write {quote(self.path)}: {error.strerror or error}"
            ) from None

    def close(self) -> None:
        """Flush and close."""
        try:
            self.flush()
        finally:
            self._close_descriptor()

    def discard(self) -> None:
        """Close, and forget what was not flushed: it isn't ours to write any more."""
        with self._lock:
            self._pending = []
        self._close_descriptor()

    def _close_descriptor(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW  # no link leads to our journal
        try:
            descriptor = os.open(self.path, flags, 0o666)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            descriptor = os.open(self.path, flags, 0o666)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")  # ends a line that a kill has torn
        sync_folder(os.path.dirname(self.path))
        return descriptor

    def read(self) -> Iterator[Record]:
        """Yield the records on disk, oldest first; torn, foreign and endless lines are left out."""
        decoder = msgspec.json.Decoder(Record)
        try:
            file = open(self.path, "rb", opener=open_without_waiting)  # noqa: SIM115 - see below
        except FileNotFoundError:
            return
        with file:
            is_whole = True  # whether what comes next begins a line
            while line := file.readline(MAX_LINE_BYTES):
                was_whole, is_whole = is_whole, line.endswith(b"\n")
                if not was_whole or len(line) == MAX_LINE_BYTES:
                    continue
                try:
                    yield _unquoted(decoder.decode(line))
                except (msgspec.DecodeError, UnicodeDecodeError, JobFileError, RecursionError):
                    continue

    def remove(self) -> None:
        """Remove the journal, whose receipts are in the table."""
        self.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


def read_journals(folder: str) -> Iterator[Record]:
    """Yield the records of all journals in a folder, by name; none if there is no such folder."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        if name.endswith(JOURNAL_SUFFIX):
            yield from Journal(os.path.join(folder, name)).read()


def write_table(
    path: str,
    receipts: Iterable[Receipt],
    *,
    attempt: int = 0,
    require_held: Callable[[], None] | None = None,
) -> int:
    """Write receipts as a verification table, atomically and durably; return how many.

    Columns: the fields of ``Receipt`` and ``mtime``; that and ``verified_at`` are timestamps in
    UTC, to the microsecond and second. ``attempt`` is that of the job: what earlier ones have left
    unfinished is removed. ``require_held`` is called at the last moment; what it raises prevents
    the change.
    """
    import pyarrow.parquet as pq

    for earlier in range(max(attempt - _ATTEMPTS_TO_CLEAN, 0), attempt):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_temporary(path, earlier))
    return _write(
        path,
        _temporary(path, attempt),
        receipts,
        lambda file: pq.ParquetWriter(file, _schema(), compression="zstd"),
        require_held,
    )


def write_csv(path: str, receipts: Iterable[Receipt]) -> int:
    """Write receipts as CSV with the columns of ``write_table``, atomically and durably."""
    import pyarrow.csv

    return _write(
        path, _temporary(path, 0), receipts, lambda file: pyarrow.csv.CSVWriter(file, _schema())
    )


def _temporary(path: str, attempt: int) -> str:
    # Each attempt has its own: a worker that has lost its claim may not know it yet. Hidden, so
    # that readers of the folder of tables pass over what a kill leaves.
    return os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{attempt}.tmp")


def _write(
    path: str,
    temporary: str,
    receipts: Iterable[Receipt],
    open_writer: Callable[[BinaryIO], Any],
    require_held: Callable[[], None] | None = None,
) -> int:
    schema = _schema()
    count = 0
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)  # of an attempt of that number that was killed, or somebody's link
    try:
        # Opened here, since pyarrow can't open a name that is no UTF-8.
        with open(temporary, "xb") as file:
            with open_writer(file) as writer:
                for batch in _batches(receipts):
                    writer.write_table(_table(batch, schema))
                    count += len(batch)
            file.flush()
            os.fsync(file.fileno())
        if require_held is not None:
            require_held()
        os.rename(temporary, path)
    except FileExistsError:
        raise  # made by somebody else right now
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_folder(os.path.dirname(path))
    return count


def read_table(path: str) -> Iterator[Receipt]:
    """Yield the receipts of a table that ``write_table`` wrote; none if it is missing.

    Raises ``JobtoolError`` for a file that is no such table.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not os.path.exists(path):
        return
    try:
        with (
            open(path, "rb", opener=open_without_waiting) as file,
            pq.ParquetFile(file, **_THRIFT_LIMITS) as table,
        ):
            _require_small_groups(table.metadata)
            names = [*Receipt.__struct_fields__]
            for batch in table.iter_batches(batch_size=8192, columns=names):
                columns = {name: batch.column(name) for name in names}
                _require_receipts(columns)
                stamps = columns["verified_at"].cast(pa.timestamp("s", tz="UTC"))
                columns["verified_at"] = pc.strftime(stamps, format="%Y-%m-%dT%H:%M:%SZ")
                values = (column.to_pylist() for column in columns.values())
                for row in zip(*values, strict=True):
                    yield _unquoted(Receipt(**dict(zip(names, row, strict=True))))
    except (pa.ArrowException, KeyError, ValueError, OSError, JobFileError) as error:
        raise JobtoolError(
            f"{quote(path)} can't be read as a table of receipts: {error}. Move it away to have "
            "the job's files sent again."
        ) from None


def _require_small_groups(metadata: Any) -> None:
    # What a table says of itself; one that was forged to say less than it holds isn't found out.
    for index in range(metadata.num_row_groups):
        size = metadata.row_group(index).total_byte_size
        if not 0 <= size <= MAX_GROUP_BYTES:
            raise ValueError(
                f"expected groups of rows of at most {MAX_GROUP_BYTES} bytes; found one of {size}"
            )


def _require_receipts(columns: dict[str, Any]) -> None:
    schema = _schema()
    for name, column in columns.items():
        expected = schema.field(name).type
        is_stamp = name == "verified_at"  # Parquet has no whole seconds
        if column.type != expected and not is_stamp:
            raise ValueError(f"column {name!r}: expected {expected}; found {column.type}")
        if column.null_count and name not in ("etag", "part_size"):
            raise ValueError(f"column {name!r} lacks values")


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            ("src_path", pa.string()),
            ("dst_path", pa.string()),
            ("size", pa.int64()),
            ("mtime", pa.timestamp("us", tz="UTC")),
            ("mtime_ns", pa.int64()),
            ("hashsum_src", pa.string()),
            ("hashsum_dst", pa.string()),
            ("verified_by", pa.string()),
            ("verified_at", pa.timestamp("s", tz="UTC")),
            ("worker", pa.string()),
            ("attempt", pa.int32()),
            ("etag", pa.string()),
            ("part_size", pa.int64()),
        ]
    )


def _table(receipts: list[Receipt], schema: pa.Schema) -> Any:
    import pyarrow as pa

    columns: dict[str, list[Any]] = {name: [] for name in Receipt.__struct_fields__}
    for receipt in receipts:
        for name, value in zip(columns, msgspec.structs.astuple(_quoted(receipt)), strict=True):
            columns[name].append(value)
    microseconds = pa.array([mtime_ns // 1000 for mtime_ns in columns["mtime_ns"]], pa.int64())
    arrays: dict[str, Any] = {
        "mtime": microseconds.cast(schema.field("mtime").type),
        "verified_at": pa.array(columns.pop("verified_at")).cast(schema.field("verified_at").type),
    }
    arrays |= {name: pa.array(values, schema.field(name).type) for name, values in columns.items()}
    return pa.Table.from_arrays([arrays[name] for name in schema.names], schema=schema)


def _batches(receipts: Iterable[Receipt]) -> Iterator[list[Receipt]]:
    batch: list[Receipt] = []
    for receipt in receipts:
        batch.append(receipt)
        if len(batch) == _ROWS_PER_GROUP:
            yield batch
            batch = []
    if batch:
        yield batch


def _quoted(record: R) -> R:
    if isinstance(record, PartRecord):
        return _replaced(record, token=quote(record.token))
    changed = _replaced(record, src_path=quote(record.src_path), dst_path=quote(record.dst_path))
    if isinstance(changed, UploadRecord):
        return _replaced(changed, token=quote(changed.token))
    return changed


def _unquoted(record: R) -> R:
    if isinstance(record, Receipt) and '"' not in (record.src_path[:1], record.dst_path[:1]):
        return record
    if isinstance(record, PartRecord):
        return _replaced(record, token=unquote(record.token))
    changed = _replaced(
        record, src_path=unquote(record.src_path), dst_path=unquote(record.dst_path)
    )
    if isinstance(changed, UploadRecord):
        return _replaced(changed, token=unquote(changed.token))
    return changed


def _replaced(record: R, **texts: str) -> R:
    if all(getattr(record, name) == text for name, text in texts.items()):
        return record  # nearly always; a new one costs more than the comparison
    return msgspec.structs.replace(record, **texts)
