"""The data: zarr plates whose chunks are the small files."""

from __future__ import annotations

import json
import os
from pathlib import Path

#: The chunks of a plate, in rows and columns.
ROWS, COLUMNS = 20, 50
CHUNKS = ROWS * COLUMNS


def make_plates(folder: Path, files: int, size: int) -> list[str]:
    """Write plates of ``files`` chunks of ``size`` random bytes; return the names of the plates.

    Each plate is an array of format 3, of bytes, with 1,000 chunks of one row each; its metadata is
    a file more.
    """
    names = []
    for start in range(0, files, CHUNKS):
        name = f"plate{start // CHUNKS:04d}.zarr"
        for row in range(ROWS):
            (folder / name / "c" / str(row)).mkdir(parents=True)
            for column in range(COLUMNS):
                path = folder / name / "c" / str(row) / str(column)
                path.write_bytes(os.urandom(size))
        (folder / name / "zarr.json").write_text(json.dumps(_metadata(size)))
        names.append(name)
    return names


def _metadata(size: int) -> dict[str, object]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [ROWS, COLUMNS * size],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, size]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes"}],
        "attributes": {},
    }


def sizes(folder: Path) -> dict[str, int]:
    """Return the sizes of all files below a folder, by path."""
    return {
        os.path.relpath(os.path.join(parent, name), folder): os.path.getsize(
            os.path.join(parent, name)
        )
        for parent, _, names in os.walk(folder)
        for name in names
    }
