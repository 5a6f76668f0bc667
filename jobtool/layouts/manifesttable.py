"""The table of a manifest: CSV, TSV or Parquet with the columns ``src_path`` and ``dst_path``."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

from jobtool.errors import LayoutError, reason_of
from jobtool.jobs.safe_read import UnfitFileError, open_without_waiting, require_regular
from jobtool.names import quote
from jobtool.parquetreading import batches_of, open_parquet

COLUMNS = ("src_path", "dst_path")

_FORMATS = {".csv": "csv", ".tsv": "tsv", ".parquet": "parquet", ".pq": "parquet"}

#: Endings of inventories (``jobtool.layouts.lists``). Other lists must be asked for, since a table
#: under a wrong name would be taken for a list of names.
_LIST_ENDINGS = (".json", ".orc")


class ManifestTable:
    """The table at ``path``. Raises ``LayoutError``, which names it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._format = _format_of(path)

    def rows(self) -> Iterator[tuple[str | None, str | None]]:
        """Yield the source and the destination of each row."""
        import pyarrow as pa

        try:
            self._require_file()
            # Arrow's own file: it reads CSV ahead in a thread, which must not hold Python's objects
            # when Python ends. That thread may be reading when an error ends this, so the file is
            # closed with its last user. A name as bytes need not be UTF-8.
            for batch in self._batches(pa.OSFile(os.fsencode(self._path))):
                yield from zip(*(_texts(batch[name]) for name in COLUMNS), strict=True)
        except (pa.ArrowException, OSError) as error:
            line = reason_of(error).partition("\n")[0]
            raise LayoutError(
                f"{quote(self._path)}: expected a {self._format.upper()} table: {line}"
            ) from None

    def _require_file(self) -> None:
        """Raise ``OSError`` or ``LayoutError`` for what isn't a file that can be read.

        Arrow's errors would show the name as it is, and Arrow waits at a named pipe.
        """
        with open(self._path, "rb", opener=open_without_waiting) as file:
            try:
                require_regular(file.fileno())
            except UnfitFileError as error:
                raise LayoutError(f"{quote(self._path)}: {error}") from None

    def _batches(self, file: BinaryIO) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.csv

        if self._format == "parquet":
            table = open_parquet(file)
            self._require_columns(table.schema_arrow)
            yield from batches_of(table, COLUMNS)
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
                column_types=dict.fromkeys(COLUMNS, pa.binary()),
                strings_can_be_null=False,
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter="\t" if self._format == "tsv" else ",", newlines_in_values=True
            ),
        )
        self._require_columns(batches.schema)
        yield from batches

    def _require_columns(self, schema: Any) -> None:
        for name in COLUMNS:
            count = schema.names.count(name)
            if count != 1:
                raise LayoutError(
                    f"{quote(self._path)}: expected the columns {' and '.join(COLUMNS)}, each "
                    f"once; found {', '.join(schema.names)}"
                )
            if not _holds_text(schema.field(name).type):
                raise LayoutError(
                    f"{quote(self._path)}, column {name}: expected text; found "
                    f"{schema.field(name).type}"
                )


def is_list(path: str) -> bool:
    """Return True if a file is an inventory, by its name or its columns."""
    ending = os.path.splitext(path)[1].lower()
    if _FORMATS.get(ending) != "parquet":
        return ending in _LIST_ENDINGS
    import pyarrow as pa

    try:
        with open(path, "rb", opener=open_without_waiting) as file:
            names = open_parquet(file).schema_arrow.names
    except (pa.ArrowException, OSError):
        return False
    return not set(COLUMNS) & set(names) and {"bucket", "key"} <= set(names)


def _format_of(path: str) -> str:
    ending = os.path.splitext(path)[1].lower()
    if ending not in _FORMATS:
        raise LayoutError(
            f"{quote(path)}: expected a table whose name ends in {', '.join(_FORMATS)}; found "
            f"{quote(ending) if ending else 'no ending'}. For a list of files give --list-format."
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
