"""Manifests: a table of ``src_path`` and ``dst_path`` becomes jobs of several files each."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, cast, get_args

import msgspec

from jobtool.errors import FileError, JobFileError, LayoutError
from jobtool.events import Emit, ignore
from jobtool.jobs.job import FilePair, Job
from jobtool.layouts.lists.listed import ListFormat
from jobtool.layouts.manifestlist import ManifestList
from jobtool.layouts.manifesttable import ManifestTable, is_list
from jobtool.layouts.namedfiles import LeftOut
from jobtool.names import quote, unquote
from jobtool.stores.location import file_below, inside, is_local
from jobtool.suggest import did_you_mean

if TYPE_CHECKING:
    from jobtool.filters.selection import Selection

#: The values that ``--set`` may give.
MANIFEST_VALUES = frozenset({"max_files", "max_bytes", "root", "list_format"})

DEFAULT_MAX_FILES = 1000


class _Row(msgspec.Struct, frozen=True):
    """A file to copy. ``path`` is what filters are about."""

    number: int
    pair: FilePair
    path: str
    size: int | None = None
    mtime_ns: int | None = None


class Manifest:
    """A table or list of files to copy.

    ``values`` may hold ``max_files`` (files in a job, by default 1000), ``max_bytes`` and, for a
    list, ``root`` and ``list_format``. Relative source paths are below the table's folder, relative
    destination paths below ``destination``. What the ``selection`` leaves out is counted in
    ``excluded``. ``left_out`` counts the files of a list that can't be transferred.

    Raises ``LayoutError`` that names the table and, for an error in one row, the row.
    """

    def __init__(
        self,
        path: str,
        values: Mapping[str, str],
        destination: str | None,
        *,
        selection: Selection | None = None,
    ) -> None:
        self.excluded = self.left_out = 0
        self._path = path
        self._destination = destination
        self._selection = selection
        self._max_files = _number(values, "max_files") or DEFAULT_MAX_FILES
        self._max_bytes = _number(values, "max_bytes")
        root, list_format = values.get("root"), _list_format(values)
        is_listed = list_format != "auto" or is_list(path)
        self._list = ManifestList(path, list_format, root) if is_listed else None
        self._table = None if is_listed else ManifestTable(path)
        if root is not None and not is_listed:
            raise LayoutError(f"--set root={root}: {quote(path)} is a table, whose rows say it all")

    def check(self, emit: Emit) -> None:
        """Read all rows, so that an invalid one is found before any job is written."""
        told = LeftOut(emit)
        for _ in self._new_rows((), told):
            pass
        told.finish()
        self.left_out = told.count

    def excluded_rows(self) -> Iterator[tuple[str, int | None, str]]:
        """Yield the source, size and reason of each row that is left out."""
        for row in self._rows(LeftOut(ignore)):
            if self._selection is not None and self._is_left_out(row):
                size, mtime_ns = row.size, row.mtime_ns
                if size is None and is_local(row.pair.source) and os.path.exists(row.pair.source):
                    found = self._stat(row)
                    size, mtime_ns = found.st_size, found.st_mtime_ns
                entry = None if size is None else (size, mtime_ns or 0)
                reason = self._selection.reason(row.path, is_folder=False, entry=entry)
                yield row.pair.source, size, reason

    def jobs(self, known: Iterable[str], taken: Collection[str]) -> Iterator[Job]:
        """Yield jobs for the rows whose destination isn't known yet.

        ``known`` are the destinations of existing jobs, ``taken`` their job IDs.
        """
        job_id = os.path.splitext(os.path.basename(self._path))[0]
        numbers = _free_numbers(job_id, taken)
        pairs: list[FilePair] = []
        size = 0
        for row in self._new_rows(known, LeftOut(ignore)):
            bytes_ = 0 if self._max_bytes is None else self._size_of(row)
            is_full = len(pairs) == self._max_files
            is_heavy = self._max_bytes is not None and size + bytes_ > self._max_bytes
            if pairs and (is_full or is_heavy):
                yield self._job(f"{job_id}__{next(numbers):05d}", pairs)
                pairs, size = [], 0
            pairs.append(row.pair)
            size += bytes_
        if pairs:
            yield self._job(f"{job_id}__{next(numbers):05d}", pairs)

    def _job(self, name: str, pairs: Iterable[FilePair]) -> Job:
        # Workers refuse links between a job's destination and its files. They can't without one.
        is_folder = self._destination is not None and is_local(self._destination)
        return Job(
            name=name, files=tuple(pairs), destination=self._destination if is_folder else None
        )

    def _new_rows(self, known: Iterable[str], told: LeftOut) -> Iterator[_Row]:
        # Digests, since a million paths would take too much memory.
        existing = {_digest(path) for path in known}
        seen: set[bytes] = set()
        self.excluded = 0
        for row in self._rows(told):
            if self._is_left_out(row):
                self.excluded += 1
                continue
            destination = row.pair.destination
            digest = _digest(destination)
            if digest in seen:
                raise LayoutError(
                    f"{quote(self._path)}, row {row.number}: {quote(destination)} is the "
                    "destination of an earlier row too; one would overwrite the other. "
                    "Correct one of the rows."
                )
            seen.add(digest)
            if digest not in existing:
                if self._max_bytes is not None:
                    self._size_of(row)
                yield row

    def _rows(self, told: LeftOut) -> Iterator[_Row]:
        if self._list is not None:
            for number, listed in enumerate(self._list.rows(told), start=1):
                place = self._below(number, "destination", self._destination, listed.path)
                pair = FilePair(source=listed.source, destination=place)
                yield _Row(number, pair, listed.path, listed.size, listed.mtime_ns)
            return
        assert self._table is not None
        for number, (source, destination) in enumerate(self._table.rows(), start=1):
            pair = FilePair(
                source=self._place(number, "src_path", source),
                destination=self._place(number, "dst_path", destination),
            )
            yield _Row(number, pair, self._filtered_path(pair.source))

    def _filtered_path(self, source: str) -> str:
        """Return the path of a source that patterns are about.

        That is the one below the table's folder or, elsewhere, the whole path, or a URL's bucket
        and key.
        """
        below = inside(os.path.dirname(self._path), source)
        return below or source.partition("://")[2] or source.lstrip("/")

    def _is_left_out(self, row: _Row) -> bool:
        if self._selection is None:
            return False
        if not self._selection.has_bounds or self._selection.excludes_path(row.path):
            return self._selection.excludes_path(row.path)
        size, mtime_ns = row.size, row.mtime_ns
        if is_local(row.pair.source) and (size is None or mtime_ns is None):
            found = self._stat(row)
            size, mtime_ns = found.st_size, found.st_mtime_ns
        if not self._selection.is_judged_by(size, mtime_ns):
            raise LayoutError(
                f"{quote(self._path)}, row {row.number}: the size or time of "
                f"{quote(row.pair.source)} isn't known, so that filters can't judge it. Leave out "
                "--min-size, --max-size, --min-age and --max-age, or give a list with sizes."
            )
        return self._selection.excludes(row.path, size=size or 0, mtime_ns=mtime_ns or 0)

    def _place(self, row: int, column: str, text: str | None) -> str:
        folder = os.path.dirname(self._path)
        root = folder if column == "src_path" else self._destination
        try:
            return self._below(row, column, root, unquote(text or ""))
        except JobFileError as error:
            raise LayoutError(f"{quote(self._path)}, row {row}, {column}: {error}") from None

    def _below(self, row: int, column: str, root: str | None, path: str) -> str:
        try:
            if not path:
                raise FileError("expected a path or URL; found an empty one")
            return file_below(root, path)
        except FileError as error:
            raise LayoutError(f"{quote(self._path)}, row {row}, {column}: {error}") from None

    def _size_of(self, row: _Row) -> int:
        if row.size is not None:
            return row.size
        return self._stat(row).st_size if is_local(row.pair.source) else 0

    def _stat(self, row: _Row) -> os.stat_result:
        try:
            return os.stat(row.pair.source)
        except OSError as error:
            raise LayoutError(
                f"{quote(self._path)}, row {row.number}: can't read {quote(row.pair.source)}: "
                f"{error.strerror}"
            ) from None


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


def _list_format(values: Mapping[str, str]) -> ListFormat:
    text = values.get("list_format", "auto")
    for known in get_args(ListFormat):
        if text == known:
            return cast("ListFormat", text)
    raise LayoutError(
        f"list_format={text}: expected one of {', '.join(get_args(ListFormat))}."
        f"{did_you_mean(text, get_args(ListFormat))}"
    )


def _digest(path: str) -> bytes:
    return hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=16).digest()
