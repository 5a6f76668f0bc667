"""Programs that lie: ``PROGRAM LIE ARGUMENT…``. They end with 0, whatever they have done.

They take the last arguments of rsync and scp. A server's path is one of this machine.
"""

from __future__ import annotations

import os
import sys


def lie_of(path: str, kind: str) -> bytes:
    """What is written in place of a file."""
    with open(path, "rb") as file:
        data = file.read()
    return data[: len(data) // 2] if kind == "half" else bytes(len(data))


def main() -> None:
    """Lie."""
    program, kind, *arguments = sys.argv[1:]
    if arguments == ["--version"]:
        print("rsync  version 3.2.7  protocol version 31")
        return
    sources, target = arguments[arguments.index("--") + 1 : -1], arguments[-1].partition(":")[2]
    if program == "rsync":
        names = [os.fsdecode(name) for name in sys.stdin.buffer.read().split(b"\0") if name]
        pairs = [(os.path.join(sources[0], name), os.path.join(target, name)) for name in names]
    else:
        pairs = [(path, os.path.join(target, os.path.basename(path))) for path in sources]
    if program == "scp" and not os.path.isdir(target):
        pairs = [(sources[0].partition(":")[2], arguments[-1])]  # one file from the server
    for source, there in pairs:
        print(">" + os.path.normpath(os.path.relpath(source, sources[0])))
        if kind == "nothing":
            continue
        folder, name = os.path.split(there)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, name + "x" * (kind == "other-names")), "wb") as file:
            file.write(lie_of(source, kind))


main()
