"""Manifests: a table of ``src_path`` and ``dst_path`` becomes jobs of several files each."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from jobtool.errors import FileError, JobFileError, LayoutError
from jobtool.jobs.job import FilePair, Job
from jobtool.names import quote, unquote
from jobtool.stores.location import file_below, is_local

#: The values that ``--set`` may give.
MANIFEST_VALUES = frozenset({"max_files", "max_bytes"})

DEFAULT_MAX_FILES = 1000
_COLUMNS = ("src_path", "dst_path")
_FORMATS = {".csv": "csv", ".tsv": "tsv", ".parquet": "parquet", ".pq": "parquet"}


class Manifest:
    """A table of files to copy.

    ``values`` may hold ``max_files`` (files in a job, by default 1000) and ``max_bytes``. Relative
    source paths are below the table's folder, relative destination paths below ``destination``.
    Raises ``LayoutError`` that names the table and, for an error in one row, the row.
    """

    def __init__(self, path: str, values: Mapping[str, str], destination: str | None) -> None:
        self._path = path
        self._format = _format_of(path)
        self._destination = destination
        self._max_files = _number(values, "max_files") or DEFAULT_MAX_FILES
        self._max_bytes = _number(values, "max_bytes")

    def jobs(self, known: Iterable[str], taken: Collection[str]) -> Iterator[Job]:
        """Yield jobs for the rows whose destination isn't known yet.

        ``known`` are the destinations of existing jobs, ``taken`` their job IDs.
        """
        job_id = os.path.splitext(os.path.basename(self._path))[0]
        numbers = _free_numbers(job_id, taken)
        pairs: list[FilePair] = []
        size = 0
        for pair, bytes_ in self._new_pairs(known):
            is_full = len(pairs) == self._max_files
            is_heavy = self._max_bytes is not None and size + bytes_ > self._max_bytes
            if pairs and (is_full or is_heavy):
                yield self._job(f"{job_id}__{next(numbers):05d}", pairs)
                pairs, size = [], 0
            pairs.append(pair)
            size += bytes_
        if pairs:
            yield self._job(f"{job_id}__{next(numbers):05d}", pairs)

    def _job(self, name: str, pairs: Iterable[FilePair]) -> Job:
        # Workers refuse links between a job's destination and its files. They can't without one.
        is_folder = self._destination is not None and is_local(self._destination)
        return Job(
            name=name, files=tuple(pairs), destination=self._destination if is_folder else None
        )

    def _new_pairs(self, known: Iterable[str]) -> Iterator[tuple[FilePair, int]]:
        # Digests, since a million paths would take too much memory.
        existing = {_digest(path) for path in known}
        seen: set[bytes] = set()
        for row, (source, destination) in enumerate(self._rows(), start=1):
            pair = FilePair(
                source=self._place(row, "src_path", source),
                destination=self._place(row, "dst_path", destination),
            )
            digest = _digest(pair.destination)
            if digest in seen:
                raise LayoutError(
                    f"{quote(self._path)}, row {row}: {quote(pair.destination)} is the destination "
                    "of an earlier row too; one would overwrite the other. Correct one of the rows."
                )
            seen.add(digest)
            if digest not in existing:
                yield pair, self._size_of(pair.source, row)

    def _place(self, row: int, column: str, text: str | None) -> str:
        folder = os.path.dirname(self._path)
        root = folder if column == "src_path" else self._destination
        try:
            if not text:
                raise FileError("expected a path or URL; found an empty one")
            return file_below(root, unquote(text))
        except (FileError, JobFileError) as error:
            raise LayoutError(f"{quote(self._path)}, row {row}, {column}: {error}") from None

    def _size_of(self, source: str, row: int) -> int:
        if self._max_bytes is None or not is_local(source):
            return 0
        try:
            return os.stat(source).st_size
        except OSError as error:
            raise LayoutError(
                f"{quote(self._path)}, row {row}: can't read {quote(source)}: {error.strerror}"
            ) from None

    def _rows(self) -> Iterator[tuple[str | None, str | None]]:
        import pyarrow as pa

        try:
            with open(self._path, "rb") as file:  # pyarrow opens only names that are UTF-8
                for batch in self._batches(file):
                    yield from zip(*(_texts(batch[name]) for name in _COLUMNS), strict=True)
        except (pa.ArrowException, OSError) as error:
            line = str(error).partition("\n")[0]
            raise LayoutError(
                f"{quote(self._path)}: expected a {self._format.upper()} table: {line}"
            ) from None

    def _batches(self, file: BinaryIO) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet

        if self._format == "parquet":
            table = pyarrow.parquet.ParquetFile(file)
            self._require_columns(table.schema_arrow)
            yield from table.iter_batches(columns=list(_COLUMNS))
            return
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise LayoutError(
                f"{quote(self._path)}: expected UTF-8; found UTF-16. Save it as UTF-8."
            )
        file.seek(0)
        batches = pyarrow.csv.open_csv(
            file,
            convert_options=pyarrow.csv.ConvertOptions(
                # Names need not be UTF-8.
                column_types=dict.fromkeys(_COLUMNS, pa.binary()),
                strings_can_be_null=False,
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter="\t" if self._format == "tsv" else ",", newlines_in_values=True
            ),
        )
        self._require_columns(batches.schema)
        yield from batches

    def _require_columns(self, schema: Any) -> None:
        for name in _COLUMNS:
            count = schema.names.count(name)
            if count != 1:
                raise LayoutError(
                    f"{quote(self._path)}: expected the columns {' and '.join(_COLUMNS)}, each "
                    f"once; found {', '.join(schema.names)}"
                )
            if not _holds_text(schema.field(name).type):
                raise LayoutError(
                    f"{quote(self._path)}, column {name}: expected text; found "
                    f"{schema.field(name).type}"
                )


def _format_of(path: str) -> str:
    ending = os.path.splitext(path)[1].lower()
    if ending not in _FORMATS:
        raise LayoutError(
            f"{quote(path)}: expected a table whose name ends in {', '.join(_FORMATS)}; found "
            f"{quote(ending) if ending else 'no ending'}"
        )
    return _FORMATS[ending]


def _holds_text(type_: Any) -> bool:
    """Return True if a column of an Arrow type may hold names, as text or as bytes."""
    import pyarrow.types as kinds

    if kinds.is_dictionary(type_):
        type_ = type_.value_type
    return bool(_is_string(type_) or _is_bytes(type_) or kinds.is_null(type_))


def _is_string(type_: Any) -> bool:
    return str(type_) in ("string", "large_string", "string_view")


def _is_bytes(type_: Any) -> bool:
    return str(type_) in ("binary", "large_binary", "binary_view") or str(type_).startswith(
        "fixed_size_binary"
    )


def _texts(column: Any) -> list[str | None]:
    """Return a column's values; bytes that aren't UTF-8 become surrogates."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if _is_string(column.type):
        column = column.cast(pa.large_binary())  # its text may not be valid UTF-8
    return [
        None if value is None else value.decode("utf-8", "surrogateescape")
        for value in column.to_pylist()
    ]


def _free_numbers(job_id: str, taken: Collection[str]) -> Iterator[int]:
    form = re.compile(re.escape(job_id) + r"__(\d{5,})")
    found = (form.fullmatch(name) for name in taken)
    number = max((int(match.group(1)) for match in found if match), default=0)
    while True:
        number += 1
        yield number


def _number(values: Mapping[str, str], name: str) -> int | None:
    text = values.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise LayoutError(f"--set {name}={text}: expected a number above 0")
    return int(text)


def _digest(path: str) -> bytes:
    return hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=16).digest()
