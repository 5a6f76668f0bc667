"""The methods stream, rsync and scp to and from an SSH server on loopback, files proven by each.

    python -m tests.benchmarks.over_ssh FOLDER [--small 1000] [--large 2] [--mebibytes 512]

Prints seconds of wall time for each method and direction: for small files of 10 KiB, and for large
files. FOLDER is best on a tmpfs. Needs sshd, scp and rsync.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from pathlib import Path

from tests.methods.lab import Lab
from tests.servers.sftp import SftpServer, sftp_server

METHODS = ("stream", "rsync", "scp")
_BLOCK_BYTES = 1 << 20


def measured(folder: Path, server: SftpServer, source: Path, is_upload: bool, method: str) -> float:
    """Transfer the files of a source; return the seconds."""
    lab = Lab(folder, server, is_upload=is_upload)
    lab.source = source
    lab.generate()
    began_at = time.monotonic()
    done = lab.transfer(method)
    seconds = time.monotonic() - began_at
    if done.succeeded != 1:
        raise SystemExit(f"{method}: {lab.told()}")
    for path in (lab.out, lab.joblist):
        shutil.rmtree(path)
    return seconds


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", type=int, default=1000)
    parser.add_argument("--large", type=int, default=2)
    parser.add_argument("--mebibytes", type=int, default=512)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        sources = {}
        for name, count, size in (
            (f"{options.small} × 10 KiB", options.small, 10 * 1024),
            (f"{options.large} × {options.mebibytes} MiB", options.large, options.mebibytes << 20),
        ):
            sources[name] = folder / f"in{len(sources)}"
            (sources[name] / "item").mkdir(parents=True)
            for number in range(count):
                random_bytes = random.Random(number).randbytes
                with (sources[name] / "item" / str(number)).open("wb") as file:
                    for offset in range(0, size, _BLOCK_BYTES):
                        file.write(random_bytes(min(_BLOCK_BYTES, size - offset)))
        (folder / "server").mkdir()
        with sftp_server(folder / "server") as server:
            for name, source in sources.items():
                for is_upload in (True, False):
                    for method in METHODS:
                        seconds = measured(folder, server, source, is_upload, method)
                        way = "to the server" if is_upload else "from the server"
                        print(f"{name:16} {way:16} {method:8} {seconds:7.1f} s", flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
