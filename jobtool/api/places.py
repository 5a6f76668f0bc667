"""Paths that a user gives: of sources, joblists or tables."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from typing import Any

from jobtool.errors import UsageError
from jobtool.jobs.joblist import JobList
from jobtool.names import quote
from jobtool.stores.location import Location, type_of
from jobtool.stores.sides import Side
from jobtool.stores.storetype import require_writable
from jobtool.suggest import closest

#: A path on this machine or, where a store may be meant, a URL.
Place = str | os.PathLike[str]

#: A table of options as fsspec's users write it, or an ``fsspec.AbstractFileSystem``.
Filesystem = Any


def text_of(path: Place) -> str:
    """Return a path as text; raise ``UsageError`` for anything else."""
    try:
        text = os.fspath(path)
    except TypeError:
        text = None
    if not isinstance(text, str):
        raise UsageError(
            f"expected a path as a str or an os.PathLike[str]; found {type(path).__name__}"
        )
    return text


#: How many names of a folder are compared with a misspelt one.
_MOST_COMPARED = 5000


def existing_path(path: Place, side: Side | None = None) -> str:
    """Return an input path as an absolute one without links, a URL unchanged.

    With ``side`` it is a path of that filesystem, and its URL is returned.

    Raises ``UsageError`` if nothing is there, or if it looks like a URL but isn't one.
    """
    location = _located(path, side)
    if location.is_local and not os.path.exists(location.url):
        raise UsageError(
            f"expected something at the input path {quote(location.url)}; found nothing."
            f"{beside(location.url)} Correct the path."
        )
    return location.url


def beside(path: str) -> str:
    """Return the end of a message: what is there instead of a path whose name may be misspelt."""
    folder, name = os.path.split(path.rstrip("/"))
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in itertools.islice(entries, _MOST_COMPARED)]
    except OSError:
        return ""
    meant = closest(name, names)
    return f" Did you mean {quote(os.path.join(folder, meant))}?" if meant else ""


def destination_url(path: Place, side: Side | None = None) -> str:
    """Return a destination as an absolute path or a URL; with ``side``, that of a path of it.

    Raises ``UsageError`` if it isn't one, or if nothing can be written there.
    """
    location = _located(path, side)
    kind = type_of(location.url)
    if kind is not None:
        require_writable(location.url, location.scheme, kind)
    return location.url


def _located(path: Place, side: Side | None) -> Location:
    text = text_of(path)
    return Location.resolve(text if side is None else side.url_of(text))


def local_path(path: Place) -> str:
    """Return an output path as an absolute one without links; raise ``UsageError`` for a URL."""
    text = text_of(path)
    location = Location.resolve(text)
    if not location.is_local:
        raise UsageError(f"{quote(text)}: expected a path of this machine; found a URL")
    return location.url


def opened(
    joblist: Place | JobList,
    *,
    trust: bool = False,
    credentials: Mapping[str, Any] | None = None,
    source_fs: Filesystem | None = None,
    target_fs: Filesystem | None = None,
) -> JobList:
    """Open the joblist at a path; return an open joblist unchanged.

    ``trust`` and ``credentials`` are for a path: see ``JobList.open`` and
    ``JobList.use_credentials``. The filesystems are for either: see ``JobList.use_filesystems``.
    Raises ``UsageError`` if there is nothing at the path, or if trust or credentials are given with
    an open joblist, and ``JoblistError`` if the path isn't a joblist.
    """
    if isinstance(joblist, JobList):
        if trust or credentials:
            raise UsageError(
                "trust and credentials: expected the joblist's path with them; found a JobList. "
                "Use JobList.open(path, trust=True) and JobList.use_credentials."
            )
        joblist.use_filesystems(source_fs=source_fs, target_fs=target_fs)
        return joblist
    found = JobList.open(existing_path(joblist), trust=trust)
    if credentials:
        found.use_credentials(credentials)
    found.use_filesystems(source_fs=source_fs, target_fs=target_fs)
    return found
