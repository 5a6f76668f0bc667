"""Make partitions of Parquet files like those of a distributed image downloader.

Each server has numbered partitions; ``completed`` marks one whose download is finished.
The last partition of all lacks that mark and has half its rows; the first one is complete and
has no ``errors.parquet``, as there were no errors. The same arguments give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import uuid
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
import pyarrow.parquet as pq  # type: ignore[import-untyped, unused-ignore]
from _common import claim, summary, whole

URLS = ("https://{}.example:80", "https://{}.example", "http://{}.example:8080")
SUCCESSES = pa.schema(
    [
        ("uuid", pa.string()),
        ("identifier", pa.string()),  # the address of the image
        ("image", pa.binary()),
        ("width", pa.int32()),  # pixels, as is height
        ("height", pa.int32()),
        ("hashsum_original", pa.string()),  # MD5, 32 hexadecimal digits, as is the next one
        ("hashsum_resized", pa.string()),  # of the column image
    ]
)
ERRORS = pa.schema(
    [
        ("uuid", pa.string()),
        ("identifier", pa.string()),
        ("retry_count", pa.int32()),
        ("error_code", pa.int32()),  # HTTP status
        ("error_msg", pa.string()),
    ]
)
MESSAGES = {403: "Forbidden", 404: "Not Found", 408: "Request Timeout", 503: "Service Unavailable"}


def server_url(number: int) -> str:
    """Return the address of a server: host a, b, ... z, a1, b1 and so on."""
    turn, letter = divmod(number, 26)
    return URLS[number % len(URLS)].format(chr(ord("a") + letter) + (str(turn) if turn else ""))


def new_uuid(rng: np.random.Generator) -> str:
    """Return a version 4 UUID that depends only on the state of ``rng``."""
    return str(uuid.UUID(bytes=rng.bytes(16), version=4))


def md5(data: bytes) -> str:
    """Return the MD5 digest of ``data`` in 32 hexadecimal digits."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def successes(rng: np.random.Generator, url: str, rows: int) -> pa.Table:
    """Return a table of ``rows`` images, each 1 to 8 KiB of random bytes."""
    records = []
    for row in range(rows):
        image = rng.bytes(int(rng.integers(1024, 8192, endpoint=True)))
        records.append(
            {
                "uuid": new_uuid(rng),
                "identifier": f"{url}/images/{row}.jpg",
                "image": image,
                "width": int(rng.integers(64, 720, endpoint=True)),
                "height": int(rng.integers(64, 720, endpoint=True)),
                "hashsum_original": md5(rng.bytes(16)),
                "hashsum_resized": md5(image),
            }
        )
    return pa.Table.from_pylist(records, schema=SUCCESSES)


def errors(rng: np.random.Generator, url: str, rows: int) -> pa.Table:
    """Return a table of ``rows`` downloads that failed after up to 5 retries."""
    records = []
    for row in range(rows):
        code = int(rng.choice(list(MESSAGES)))
        records.append(
            {
                "uuid": new_uuid(rng),
                "identifier": f"{url}/missing/{row}.jpg",
                "retry_count": int(rng.integers(0, 5, endpoint=True)),
                "error_code": code,
                "error_msg": MESSAGES[code],
            }
        )
    return pa.Table.from_pylist(records, schema=ERRORS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return 0, or 2 if OUT is in use."""
    parser = argparse.ArgumentParser(
        description="Make partitions of Parquet files below OUT.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("out", metavar="OUT", type=Path, help="a new or empty folder")
    add("--servers", type=whole(1), default=3, help="number of image servers")
    add("--partitions", type=whole(1), default=3, help="per server")
    add("--rows", type=whole(1), default=200, help="images per partition")
    add("--seed", type=whole(0), default=8, help="of the random numbers")
    args = parser.parse_args(argv)
    total = args.servers * args.partitions
    if total < 2:
        parser.error("at least 2 partitions are needed, as the last one stays unfinished")
    if not claim(args.out):
        return 2

    for index in range(total):
        server, partition = divmod(index, args.partitions)
        url = server_url(server)
        rng = np.random.default_rng([args.seed, server, partition])
        finished = index < total - 1
        rows = args.rows if finished else (args.rows + 1) // 2
        name = f"server_name={quote(url, safe='')}"
        folder = args.out / "images" / name / f"partition_id={partition}"
        folder.mkdir(parents=True)
        pq.write_table(successes(rng, url, rows), folder / "successes.parquet")
        if index > 0:
            pq.write_table(errors(rng, url, -(-rows // 10)), folder / "errors.parquet")
        if finished:
            (folder / "completed").touch()
    made = f"{total - 1} finished partitions and 1 unfinished of {args.servers} servers"
    print(summary(made, args.out))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
