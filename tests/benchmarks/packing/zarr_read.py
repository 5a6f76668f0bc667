"""Reads whole plates from S3 by zarr: through a file of references, or object by object.

    python -m tests.benchmarks.packing.zarr_read NAMES (--references FILE | --bucket NAME)

Prints the sum of all bytes, so that both ways can be compared.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

import zarr


def main() -> int:
    """Read; return 0."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="+")
    parser.add_argument("--references")
    parser.add_argument("--bucket")
    arguments = parser.parse_args()
    remote = {
        "asynchronous": True,
        "key": os.environ["AWS_ACCESS_KEY_ID"],
        "secret": os.environ["AWS_SECRET_ACCESS_KEY"],
        "client_kwargs": {"endpoint_url": os.environ["AWS_ENDPOINT_URL"]},
    }
    total = 0
    for name in arguments.names:
        if arguments.references:
            options: dict[str, Any] = {
                "fo": arguments.references,
                "remote_protocol": "s3",
                "remote_options": remote,
            }
            array = zarr.open_array(f"reference://{name}", mode="r", storage_options=options)
        else:
            url = f"s3://{arguments.bucket}/{name}"
            array = zarr.open_array(url, mode="r", storage_options=remote)
        total += int(array[:].sum(dtype="uint64"))  # type: ignore[union-attr]
    print(total)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
