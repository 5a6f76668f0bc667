"""Small source trees in the shapes of the layouts, and snapshots of folders."""

from __future__ import annotations

import os
from pathlib import Path

from jobtool.jobs.records import Receipt
from jobtool.jobs.table import read_table

OBJECTS = "aggregated/broad/cellpainting-gallery/cpg0016-jump/{}/workspace/segmentation/{}/objects"


def write(path: Path, data: bytes = b"data") -> Path:
    """Write a file and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def make_plate(
    root: Path,
    plate: str,
    *,
    batch: str = "J1",
    source: str = "source_8",
    method: str = "cellpose",
    chunks: int = 2,
    complete: bool = True,
) -> Path:
    """Make a plate of tiny chunks in the folder structure of JUMP; return its folder."""
    folder = root / OBJECTS.format(source, method) / batch / plate
    write(folder / "segmentation.log", os.fsencode(plate))
    if complete:
        write(folder / f"{plate}.zarr" / ".zgroup", b'{"zarr_format": 2}')
        for number in range(chunks):
            write(folder / f"{plate}.zarr" / "0" / f"0.{number}", os.fsencode(f"{plate} {number}"))
    return folder


def make_partition(
    root: Path,
    server: str,
    partition: int | str,
    *,
    errors: bool = True,
    successes: bool = True,
    completed: bool = True,
) -> Path:
    """Make a partition of a distributed download; return its folder."""
    folder = root / f"server_name={server}" / f"partition_id={partition}"
    folder.mkdir(parents=True)
    for name, wanted in (("successes", successes), ("errors", errors)):
        if wanted:
            write(folder / f"{name}.parquet", os.fsencode(f"{name} of {server} {partition}"))
    if completed:
        write(folder / "completed", b"")
    return folder


def make_items(root: Path, count: int, *, files: int = 2) -> Path:
    """Make a folder of ``count`` folders of small files, for the layout ``tree``."""
    for item in range(count):
        for number in range(files):
            write(root / f"item{item:03d}" / f"{number}.bin", f"{item} {number}\n".encode() * 20)
    return root


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every path below a folder with its modification time and bytes; folders have none."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in ["", *names]:
            path = os.path.join(folder, name)
            data = Path(path).read_bytes() if name else b""
            found[path] = (os.stat(path).st_mtime_ns, data)
    return found


def contents(root: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def status_of(jobfile: Path) -> str:
    """The first line of a job file."""
    return jobfile.read_bytes().split(b"\n")[0].decode()


def statuses(joblist: Path) -> dict[str, str]:
    """The first line of every job file, by its name without the suffix."""
    return {path.stem: status_of(path) for path in sorted(joblist.glob("*.txt"))}


def events(jobfile: Path, word: str) -> list[str]:
    """The log lines of a job file for one event."""
    log = jobfile.read_text(errors="surrogateescape").partition("\n---\n")[2]
    return [line for line in log.splitlines() if line.split(" ")[1:2] == [word]]


def receipts(joblist: Path) -> list[Receipt]:
    """The receipts of all finished jobs."""
    tables = sorted((joblist / "receipts").glob("*.parquet"))
    return [receipt for table in tables for receipt in read_table(str(table))]
