"""Where the joblists of an earlier version lie while they are made and while they are tested.

Job files, journals and tables hold absolute paths. The place is the same everywhere, so that the
files of the earlier version are used unchanged. Sources aren't kept: they are made again, with the
same bytes and times.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

ROOT = Path("/tmp/jobtool-compatibility")  # for its owner only, and one test at a time
JOBLISTS = Path(__file__).with_name("joblists")

PART_BYTES = 5 * 1024 * 1024
LARGE_BYTES = 6 * PART_BYTES + 1234

_FIRST_NS = 1_700_000_000_123_456_789

#: The names of the files of each job, and how large they are.
_MIXED = {"large.bin": LARGE_BYTES, ".zgroup": 24, **{f"0/{n}.bin": 2000 + n for n in range(12)}}
_SMALL = {f"0/{n}.bin": 2000 + n for n in range(3)}
_MANY = {f"{n % 4}/{n:03d}.bin": 500 + n for n in range(600)}

#: Each joblist and the files of its jobs.
SOURCES: dict[str, dict[str, dict[str, int]]] = {
    "todo": {"one": _SMALL, "other": _SMALL},
    "success": {"one": _SMALL, "other": _SMALL},
    "error": {"bad": _SMALL, "good": _SMALL},
    "ongoing": {"one": _MIXED},
    "ongoing-s3": {"one": _MIXED},
    "lent": {"one": _MANY},
    "lent-s3": {"one": _MANY},
    "older-form": {"one": _SMALL, "other": _SMALL},
}


def bucket_of(case: str) -> str:
    """Return the name of the bucket that a joblist writes to."""
    return f"compatibility-{case}"


def destination_of(case: str) -> str:
    """Return where a joblist's files go."""
    return f"s3://{bucket_of(case)}" if case.endswith("-s3") else str(ROOT / case / "out")


def make_source(case: str) -> Path:
    """Make the source of a joblist; the same at any time."""
    root = ROOT / case / "in"
    random_bytes = random.Random(case).randbytes
    number = 0
    for job, files in SOURCES[case].items():
        for name, size in files.items():
            path = root / job / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(random_bytes(size))
            number += 1
            os.utime(path, ns=(_FIRST_NS + number, _FIRST_NS + number))
    return root
