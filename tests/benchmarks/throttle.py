"""How exactly ``--bandwidth`` holds: the bytes that arrive, over all ranks, in ten seconds.

    python tests/benchmarks/throttle.py FOLDER [--bandwidth 50MB/s] [--ranks 4] [--seconds 30]
        [--file-bytes 40000000] [--method rsync]

The ranks copy files from a folder to a folder, enough for the time at that rate; with another
method than ``stream``, to an SSH server on loopback, which needs sshd. The bytes that the
destination holds are counted four times a second. Files arrive in parts of 8 MiB, while the limit
is on reading: so a window may have a part more or less. FOLDER needs room for twice the files; a
memory filesystem is best. The whole is from the first parts that arrive to the last: so it has the
end, when some ranks have nothing left. On a machine whose cores are busy the ranks move less.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

import jobtool
from jobtool.jobs.limits import Bandwidth
from tests.commands import BIN, finish, mpirun_environment, start
from tests.servers.sftp import sftp_server

WINDOW_SECONDS = 10.0
_SAMPLE_SECONDS = 0.25


def bytes_in(folder: Path) -> int:
    """Return the bytes on the medium below a folder, of unfinished files too."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(path, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bandwidth", default="50MB/s")
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--file-bytes", type=int, default=40_000_000)
    parser.add_argument("--method", default="stream")
    arguments = parser.parse_args()
    rate = Bandwidth.parse(arguments.bandwidth).rest
    assert rate is not None, "a rate is measured"
    count = max(arguments.ranks, round(rate * arguments.seconds / arguments.file_bytes))
    count -= count % -arguments.ranks  # as many for each rank
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(dir=arguments.folder))
        items, joblist, copy = (Path(name) / word for word in ("in", "list", "out"))
        block = os.urandom(arguments.file_bytes)
        for number in range(count):
            path = items / f"item{number % arguments.ranks}" / f"{number:04}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(block)
        destination, stores = str(copy), {}
        if arguments.method != "stream":
            server = stack.enter_context(sftp_server(Path(name)))
            destination = f"sftp://{server.user}@127.0.0.1:{server.ports['shell']}{copy}"
            stores = {"sftp": server.settings()}
        jobtool.generate_joblist(
            items, joblist, destination=destination, layout="tree", stores=stores
        )
        command = ("mpirun", "--oversubscribe", "-n", arguments.ranks, BIN / "transfer-worker")
        options = ("-i", joblist, "--bandwidth", arguments.bandwidth)
        options += ("--methods", arguments.method)
        worker = start(*command, *options, env=mpirun_environment())
        samples = [(time.monotonic(), 0)]
        while worker.poll() is None:
            time.sleep(_SAMPLE_SECONDS)
            samples.append((time.monotonic(), bytes_in(copy)))
        done = finish(worker)
        assert done.exit_code == 0, done
    report(samples, rate)


def report(samples: list[tuple[float, int]], rate: float) -> None:
    """Print the rates of the whole and of the windows, in percent of the limit."""
    total = samples[-1][1]
    first = next(index for index, (_, size) in enumerate(samples) if size)
    last = next(index for index, (_, size) in enumerate(samples) if size == total)
    moved = total - samples[first][1]
    seconds = samples[last][0] - samples[first][0]
    print(
        f"whole: {moved / 1e6:.0f} MB in {seconds:.1f} s, {moved / seconds / rate:.1%} of the limit"
    )
    found = []
    for index in range(first, last):
        begin, size = samples[index]
        later = [sample for sample in samples[index:last] if sample[0] - begin >= WINDOW_SECONDS]
        if later:
            found.append((later[0][1] - size) / (later[0][0] - begin) / rate)
    if found:
        print(
            f"{len(found)} windows of {WINDOW_SECONDS:.0f} s: from {min(found):.1%} to "
            f"{max(found):.1%}, mean {sum(found) / len(found):.1%}"
        )


if __name__ == "__main__":
    main()
