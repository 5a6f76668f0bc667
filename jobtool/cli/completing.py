"""What shells complete: joblists, jobs, layouts, files and folders.

An option or argument is recognised by its metavar, so that a new one needs no more than that.
Options, commands and choices are completed by click. All this runs at each press of the Tab key:
nothing is imported that a command's help doesn't need.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator

import click
from click.shell_completion import CompletionItem, split_arg_string
from click.types import StringParamType

_SETTINGS = "joblist.toml"

#: The end of a job file's name.
_JOB_FILE = ".txt"

#: What a shell takes as one word, without quotes. Nothing else is offered: the shells put a
#: completion on the command line as it is.
_PLAIN = re.compile(r"[\w@%+=:,./~-]+")


class Completed(StringParamType):
    """A text whose values a shell completes."""

    def __init__(self, values: Callable[[str], Iterator[CompletionItem]]) -> None:
        self._values = values

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the values that begin with ``incomplete``; none where a folder can't be read."""
        found: list[CompletionItem] = []
        with contextlib.suppress(OSError):
            found.extend(self._values(incomplete))
        return found


def complete(parameter: click.Parameter) -> None:
    """Have a text of an option or argument completed, if its metavar says what it is."""
    if parameter.type is click.STRING and (values := _values_of(parameter)) is not None:
        parameter.type = Completed(values)


def is_asked() -> bool:
    """Return True if a shell has started this program to complete a line."""
    return "COMP_WORDS" in os.environ and "COMP_CWORD" in os.environ


def joblists(incomplete: str) -> Iterator[CompletionItem]:
    """Yield the joblists that begin so; if there are none, have the shell complete folders."""
    folder, _, begin = incomplete.rpartition("/")
    found = [
        f"{folder}/{name}" if "/" in incomplete else name
        for name in sorted(os.listdir(_path(f"{folder}/" if "/" in incomplete else ".")))
        if name.startswith(begin) and not (name.startswith(".") and not begin)
    ]
    lists = [path for path in found if is_joblist(path) and _PLAIN.fullmatch(path)]
    yield from map(CompletionItem, lists)
    if not lists:
        yield from folders(incomplete)


def jobs(incomplete: str) -> Iterator[CompletionItem]:
    """Yield the names of jobs of the joblist that the command line names."""
    words = split_arg_string(os.environ.get("COMP_WORDS", ""))
    joblist = next((word for word in words if is_joblist(word)), None)
    if joblist is None:
        return
    for name in sorted(os.listdir(_path(joblist))):
        job, end = os.path.splitext(name)
        if end == _JOB_FILE and job.startswith(incomplete) and _PLAIN.fullmatch(job):
            yield CompletionItem(job)


def layouts(incomplete: str) -> Iterator[CompletionItem]:
    """Yield the layouts that jobtool brings; if none begins so, have the shell complete files."""
    from jobtool.layouts.layout import AUTO, MANIFEST, PACKAGES, PRESETS

    found = [name for name in (AUTO, *PRESETS, MANIFEST, PACKAGES) if name.startswith(incomplete)]
    yield from map(CompletionItem, found)
    if not found:
        yield from files(incomplete)


def files(incomplete: str) -> Iterator[CompletionItem]:
    """Have the shell complete a file or folder."""
    yield CompletionItem(incomplete, type="file")


def folders(incomplete: str) -> Iterator[CompletionItem]:
    """Have the shell complete a folder."""
    yield CompletionItem(incomplete, type="dir")


def is_joblist(path: str) -> bool:
    """Return True if the folder holds the settings of a joblist."""
    return os.path.isfile(os.path.join(_path(path), _SETTINGS))


#: What the words of a metavar say.
_BY_WORD = {
    "JOBLIST": joblists,
    "JOB": jobs,
    "FILE": files,
    "FILE.toml": layouts,
    "FOLDER": folders,
    "PACKAGE": files,
    "PATH": files,
    "SITES.TOML": files,
    "SOURCE": files,
    "TABLE.parquet": files,
    "URL": files,
}


def _values_of(parameter: click.Parameter) -> Callable[[str], Iterator[CompletionItem]] | None:
    if parameter.name == "jobs":
        return jobs
    words = re.findall(r"[A-Za-z.]+", (parameter.metavar or "").replace("...", ""))
    # NAME|FILE.toml: a layout; SQL|@FILE|-: a shell can't complete what follows the @.
    if "@" in (parameter.metavar or ""):
        return None
    return next((_BY_WORD[word] for word in words if word in _BY_WORD), None)


def _path(text: str) -> str:
    return os.path.expanduser(text) or "."
