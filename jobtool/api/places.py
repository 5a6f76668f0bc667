"""How paths that a user gives are read: of sources, joblists and tables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from jobtool.errors import UsageError
from jobtool.jobs.joblist import JobList
from jobtool.names import quote
from jobtool.stores.location import is_local, resolve

#: A path of this machine or, where that makes sense, a URL.
Place = str | os.PathLike[str]


def text_of(path: Place) -> str:
    """Return a path as text; raises ``UsageError`` for what isn't one."""
    try:
        text = os.fspath(path)
    except TypeError:
        text = None
    if not isinstance(text, str):
        raise UsageError(
            f"expected a path as a str or an os.PathLike[str]; found {type(path).__name__}"
        )
    return text


def existing_path(path: Place) -> str:
    """Return an input path as an absolute one without links, a URL as it is.

    Raises ``UsageError`` if it isn't there, or looks like a URL and isn't one.
    """
    url = resolve(text_of(path)).url
    if is_local(url) and not os.path.exists(url):
        raise UsageError(
            f"expected something at the input path {quote(url)}; found nothing. Correct the path."
        )
    return url


def local_path(path: Place) -> str:
    """Return an output path as an absolute one without links; raises ``UsageError`` for a URL."""
    text = text_of(path)
    url = resolve(text).url
    if not is_local(url):
        raise UsageError(f"{quote(text)}: expected a path of this machine; found a URL")
    return url


def opened(
    joblist: Place | JobList,
    *,
    trust: bool = False,
    credentials: Mapping[str, Any] | None = None,
) -> JobList:
    """Open the joblist at a path; one that is open already stays as it is.

    ``trust`` and ``credentials`` are for a path: see ``JobList.open`` and
    ``JobList.use_credentials``. Raises ``UsageError`` if there is nothing at the path, or if they
    come with a joblist that is open, and ``JoblistError`` if there is something else.
    """
    if isinstance(joblist, JobList):
        if trust or credentials:
            raise UsageError(
                "trust and credentials: expected the joblist's path with them; found a JobList. "
                "Use JobList.open(path, trust=True) and JobList.use_credentials."
            )
        return joblist
    found = JobList.open(existing_path(joblist), trust=trust)
    if credentials:
        found.use_credentials(credentials)
    return found
