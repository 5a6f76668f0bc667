"""Rows in blocks of a fixed size, whatever batches the database gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from jobtool.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa


def blocks(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the same rows in the same order, ``rows`` at a time; the last block may have fewer.

    All batches have one schema. A block that lies within one batch shares its memory; only a block
    that crosses the end of a batch is copied. Batches without rows are passed over, so that without
    rows there is no block. At most one block of rows is held back.

    Raises ``UsageError`` if a block has more than Arrow allows in one column, 2 GiB of text in most
    types, and ``ValueError`` if ``rows`` isn't above 0.
    """
    if rows < 1:
        raise ValueError(f"expected blocks of at least 1 row; found {rows}")
    held: list[Any] = []
    missing = rows
    for batch in batches:
        start = 0
        while batch.num_rows - start >= missing:
            held.append(batch.slice(start, missing))
            start += missing
            yield _joined(held)
            held, missing = [], rows
        if start < batch.num_rows:
            held.append(batch.slice(start))
            missing -= batch.num_rows - start
    if held:
        yield _joined(held)


def _joined(parts: list[Any]) -> Any:
    import pyarrow as pa

    if len(parts) == 1:
        return parts[0]
    if not parts[0].num_columns:
        return pa.RecordBatch.from_struct_array(
            pa.array([{}] * sum(part.num_rows for part in parts), pa.struct([]))
        )
    columns = []
    for position, field in enumerate(parts[0].schema):
        try:
            columns.append(pa.concat_arrays([part.column(position) for part in parts]))
        except pa.ArrowInvalid as error:
            rows = sum(part.num_rows for part in parts)
            raise UsageError(
                f"column {field.name!r}: {rows} rows don't fit into one block ({error}). Set fewer "
                "rows for a block."
            ) from None
    return pa.RecordBatch.from_arrays(columns, schema=parts[0].schema)
