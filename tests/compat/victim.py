"""Transfers a folder's files by filesystem objects, until it is killed or done.

``python -m tests.compat.victim FOLDER DEATH``: from ``FOLDER/in`` to ``FOLDER/out``, with its state
in ``FOLDER/state``. DEATH is how many files are moved to their places before the process kills
itself in the middle of the next move, or ``-``. Each file that is begun adds a line to
``FOLDER/begun``.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from jobtool.compat.impala_transfer import FSSpecFileTransferManager


class Mortal(LocalFileSystem):
    """A filesystem whose process ends before one of its moves."""

    protocol = "mortal"
    left: int | None = None
    log = ""

    def open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        if "w" in mode:
            with open(self.log, "a") as file:
                file.write(f"{path}\n")
        return super().open(path, mode, **kwargs)

    def mv(self, path1: str, path2: str, **kwargs: Any) -> None:
        if self.left is not None:
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1
        super().mv(path1, path2, **kwargs)


def main() -> None:
    folder, death = Path(sys.argv[1]), sys.argv[2]
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    target = Mortal()
    target.log = str(folder / "begun")
    target.left = None if death == "-" else int(death)
    manager = FSSpecFileTransferManager(source_fs=LocalFileSystem(), target_fs=target)
    files = [str(path) for path in sorted((folder / "in").iterdir())]
    print(manager.transfer_files(files, "table", str(folder / "out")), flush=True)


if __name__ == "__main__":
    main()
