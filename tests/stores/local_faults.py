"""The errors of a local store for failing system calls: a line of JSON for each trial.

Run as ``python -m tests.stores.local_faults FOLDER`` with ``tests/faults/faults.c`` preloaded:
one process for all trials.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from jobtool.errors import JobtoolError
from jobtool.md5 import md5_of
from jobtool.stores.local import LocalStore
from jobtool.stores.store import Attributes, Part
from tests.trees import contents, write

DATA = b"data" * 1000
WHOLE = Attributes(mtime_ns=0, md5=md5_of(DATA))
ONLY_NEW = Attributes(mtime_ns=0, md5=md5_of(DATA), may_replace=False)
PART = Part(number=1, offset=0, size=len(DATA), md5=md5_of(DATA))

READ_CODES = """
    EACCES EPERM ENOKEY EKEYEXPIRED EIO ESTALE ETIMEDOUT EAGAIN EBUSY EMFILE ENFILE ENOMEM ENODEV
    ENOTCONN ESHUTDOWN EHOSTDOWN EHOSTUNREACH ECONNREFUSED EREMOTEIO ENOENT ENOTDIR ENAMETOOLONG
    EINVAL ELOOP EUCLEAN EXFULL
""".split()
WRITE_CODES = """
    EACCES EPERM EIO ESTALE ETIMEDOUT EAGAIN EMFILE ENOMEM ENODEV ENOSPC EDQUOT EROFS ENOTCONN
    EHOSTDOWN ENAMETOOLONG EISDIR EINVAL EILSEQ EFBIG EXFULL
""".split()

_faults = ctypes.CDLL(None)


def trial(
    name: str, root: Path, fault: tuple[str, str, str], work: Callable[[LocalStore], object]
) -> None:
    """Use a store while a call fails; print the result."""
    store = LocalStore(str(root), owner="we")
    call, where, code = fault
    _faults.fault_arm(call.encode(), f"{root}{where}".encode(), getattr(errno, code), 0, -1)
    raised = message = None
    try:
        work(store)
    except JobtoolError as error:
        raised, message = type(error).__name__, str(error)
    hits = _faults.fault_hits()
    _faults.fault_arm(b"", b"", 0, 0, 0)
    left = {path: data == DATA for path, data in contents(root).items()}
    told = {"name": name, "raised": raised, "message": message, "hits": hits, "left": left}
    print(json.dumps(told))


def main() -> None:
    """Run all trials, each in a folder of its own."""
    base = Path(sys.argv[1])

    def folder(name: str) -> Path:
        return write(base / name / "old", DATA).parent

    for code in READ_CODES:
        place = folder(f"read {code}")
        trial(f"read {code}", place, ("open", "/old", code), lambda store: store.digest("old"))
    for code in WRITE_CODES:
        place = folder(f"write {code}")
        fault = ("pwrite", "/", code)
        trial(f"write {code}", place, fault, lambda store: store.write("new", [DATA], WHOLE))
    for call in ("open", "pwrite", "close"):
        place = folder(f"access {call}")
        fault = (call, "/.jobtool-", "EDQUOT" if call == "close" else "EACCES")
        trial(f"access {call}", place, fault, lambda store: store.check_access(write=True))
    fault = ("readdir", "", "EACCES")
    trial("access list", folder("list"), fault, lambda store: store.check_access(write=False))
    fault = ("none", "", "EIO")
    trial("access", folder("access"), fault, lambda store: store.check_access(write=True))

    fault = ("renameat2", "", "EINVAL")  # as on NFS
    trial("only new", folder("only"), fault, lambda store: store.write("new", [DATA], ONLY_NEW))
    trial("there", folder("there"), fault, lambda store: store.write("old", [b""], only(b"")))
    place = folder("held")
    upload = LocalStore(str(place), owner="we").begin("new", WHOLE)
    LocalStore(str(place), owner="we").put_part(upload, 1, 0, DATA, PART.md5)
    fault = ("fdatasync", "/", "EIO")
    trial("held parts", place, fault, lambda store: store.held_parts(upload, [PART]))
    os.unlink(upload.token)
    trial("prove", folder("prove"), fault, lambda store: store.prove("old", WHOLE.md5 or "", ""))

    def prove_and_sync(store: LocalStore) -> None:
        store.prove("old", WHOLE.md5 or "", "")
        store.sync()

    def sync_twice(store: LocalStore) -> None:
        store.write("new", [DATA], WHOLE)
        try:
            store.sync()
        except JobtoolError:
            _faults.fault_arm(b"", b"", 0, 0, 0)
        store.sync()

    fault = ("syncfs", "", "EIO")
    trial("sync what was proven", folder("proven"), fault, prove_and_sync)
    trial("sync twice", folder("twice"), fault, sync_twice)


def only(data: bytes) -> Attributes:
    """The attributes of a file that must not replace another."""
    return Attributes(mtime_ns=0, md5=md5_of(data), may_replace=False)


if __name__ == "__main__":
    main()
