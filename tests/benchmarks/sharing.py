"""What sharing one large job gains: its wall time with and without, in the same run.

    python tests/benchmarks/sharing.py FOLDER [--parts 120] [--ranks 4] [--seconds-per-part 0.4]

One job of one file in many parts goes to an S3 server that takes so long for each part on each
connection, as one node's share of a network does. Each rank sends one part at a time, so a worker
alone is bound by that; the figures of a file of 20 GB in 16 MiB parts scale alike.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.commands import BIN, finish, run_ok, start
from tests.resilience.proxy import proxy_before
from tests.servers import rclone_server
from tests.worker.test_sharing import PART_BYTES, make_joblist, slow


def measure(folder: Path, env: dict[str, str], bucket: str, ranks: int, *options: str) -> float:
    """Return the wall time in seconds of one run."""
    joblist = make_joblist(folder, bucket)
    env |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    command = ("mpirun", "--oversubscribe", "-n", ranks, BIN / "transfer-worker", "-i", joblist)
    started = time.monotonic()
    done = finish(start(*command, "--threads", 1, *options, env=env))
    seconds = time.monotonic() - started
    assert done.exit_code == 0, done
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parts", type=int, default=120)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--seconds-per-part", type=float, default=0.4)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=arguments.folder) as name,
        rclone_server(Path(name)) as server,
    ):
        seconds = {}
        for option in ("--no-share", "--share"):
            folder = Path(name) / option.strip("-")
            plate = folder / "in" / "plate"
            plate.mkdir(parents=True)
            with open(plate / "image.tif", "wb") as file:
                for _ in range(arguments.parts):
                    file.write(os.urandom(PART_BYTES))
            with proxy_before(server.endpoint_url, slow(arguments.seconds_per_part)) as proxy:
                env = {**server.environment, "AWS_ENDPOINT_URL": proxy.endpoint_url}
                seconds[option] = measure(folder, env, server.new_bucket(), arguments.ranks, option)
            run_ok("summarise-jobs", "-i", folder / "list")
            print(f"{option:>10}: {seconds[option]:6.1f} s")
        print(f"with sharing / without: {seconds['--share'] / seconds['--no-share']:.2f}")


if __name__ == "__main__":
    main()
