"""What compression on the way costs and saves, by kind of data.

    python -m tests.benchmarks.compression FOLDER [--mebibytes N] [--json FILE]

For each kind of data a tree of ``--mebibytes`` goes from a folder to ``rclone serve s3`` on this
machine, as it is and compressed by ``zstd`` and ``gzip``, and what was compressed comes back
unpacked. The table shows the share of the bytes that is stored, wall and CPU time, and the largest
memory of the worker. FOLDER, best on a tmpfs, must hold the tree four times.

The kinds are CSV text, zarr chunks of a microscope's 16-bit images without a codec and with zarr's
own, and bytes as incompressible as JPEGs, in files of 4 MiB; and large files of text, of 64 MiB.
"""

from __future__ import annotations

import argparse
import functools
import json
import shutil
import sys
from pathlib import Path

import numpy
import zarr

from tests.benchmarks.peers.measure import Cost, measured
from tests.servers.s3 import S3Server, rclone_server

BIN = Path(sys.executable).parent
MEBIBYTE = 1024 * 1024
_RANDOM = numpy.random.default_rng(0)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mebibytes", type=int, default=256)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = []
    print("| data | compression | stored | to S3: wall · CPU · memory | back: wall · CPU |")
    print("| --- | --- | --- | --- | --- |")
    for kind in ("csv", "csv-large", "zarr", "zarr-coded", "jpeg"):
        shutil.rmtree(options.folder / "compression", ignore_errors=True)
        tree = options.folder / "compression" / "in"
        make(tree / "job", kind, options.mebibytes)
        for compression in ("none", "zstd", "gzip"):
            place = options.folder / "compression" / compression
            place.mkdir()
            with rclone_server(place / "server") as server:
                row = measure(tree, place, server, compression)
            shutil.rmtree(place)
            found.append({"data": kind, "compression": compression, **row})
            print(shown(found[-1]), flush=True)
    shutil.rmtree(options.folder / "compression")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


def make(folder: Path, kind: str, mebibytes: int) -> None:
    """Make the tree of a kind."""
    folder.mkdir(parents=True)
    if kind.startswith("zarr"):
        side = 1448  # two bytes each: 4 MiB in a chunk
        count = max(1, mebibytes // 4)
        array = zarr.create_array(
            folder / "images.zarr",
            shape=(count, side, side),
            chunks=(1, side, side),
            dtype="uint16",
            compressors="auto" if kind == "zarr-coded" else None,
        )
        for number in range(count):
            array[number] = _RANDOM.poisson(200, (side, side)).astype("uint16")
        return
    size = (64 if kind == "csv-large" else 4) * MEBIBYTE
    for number in range(max(1, mebibytes * MEBIBYTE // size)):
        at = number * size % len(text())
        data = _RANDOM.bytes(size) if kind == "jpeg" else (4 * text())[at : at + size]
        (folder / f"{number}.{kind}").write_bytes(data)


@functools.cache
def text() -> bytes:
    """Return 16 MiB of measurements as CSV. No compressor looks back that far."""
    rows = _RANDOM.normal(20, 5, (16 * MEBIBYTE // 32, 4))
    made = "".join(
        f"{i},A{i % 24:02d},{a:.4f},{b:.4f},{c:.2f}\n" for i, (a, b, c, _) in enumerate(rows)
    )
    return made.encode()[: 16 * MEBIBYTE].ljust(16 * MEBIBYTE)


def measure(tree: Path, place: Path, server: S3Server, compression: str) -> dict[str, object]:
    """Send a tree and bring it back; return the costs and the share that was stored."""
    url = f"s3://{server.new_bucket()}/there"
    size = size_of(tree)
    there = transferred(tree, url, place / "list", compression, server)
    stored = size_of(place / "server")
    back = transferred(url, place / "back", place / "again", "unpack", server)
    assert size_of(place / "back") == size, "not everything came back"
    return {"stored": stored / size, "there": there._asdict(), "back": back._asdict()}


def transferred(
    source: object, destination: object, joblist: Path, compression: str, server: S3Server
) -> Cost:
    """Transfer a tree; return the cost of the worker."""
    for command in (
        ["generate-joblist", "-i", source, "-o", joblist, "-d", destination, "--layout", "tree"],
        ["transfer-worker", "-i", joblist, "--compression", compression],
    ):
        name, *arguments = map(str, command)
        cost, failure = measured([str(BIN / name), *arguments], server.environment)
        assert not failure, failure
    return cost


def size_of(folder: Path) -> int:
    """Return the size of all files below a folder, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def shown(row: dict[str, object]) -> str:
    """Return a row of the table."""
    there, back = (row[way] for way in ("there", "back"))
    assert isinstance(there, dict)
    assert isinstance(back, dict)
    return (
        f"| {row['data']} | {row['compression']} | {row['stored']:.0%} | "
        f"{there['wall']:.1f} s · {there['cpu']:.1f} s · {there['mebibytes']:.0f} MiB | "
        f"{back['wall']:.1f} · {back['cpu']:.1f} |"
    )


if __name__ == "__main__":
    main()
