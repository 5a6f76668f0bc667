"""Formats by the names that users give them."""

from __future__ import annotations

from jobtool.errors import UsageError
from jobtool.export.formats.csv import CsvFormat
from jobtool.export.formats.format import Format
from jobtool.export.formats.parquet import COMPRESSIONS, ParquetFormat
from jobtool.suggest import did_you_mean

#: The names of formats.
FORMATS = ("parquet", "csv")


def format_of(name: str, *, compression: str | None = None) -> Format:
    """Return a format; ``compression`` is one of ``COMPRESSIONS``, and only Parquet has it.

    The default is zstd. Raises ``UsageError``.
    """
    if name not in FORMATS:
        raise UsageError(
            f"format: expected one of {', '.join(FORMATS)}; found {name!r}."
            f"{did_you_mean(name, FORMATS)}"
        )
    if name == "csv":
        if compression is not None:
            raise UsageError(
                f"compression: expected none for csv; found {compression!r}. Leave it out, or "
                "write parquet."
            )
        return CsvFormat()
    if compression is None:
        return ParquetFormat()
    if compression not in COMPRESSIONS:
        raise UsageError(
            f"compression: expected one of {', '.join(COMPRESSIONS)}; found {compression!r}."
            f"{did_you_mean(compression, COMPRESSIONS)}"
        )
    return ParquetFormat(compression=compression)
