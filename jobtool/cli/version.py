"""``--version``: the versions of what a report about a problem needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from jobtool import __version__

Command = TypeVar("Command", bound=Callable[..., Any])

#: The packages that carry requests, bytes and tables, as they are named on PyPI.
_PACKAGES = ("boto3", "botocore", "obstore", "pyarrow", "mpi4py")

#: How long ``mpirun --version`` may take.
_PATIENCE_SECONDS = 5.0


def version_option(function: Command) -> Command:
    """Add ``--version``."""
    option: Callable[[Command], Command] = click.option(
        "--version",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show,
        help="Show the versions of jobtool and of what it works with, and exit.",
    )
    return option(function)


def lines() -> Iterator[str]:
    """Yield one line for each version. No package is imported for it."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    yield f"jobtool {__version__}"
    yield f"Python {platform.python_version()}"
    for name in _PACKAGES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} not installed"
    yield _mpi()
    yield platform.platform()


def _show(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        for line in lines():
            click.echo(line)
        context.exit()


def _mpi() -> str:
    """Return what ``mpirun`` says of itself: only a running MPI knows its library's version."""
    import shutil
    import subprocess

    path = shutil.which("mpirun")
    if path is None:
        return "mpirun not found"
    try:
        done = subprocess.run(
            [path, "--version"],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"mpirun at {path}: {error}"
    said = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return said[0] if said else f"mpirun at {path} doesn't tell its version"
