"""Reading a list in any of its formats, which is detected or given."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

from jobtool.errors import FileError, LayoutError, UsageError, reason_of
from jobtool.layouts.lists.inventory import (
    MOST_MANIFEST_BYTES,
    DataFile,
    InventoryManifest,
    decode_manifest,
    read_data,
)
from jobtool.layouts.lists.listed import ListCounts, ListedFile, ListFormat
from jobtool.layouts.lists.textlist import TEXT_READERS, is_aws_listing
from jobtool.names import quote
from jobtool.stores.location import is_local, join, parent_of
from jobtool.stores.store import Store, entry_of

#: A list: a path, a URL, or an open file.
ListPlace = str | BinaryIO

_START_BYTES = 64 * 1024
_COPY_BYTES = 8 * 1024 * 1024
_TABLES = {b"PAR1": "PARQUET", b"ORC": "ORC"}


class ListReader:
    """Reads lists. ``open_store`` opens the store of a folder's URL.

    ``formats`` has the format of each list that was read, in order.
    """

    def __init__(self, open_store: Callable[[str], Store], wanted: ListFormat = "auto") -> None:
        self.counts = ListCounts()
        self.formats: list[str] = []
        self._open_store = open_store
        self._wanted = wanted

    @property
    def last_format(self) -> str:
        """The format of the list that is read now."""
        return self.formats[-1]

    def read(self, place: ListPlace) -> Iterator[ListedFile]:
        """Yield the files of a list. Raises ``LayoutError``, ``UsageError`` and stores' errors."""
        shown = place if isinstance(place, str) else "standard input"
        with contextlib.ExitStack() as stack:
            kind, file = self._kind(shown, self._opened(place, stack))
            self.formats.append(kind)
            if kind in TEXT_READERS:
                yield from TEXT_READERS[kind](file, shown, self.counts)
            elif kind in ("PARQUET", "ORC"):
                yield from read_data(file, kind, "", shown, self.counts)
            else:
                data = file.read(MOST_MANIFEST_BYTES + 1)
                if len(data) > MOST_MANIFEST_BYTES:
                    raise LayoutError(f"{quote(shown)}: expected up to 64 MiB; found more")
                manifest = decode_manifest(data, shown)
                for data_file in manifest.files:
                    yield from self._data(manifest, data_file, shown)

    def _kind(self, shown: str, file: BinaryIO) -> tuple[str, BinaryIO]:
        """Return the format of a list by its beginning, and the file to read it from."""
        start = _start_of(file, shown)
        if start.startswith(b"\x1f\x8b"):
            file = cast("BinaryIO", gzip.GzipFile(fileobj=file))
            start = _start_of(file, shown)
        table = next((form for magic, form in _TABLES.items() if start.startswith(magic)), None)
        is_json = shown.endswith(".json") and start.lstrip().startswith(b"{")
        if self._wanted == "inventory":
            return table or "inventory", file
        if self._wanted != "auto":
            return self._wanted, file
        if table or is_json:
            return table or "inventory", file
        if shown.lower().endswith((".csv", ".csv.gz")):
            raise LayoutError(
                f"{quote(shown)}: expected a format that says which column is what; found CSV. For "
                "an S3 Inventory give its manifest.json; for a list of names give --list-format "
                "lines."
            )
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise LayoutError(f"{quote(shown)}: expected UTF-8; found UTF-16. Save it as UTF-8.")
        if b"\0" in start:
            return "null", file
        return ("aws-ls" if is_aws_listing(start) else "lines"), file

    def _opened(self, place: ListPlace, stack: contextlib.ExitStack) -> BinaryIO:
        """Return a list as a file in which one can seek."""
        if not isinstance(place, str):
            return place if place.seekable() else _copied(place, stack)
        if not is_local(place):
            return self._fetched(place, None, stack)
        try:
            file = stack.enter_context(open(place, "rb"))  # noqa: SIM115
            return file if file.seekable() else _copied(file, stack)
        except OSError as error:
            raise UsageError(f"can't read the list {quote(place)}: {reason_of(error)}") from None

    def _data(
        self, manifest: InventoryManifest, data_file: DataFile, shown: str
    ) -> Iterator[ListedFile]:
        form = manifest.file_format.upper()
        with contextlib.ExitStack() as stack:
            if is_local(shown):
                path = _beside(shown, data_file.key)
                try:
                    file: BinaryIO = stack.enter_context(open(path, "rb"))
                except OSError as error:
                    raise UsageError(f"can't read {quote(path)}: {reason_of(error)}") from None
                _require_md5(file, data_file.md5, path)
            else:
                path = join(f"s3://{manifest.bucket}", data_file.key)
                file = self._fetched(path, data_file.md5, stack)
            yield from read_data(file, form, manifest.file_schema, path, self.counts)

    def _fetched(self, url: str, md5: str | None, stack: contextlib.ExitStack) -> BinaryIO:
        """Copy an object into a file without a name, in bounded memory, and return that."""
        folder, name = parent_of(url)
        store = self._open_store(folder)
        copy = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        try:
            entry = entry_of(store, name)
            for offset in range(0, entry.size, _COPY_BYTES):
                content = store.read(entry, offset, min(_COPY_BYTES, entry.size - offset))
                copy.write(content.data)
        except FileError as error:
            raise UsageError(f"can't read the list {quote(url)}: {error}") from None
        copy.seek(0)
        _require_md5(copy, md5, url)
        return cast("BinaryIO", copy)


def _beside(manifest: str, key: str) -> str:
    """Return where a data file lies that was copied with its manifest.

    At AWS the manifest is ``CONFIG/TIME/manifest.json`` and the data file ``CONFIG/data/NAME``.
    """
    folder, name = os.path.dirname(manifest), key.rpartition("/")[2]
    parts = key.split("/")
    tails = [
        os.path.join(folder, *[".."] * up, *parts[start:])
        for up in range(len(parts) + 1)
        for start in range(len(parts))
    ]
    places = [
        os.path.join(os.path.dirname(folder), "data", name),
        os.path.join(folder, "data", name),
        os.path.join(folder, name),
    ]
    if "." in parts or ".." in parts or "" in parts:
        raise LayoutError(f"{quote(manifest)}: expected keys of data files; found {quote(key)}")
    for place in (*places, *tails):
        if os.path.isfile(place):
            return os.path.normpath(place)
    raise UsageError(
        f"{quote(manifest)} names the data file {quote(key)}: expected it at {quote(places[0])}, "
        f"or beside the manifest; found none. Copy it there, or give the manifest's s3:// URL."
    )


def _require_md5(file: BinaryIO, md5: str | None, shown: str) -> None:
    if md5 is None:
        return
    digest = hashlib.md5(usedforsecurity=False)
    while piece := file.read(_COPY_BYTES):
        digest.update(piece)
    file.seek(0)
    if digest.hexdigest() != md5.lower():
        raise LayoutError(
            f"{quote(shown)}: expected MD5 {md5}, as its manifest.json says; found "
            f"{digest.hexdigest()}. It was changed, or not copied whole."
        )


def _start_of(file: BinaryIO, shown: str) -> bytes:
    try:
        start = file.read(_START_BYTES)
        file.seek(0)
    except (OSError, EOFError) as error:
        raise LayoutError(f"can't read {quote(shown)}: {error}") from None
    return start


def _copied(file: BinaryIO, stack: contextlib.ExitStack) -> BinaryIO:
    """Return a copy of a pipe, in a file without a name."""
    copy = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    shutil.copyfileobj(file, copy)
    copy.seek(0)
    return cast("BinaryIO", copy)
