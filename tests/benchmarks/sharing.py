"""The gain from sharing one large job: its wall time with and without, in the same run.

    python tests/benchmarks/sharing.py FOLDER [--parts 120] [--ranks 4] [--seconds-per-part 1]

One job of one file in many parts goes to an S3 server that takes a fixed time for each part on each
connection, as one node's share of a network does. Each rank sends one part at a time, so a worker
alone is bound by that. A file of 10 GB in parts of 8 MiB has 1,192 of them; here they have 5 MiB.
FOLDER needs room for twice the file, memory for once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.cluster.test_sharing import PART_BYTES, make_joblist, slow
from tests.commands import BIN, finish, mpirun_environment, run_ok, start
from tests.faults.proxy import proxy_before
from tests.servers.s3 import rclone_server


def measure(joblist: Path, env: dict[str, str], ranks: int, timeout: float, option: str) -> float:
    """Return the wall time in seconds of one run, from the start of mpirun to its end."""
    env |= mpirun_environment()
    command = ("mpirun", "--oversubscribe", "-n", ranks, BIN / "transfer-worker", "-i", joblist)
    started = time.monotonic()
    done = finish(start(*command, "--threads", 1, option, env=env), timeout)
    seconds = time.monotonic() - started
    assert done.exit_code == 0, done
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parts", type=int, default=120)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--seconds-per-part", type=float, default=1.0)
    arguments = parser.parse_args()
    timeout = 120 + 2 * arguments.parts * arguments.seconds_per_part
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
                joblist = make_joblist(folder, server.new_bucket())
                seconds[option] = measure(joblist, env, arguments.ranks, timeout, option)
            run_ok("summarise-jobs", "-i", joblist)
            shutil.rmtree(folder)
            shutil.rmtree(server.folder)
            server.folder.mkdir()
            print(f"{option:>10}: {seconds[option]:6.1f} s", flush=True)
        print(f"with sharing / without: {seconds['--share'] / seconds['--no-share']:.2f}")


if __name__ == "__main__":
    main()
