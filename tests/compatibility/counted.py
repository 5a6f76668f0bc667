"""A ``transfer-worker`` that counts the bytes that it writes to files at given offsets.

Run as ``python -m tests.compatibility.counted NOTE OPTION…``. At its end the number is in NOTE.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path


def main() -> None:
    """Run a worker with these options, and count."""
    note, *options = sys.argv[1:]
    original = os.pwrite
    lock, total = threading.Lock(), 0

    def counting(descriptor: int, data: bytes, offset: int) -> int:
        nonlocal total
        written = original(descriptor, data, offset)
        with lock:
            total += written
        return written

    os.pwrite = counting
    from jobtool.cli import transfer
    from jobtool.stores.local import small

    small.extension = None  # it doesn't call os.pwrite
    sys.argv = ["transfer-worker", *options]
    try:
        transfer.main()
    finally:
        Path(note).write_text(str(total))


if __name__ == "__main__":
    main()
