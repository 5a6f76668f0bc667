"""The ``[export]`` table of joblist.toml: the query whose rows are exported, and how."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from jobtool.errors import UsageError

_Rows = Annotated[int, msgspec.Meta(ge=1, le=2**40)]

#: A smaller file would mostly be Parquet's own description of it.
LEAST_CHUNK_BYTES = 1024 * 1024

_Bytes = Annotated[int, msgspec.Meta(ge=LEAST_CHUNK_BYTES, le=2**44)]

#: The number of rows of a chunk if neither rows nor bytes are given.
DEFAULT_CHUNK_ROWS = 1_000_000

DEFAULT_FETCH_ROWS = 16_384

DEFAULT_SPLITS = 8

DEFAULT_STAGED_CHUNKS = 3


class ExportSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[export]`` table; None means the default.

    ``connection`` is the URL of the database, without a password. ``query`` is the SQL. A chunk has
    ``chunk_rows`` rows, or is closed once its file has ``chunk_bytes`` bytes. ``split_by`` is the
    column whose ranges are the jobs, ``splits`` how many were asked for, and ``order_by`` the
    columns in whose order the rows of a range are asked for; without either column the query runs
    as it is. ``fetch_rows`` rows are fetched at a time. ``staging`` is the folder or URL in which
    chunks wait for their transfer; by default it is in the joblist. At most ``staged_chunks`` of a
    job are there at a time. ``compression`` is that of Parquet. ``existing_data`` says what other
    data files at the destination mean, which readers would mix with the rows.
    """

    connection: str
    query: str
    output_format: Literal["parquet", "csv"] = "parquet"
    chunk_rows: _Rows | None = None
    chunk_bytes: _Bytes | None = None
    split_by: str | None = None
    splits: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    order_by: tuple[str, ...] = ()
    fetch_rows: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] | None = None
    staging: str | None = None
    staged_chunks: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    compression: Literal["zstd", "snappy", "gzip", "none"] | None = None
    existing_data: Literal["error", "ignore"] | None = None

    def __post_init__(self) -> None:
        """Refuse two sizes of chunks."""
        if self.chunk_rows is not None and self.chunk_bytes is not None:
            raise ValueError("chunk_rows and chunk_bytes: expected one of them; found both")


def require_uncompressed(compression: str) -> None:
    """Raise ``UsageError`` if the transfer of an export's files is to compress them.

    Names and sizes in the manifest are those of the files as they were made.
    """
    if compression != "none":
        raise UsageError(
            f"compression {compression!r}: expected none for the transfer of an export: its files "
            "are compressed by their format. Leave it out of the options and of [transfer], and "
            "choose that of Parquet by jobtool export --compression."
        )
