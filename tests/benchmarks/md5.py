"""How fast MD5 is for one message and for many at a time.

    python -m tests.benchmarks.md5

Each thread hashes messages of 8 MiB. Prints what all threads hash in a second of wall time and in a
second of CPU time. ``lanes`` is the extension, if it is built here.
"""

from __future__ import annotations

import os
import threading
import time

from jobtool import md5

_MESSAGE_BYTES = 8 * 1024 * 1024
_MESSAGES = 12
_FIRST_STATE = bytes.fromhex("0123456789abcdeffedcba9876543210")


def measured(add_blocks: md5.AddBlocks, threads: int) -> tuple[float, float]:
    """Return GB a second of wall time and of CPU time."""
    data = [os.urandom(_MESSAGE_BYTES) for _ in range(4)]
    ready = threading.Barrier(threads + 1)

    def run(first: int) -> None:
        ready.wait()
        for number in range(_MESSAGES):
            add_blocks(_FIRST_STATE, data[(first + number) % len(data)])

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    ready.wait()
    wall, cpu = time.perf_counter(), time.process_time()
    for thread in running:
        thread.join()
    size = threads * _MESSAGES * _MESSAGE_BYTES / 1e9
    return size / (time.perf_counter() - wall), size / (time.process_time() - cpu)


def main() -> None:
    """Measure each function that is here."""
    for name, add_blocks in (("lanes", md5.by_lanes()), ("openssl", md5.by_openssl())):
        for threads in (1, 2, 4, 8, 16) if add_blocks is not None else ():
            wall, cpu = measured(add_blocks, threads)
            print(f"{name:8} {threads:3} messages {wall:6.2f} GB/s wall {cpu:6.2f} GB/s CPU")


if __name__ == "__main__":
    main()
