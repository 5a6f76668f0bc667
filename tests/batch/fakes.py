"""Stand-ins for the programs that a batch script calls: they write down how they were called."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TIMEOUT_SECONDS = 30

# Ends with $NAME_CODE. While a worker runs, somebody puts the file $asked into the joblist. One
# with $UNTIL_SIGNAL works until a signal, and a little longer.
_FAKE = """\
#!/bin/bash
name=${0##*/}
trap 'echo "$name got USR1"; sleep 0.3; echo "$name ends"; exit "${worker_code:-0}"' USR1
trap 'echo "$name got TERM"; exit 143' TERM
{ printf '%s\\0' "$name" "$@"; printf '\\0'; } >> "$RECORD/calls"
case $name in
    qsub) cat > "$RECORD/submitted"; exit "${again_code:-0}" ;;
    scontrol) exit "${again_code:-0}" ;;
esac
[ -z "${asked:-}" ] || cp "$asked" control.json
if [ -n "${UNTIL_SIGNAL:-}" ]; then
    touch "$RECORD/working"
    while :; do sleep 0.05; done
fi
exit "${worker_code:-0}"
"""
_PROGRAMS = ("transfer-worker", "mpirun", "srun", "scontrol", "qsub")

#: The variables that Slurm and PBS set for a job; arrays have more.
JOB = {"SLURM_JOB_ID": "12", "PBS_JOBID": "12.server"}
ELEMENT = {**JOB, "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3", "PBS_ARRAY_INDEX": "3"}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a script ended, what it printed, and the calls of programs, each with its arguments."""

    exit_code: int
    stdout: str
    stderr: str
    calls: list[list[str]]

    def of(self, *names: str) -> list[list[str]]:
        """The calls of the programs with these names."""
        return [call for call in self.calls if call[0] in names]


class FakeCluster:
    """Runs scripts in ``folder`` as a scheduler would, with the stand-ins first on the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs = folder / "programs"
        self._programs.mkdir(parents=True)
        for name in _PROGRAMS:
            (self._programs / name).write_text(_FAKE)
            (self._programs / name).chmod(0o755)

    def start(self, text: str, variables: Mapping[str, str], **more: str) -> subprocess.Popen[str]:
        """Start a script, saved as transfer.pbs, where jobs of PBS look for their script."""
        script = self.folder / "transfer.pbs"
        script.write_bytes(os.fsencode(text))
        path = f"{self._programs}:{os.environ['PATH']}"
        place = {"PATH": path, "RECORD": str(self.folder), "PBS_O_WORKDIR": str(self.folder)}
        return subprocess.Popen(
            ["bash", str(script)],
            env={**place, **variables, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
        )

    def finish(self, process: subprocess.Popen[str]) -> Ended:
        """Wait for a script."""
        stdout, stderr = process.communicate(timeout=_TIMEOUT_SECONDS)
        path = self.folder / "calls"
        data = path.read_bytes() if path.exists() else b""
        calls = [os.fsdecode(call).split("\0") for call in data.split(b"\0\0")[:-1]]
        return Ended(process.returncode, stdout, stderr, calls)

    def run(self, text: str, variables: Mapping[str, str] = JOB, **more: str) -> Ended:
        """Run a script to its end."""
        return self.finish(self.start(text, variables, **more))

    def wait_until_working(self) -> None:
        """Return when the stand-in for the worker, or for its launcher, is running."""
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while not (self.folder / "working").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
