"""Transfers a folder's files by a ``TransferClient``, until it is killed or done.

``python -m tests.chunks.victim FOLDER MODE FS DEATH``: from ``FOLDER/in`` to ``FOLDER/out``, with
the state file ``FOLDER/state``. MODE is ``merge`` or ``place``, with ``+verify`` or without. FS is
``none``, ``fsspec``, or a container of Azure: ``merge`` uploads to it and ``place`` downloads from
it. DEATH names the moment at which the process kills itself, or is ``-``. Each
chunk that is sent adds a line to ``FOLDER/sent``.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from jobtool.chunks import TransferClient, statefile
from tests.chunks import functions

CHUNKSIZE = 10_000


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    folder, mode, kind, death = Path(sys.argv[1]), *sys.argv[2:5]
    # Write at each opportunity, so that kills meet all orders of writes.
    statefile._PAUSE_SECONDS, statefile._SHARE = 0.0, 1e9
    signal.signal(signal.SIGINT, signal.default_int_handler)
    fs: Any = None
    if kind == "fsspec":
        import fsspec

        fs = fsspec.filesystem("file")
    is_merged = mode.startswith("merge")
    source, target, local = f"{folder}/in", f"{folder}/out", None
    if kind not in ("none", "fsspec"):
        from tests.chunks.lake import Lake

        fs = Lake(os.environ["AZURE_STORAGE_CONNECTION_STRING"])
        if is_merged:
            target, local = kind, "source"
        else:
            source, local = kind, "target"
    copy = functions.put_whole if is_merged else functions.put_at

    def transfer(fs: Any, src: str, dst: str, offset: int, size: int, *rest: Any) -> int:
        with (folder / "sent").open("a") as sent:
            sent.write(f"{Path(src).name} {offset}\n")
        time.sleep(random.uniform(0, 0.01))
        if death == "half a chunk" and offset == 5 * CHUNKSIZE:
            copy(fs, src, dst, offset, size // 2, *rest)
            die()
        if death == "long after a hole" and offset:
            if offset == 8 * CHUNKSIZE:
                copy(fs, src, dst, offset, size, *rest)
                time.sleep(0.3)
                die()
            time.sleep(5)
        return copy(fs, src, dst, offset, size, *rest)

    def merge(fs: Any, outfile: str, files: list[str]) -> None:
        if death == "half a merge":
            functions.merge(fs, outfile, files[:3])
            die()
        functions.merge(fs, outfile, files)
        if death == "after a merge":
            die()

    client = TransferClient(
        fs,
        transfer,
        merge if is_merged else None,
        nthreads=4 if death != "long after a hole" else 16,
        chunksize=CHUNKSIZE,
        prepare=functions.prepare,
        verify=functions.verify if mode.endswith("verify") else None,
        local=local,
        persist_path=folder / "state",
        backoff_seconds=0.01,
    )
    for path in sorted((folder / "in").iterdir()):
        client.submit(f"{source}/{path.name}", f"{target}/{path.name}")
    print("begun", flush=True)
    try:
        print(client.run(raise_on_error=True), flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)


if __name__ == "__main__":
    main()
