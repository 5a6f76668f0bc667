"""Commands in the test's own process, for what a test needs before it begins.

A worker that sends a few small files costs a third of the CPU of one in a process of its own, a
look at a source a seventh. What a test is about runs in a process: see ``tests.commands``.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

import pytest

from tests.commands import Done
from tests.forked import MAINS
from tests.jsonlines import check_output, command_of


def prepare(
    name: str, *arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Done:
    """Run ``generate-joblist`` or ``transfer-worker``, which must succeed."""
    cli = import_module(MAINS[name].partition(":")[0]).cli
    words = [str(argument) for argument in arguments]
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        _surroundings(env or {}, cwd),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        cli.make_context(name, list(words)) as context,
    ):
        code = cli.callback.__wrapped__(**context.params)  # without what ends the process
    done = Done(code, stdout.getvalue(), stderr.getvalue())
    assert (done.exit_code, done.stderr) == (0, ""), done
    if "--json" in words:
        check_output(str(command_of([name])), done.stdout)
    return done


@contextlib.contextmanager
def _surroundings(env: Mapping[str, str], cwd: Path | None) -> Iterator[None]:
    before = dict(os.environ)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in env.items():
                patch.setenv(variable, value)
            if cwd is not None:
                patch.chdir(cwd)
            yield
    finally:
        for variable in os.environ.keys() - before.keys():  # what the command itself has set
            del os.environ[variable]
