"""Manifests: a CSV or Parquet table of ``src_path,dst_path`` becomes jobs of some files each."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from jobtool.errors import FileError, JobFileError, LayoutError, UsageError
from jobtool.jobs.job import FilePair, Job
from jobtool.names import quote, unquote
from jobtool.stores.registry import anchor_of, split_url
from jobtool.stores.store import check_path

#: What ``--set`` may give.
MANIFEST_VALUES = frozenset({"max_files", "max_bytes"})

DEFAULT_MAX_FILES = 1000
_COLUMNS = ("src_path", "dst_path")


class Manifest:
    """A table of files to copy.

    ``values`` may hold ``max_files`` (files in a job, by default 1000) and ``max_bytes``. Relative
    source paths are below the table's folder, relative destination paths below ``destination``.
    Raises ``LayoutError`` that names the table, and the row where it is one row's fault.
    """

    def __init__(self, path: str, values: Mapping[str, str], destination: str | None) -> None:
        self._path = path
        self._destination = destination
        self._max_files = _number(values, "max_files") or DEFAULT_MAX_FILES
        self._max_bytes = _number(values, "max_bytes")

    def jobs(self, known: Iterable[str], taken: Collection[str]) -> Iterator[Job]:
        """Yield jobs for the rows whose destination isn't known yet.

        ``known`` are the destinations of existing jobs, ``taken`` their files' stems.
        """
        stem = re.sub(r"\.(csv|parquet)$", "", os.path.basename(self._path))
        numbers = _free_numbers(stem, taken)
        pairs: list[FilePair] = []
        size = 0
        for pair, bytes_ in self._new_pairs(known):
            is_full = len(pairs) == self._max_files
            is_heavy = self._max_bytes is not None and size + bytes_ > self._max_bytes
            if pairs and (is_full or is_heavy):
                yield self._job(f"{stem}__{next(numbers):05d}", pairs)
                pairs, size = [], 0
            pairs.append(pair)
            size += bytes_
        if pairs:
            yield self._job(f"{stem}__{next(numbers):05d}", pairs)

    def _job(self, name: str, pairs: Iterable[FilePair]) -> Job:
        # Workers refuse links between a job's destination and its files; without one they can't.
        is_folder = self._destination is not None and "://" not in self._destination
        return Job(
            name=name, files=tuple(pairs), destination=self._destination if is_folder else None
        )

    def _new_pairs(self, known: Iterable[str]) -> Iterator[tuple[FilePair, int]]:
        # Digests, since a million paths are too many to keep.
        existing = {_digest(path) for path in known}
        seen: set[bytes] = set()
        for row, (source, destination) in enumerate(self._rows(), start=1):
            try:
                pair = self._pair(source, destination)
            except (FileError, JobFileError, UsageError) as error:
                raise LayoutError(f"{quote(self._path)}, row {row}: {error}") from None
            digest = _digest(pair.destination)
            if digest in seen:
                raise LayoutError(
                    f"{quote(self._path)}, row {row}: {quote(pair.destination)} is the destination "
                    "of an earlier row too; one would overwrite the other"
                )
            seen.add(digest)
            if digest not in existing:
                yield pair, self._size_of(pair.source, row)

    def _pair(self, source: str | None, destination: str | None) -> FilePair:
        if not source or not destination:
            raise FileError("expected a src_path and a dst_path; found an empty one")
        source, destination = unquote(source), unquote(destination)
        return FilePair(
            source=_under(os.path.dirname(self._path), source, "src_path"),
            destination=_under(self._destination, destination, "dst_path"),
        )

    def _size_of(self, source: str, row: int) -> int:
        if self._max_bytes is None or split_url(source)[0] != "file":
            return 0
        try:
            return os.stat(source).st_size
        except OSError as error:
            raise LayoutError(
                f"{quote(self._path)}, row {row}: can't read {quote(source)}: {error.strerror}"
            ) from None

    def _rows(self) -> Iterator[tuple[str | None, str | None]]:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet

        try:
            with open(self._path, "rb") as file:  # pyarrow opens only names that are UTF-8
                if self._path.endswith(".parquet"):
                    table = pyarrow.parquet.ParquetFile(file)
                    self._require_columns(table.schema_arrow.names)
                    batches = table.iter_batches(columns=list(_COLUMNS))
                else:
                    types = dict.fromkeys(_COLUMNS, pa.string())
                    options = pyarrow.csv.ConvertOptions(
                        column_types=types, strings_can_be_null=False
                    )
                    parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
                    batches = pyarrow.csv.open_csv(
                        file, convert_options=options, parse_options=parsing
                    )
                    self._require_columns(batches.schema.names)
                for batch in batches:
                    yield from zip(*(batch[name].to_pylist() for name in _COLUMNS), strict=True)
        except (pa.ArrowInvalid, OSError) as error:
            line = str(error).partition("\n")[0]
            raise LayoutError(
                f"{quote(self._path)}: expected a CSV or Parquet table: {line}"
            ) from None

    def _require_columns(self, found: Collection[str]) -> None:
        if not set(_COLUMNS) <= set(found):
            raise LayoutError(
                f"{quote(self._path)}: expected the columns {' and '.join(_COLUMNS)}; found "
                f"{', '.join(found)}"
            )


def _under(root: str | None, path: str, column: str) -> str:
    if path.startswith("/") or "://" in path:
        check_path(anchor_of(path)[1])
        return path
    check_path(path)
    if root is None:
        raise FileError(
            f"the {column} {quote(path)} is relative. Say below what with --destination URL."
        )
    return f"{root.rstrip('/')}/{path}"


def _free_numbers(stem: str, taken: Collection[str]) -> Iterator[int]:
    form = re.compile(re.escape(stem) + r"__(\d{5,})")
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
