"""Make small OME-Zarr plates in the folder structure of the JUMP data set (cpg0016).

Zarr format 2 (NGFF 0.4, consolidated) and format 3 (NGFF 0.5) alternate. Nearly all files are
small chunks; the first plate of each batch also has one of 20 MiB. The same arguments give the
same bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import zarr
from _common import claim, folder_name, folder_names, summary, whole

OBJECTS = (
    "results/aggregated/broad/cellpainting-gallery/cpg0016-jump/"
    "{source}/workspace/segmentation/cellpose/objects"
)
FIRST_PLATE = 1170383  # named A1170383, the next one A1170384
UNFINISHED_PLATE = "A1179999"
ROWS, COLUMNS = "ABCDEFGHIJKLMNOP", 24  # a 384-well plate
CHUNK = 64  # pixels per side
PIXEL_UM = 0.598  # micrometres per pixel at full resolution
FEATURES_SHAPE = (3500, 1500)  # objects x features; 20.03 MiB of float32

Format = Literal[2, 3]
CHUNK_KEYS: dict[Format, Any] = {  # chunks nested in folders, as NGFF asks for
    2: {"name": "v2", "separator": "/"},
    3: {"name": "default", "separator": "/"},
}


def draw_labels(rng: np.random.Generator, size: int) -> npt.NDArray[np.uint32]:
    """Draw round cells and their nuclei; return labels (2, size, size), background 0.

    Plane 0 has the cells, plane 1 the nuclei; a nucleus carries the number of its cell.
    """
    planes = np.zeros((2, size, size), dtype=np.uint32)
    y, x = np.ogrid[:size, :size]
    for label in range(1, max(3, size * size // 5000) + 1):
        centre_y, centre_x = rng.uniform(0, size, 2)
        radius = rng.uniform(18, 32)  # pixels
        distance = np.hypot(y - centre_y, x - centre_x)
        cell = (distance < radius) & (planes[0] == 0)
        planes[0, cell] = label
        planes[1, cell & (distance < 0.45 * radius)] = label
    return planes


def ngff(zarr_format: Format, key: str, value: Any) -> dict[str, Any]:
    """Return the attributes of one NGFF object, with the version where its NGFF wants it."""
    if zarr_format == 3:
        return {"ome": {"version": "0.5", key: value}}
    if isinstance(value, list):
        return {key: [{**item, "version": "0.4"} for item in value]}
    return {key: {**value, "version": "0.4"}}


def write_field(well: zarr.Group, labels: npt.NDArray[np.uint32], zarr_format: Format) -> None:
    """Write field of view ``0``: labels (2, y, x) at full and half resolution."""
    dtype = np.uint16 if zarr_format == 2 else np.uint32
    pyramid = [labels, labels[:, ::2, ::2]]  # every other pixel: a mean of labels is no label
    scales = [[1.0, PIXEL_UM * 2**level, PIXEL_UM * 2**level] for level in range(len(pyramid))]
    image = {
        "axes": [{"name": "c", "type": "channel"}]
        + [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"],
        "datasets": [
            {"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
            for level, scale in enumerate(scales)
        ],
    }
    field = well.create_group("0", attributes=ngff(zarr_format, "multiscales", [image]))
    for level, data in enumerate(pyramid):
        field.create_array(
            str(level),
            data=data.astype(dtype),
            chunks=(1, CHUNK, CHUNK),
            chunk_key_encoding=CHUNK_KEYS[zarr_format],
            dimension_names=None if zarr_format == 2 else ("c", "y", "x"),
        )


def write_plate(
    path: Path, zarr_format: Format, *, seed: Sequence[int], wells: int, size: int, features: bool
) -> None:
    """Write one plate, filled row by row, with images of ``size`` x ``size`` pixels."""
    places = [divmod(number, COLUMNS) for number in range(wells)]
    names = [f"{ROWS[row]}/{column + 1:02d}" for row, column in places]
    plate = {
        "name": path.stem,
        "field_count": 1,
        "rows": [{"name": name} for name in ROWS],
        "columns": [{"name": f"{column + 1:02d}"} for column in range(COLUMNS)],
        "wells": [
            {"path": name, "rowIndex": row, "columnIndex": column}
            for name, (row, column) in zip(names, places, strict=True)
        ],
    }
    attributes = ngff(zarr_format, "plate", plate)
    root = zarr.create_group(path, zarr_format=zarr_format, attributes=attributes)
    for number, name in enumerate(names):
        images = {"images": [{"path": "0"}]}
        well = root.create_group(name, attributes=ngff(zarr_format, "well", images))
        labels = draw_labels(np.random.default_rng([*seed, number]), size)
        write_field(well, labels, zarr_format)
    if features:  # all of it in one chunk
        rng = np.random.default_rng([*seed, wells])
        root.create_array(
            "features",
            data=rng.standard_normal(FEATURES_SHAPE, dtype=np.float32),
            chunks=FEATURES_SHAPE,
            compressors=None,
            chunk_key_encoding=CHUNK_KEYS[zarr_format],
        )
    if zarr_format == 2:  # format 3 does not specify consolidated metadata
        zarr.consolidate_metadata(path, zarr_format=2)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return 0, or 2 if OUT is in use."""
    parser = argparse.ArgumentParser(
        description="Make small OME-Zarr plates below OUT.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("out", metavar="OUT", type=Path, help="a new or empty folder")
    add("--source", type=folder_name, default="source_8", help="data source")
    add("--batches", type=folder_names, default="J1,J2", help="names, separated by commas")
    add("--plates", type=whole(1), default=2, help="per batch")
    add("--wells", type=whole(1, len(ROWS) * COLUMNS), default=6, help="per plate")
    add("--image-size", type=whole(1), default=256, help="side of an image in pixels")
    add("--seed", type=whole(0), default=8, help="of the random numbers")
    args = parser.parse_args(argv)
    if not claim(args.out):
        return 2

    objects = args.out / OBJECTS.format(source=args.source)
    for batch_number, batch in enumerate(args.batches):
        for number in range(args.plates):
            index = batch_number * args.plates + number
            name = f"A{FIRST_PLATE + index}"
            write_plate(
                objects / batch / name / f"{name}.zarr",
                zarr_format=2 if (batch_number + number) % 2 == 0 else 3,
                seed=[args.seed, index],
                wells=args.wells,
                size=args.image_size,
                features=number == 0,
            )
    unfinished = objects / args.batches[0] / UNFINISHED_PLATE
    unfinished.mkdir(parents=True)
    log = "INFO segmentation started\nINFO A/01 done\nERROR A/02 stopped: out of time\n"
    (unfinished / "segmentation.log").write_text(log, encoding="utf-8")
    print(summary(f"{len(args.batches) * args.plates} plates and 1 unfinished", args.out))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
