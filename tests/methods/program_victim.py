"""A worker's stand-in that runs a program and is killed meanwhile: ``FOLDER PROGRAM ARGUMENT…``."""

from __future__ import annotations

import sys
from pathlib import Path

from jobtool.methods.program.log import ProgramLog
from jobtool.methods.program.running import Running
from jobtool.methods.program.surroundings import environment_for
from jobtool.stop import Stop

folder, *arguments = sys.argv[1:]
with Running(
    arguments,
    environment=environment_for(),
    log=ProgramLog(str(Path(folder) / "log")),
    stop=Stop(),
    stall_seconds=600,
) as running:
    for line in running.lines():
        if line is not None:
            print(line, flush=True)
