"""Many commands in one process, one after the other: a hundred that fail at once cost little.

Run as ``python -m tests.messages.many FILE``: a JSON list of argument lists. It prints a JSON list
of exit codes and of what each command has printed. The environment and the folder are its own.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from typing import Any, NoReturn

from tests.forked import BIN, MAINS


def _end(code: int) -> NoReturn:
    raise SystemExit(code)


def run_one(arguments: list[str]) -> tuple[int, str, str]:
    """Run a command with streams of its own; return its exit code and what it printed."""
    module, _, name = MAINS[arguments[0]].partition(":")
    sys.argv = [str(BIN / arguments[0]), *arguments[1:]]
    kept = [os.dup(number) for number in (1, 2)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        try:
            code: Any = getattr(importlib.import_module(module), name)()
        except SystemExit as end:
            code = end.code
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "surrogateescape"))
    return int(code or 0), texts[0], texts[1]


def main() -> None:
    """Run the commands."""
    from jobtool.cli import options

    options._exit_at_once = _end  # type: ignore[assignment] - the others come after it
    with open(sys.argv[1], encoding="utf-8") as file:
        asked = json.load(file)
    streams = sys.stdout, sys.stderr
    found = [run_one(arguments) for arguments in asked]
    sys.stdout, sys.stderr = streams
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
