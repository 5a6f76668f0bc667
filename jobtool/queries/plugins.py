"""Kinds of databases, by the schemes of their URLs."""

from __future__ import annotations

import os

from jobtool.errors import UsageError
from jobtool.plugins import QUERIES, find, load
from jobtool.queries.source import QuerySource, QuerySourceType
from jobtool.queries.url import ConnectionUrl
from jobtool.redact import redact
from jobtool.suggest import unknown_key

#: The variable that holds the password of the database's user.
PASSWORD_VARIABLE = "JOBTOOL_QUERY_PASSWORD"  # noqa: S105

#: What opens the databases that have no entry point of their own.
_ANY = "sqlalchemy"


def type_of(url: ConnectionUrl) -> QuerySourceType:
    """Return the kind of database of a URL; raises ``UsageError``."""
    found = _kind(url.scheme) or _kind(_ANY)
    if found is not None and url.driver is not None and not found.has_drivers:
        found = _kind(_ANY)
    if found is None:
        raise UsageError(f"connection: jobtool isn't installed whole: it lacks {_ANY!r}")
    if not found.has_host and url.host is not None:
        raise UsageError(
            f"connection: expected {url.scheme}:///PATH with three slashes, or four for an "
            f"absolute path; found the host {url.host!r}"
        )
    if found.options is not None:
        for key in url.options:
            if key not in found.options and not _has_prefix(key, found.options):
                unknown = unknown_key(key, sorted(found.options), what="an option")
                raise UsageError(f"connection, {url.scheme}://: {unknown}")
    return found


def _kind(scheme: str) -> QuerySourceType | None:
    entry = find(QUERIES, scheme)
    if entry is None:
        return None
    found = load(entry, what=f"the database {scheme}", kind=QuerySourceType)
    assert isinstance(found, QuerySourceType)
    return found


def _has_prefix(key: str, options: frozenset[str]) -> bool:
    return any(name.endswith("*") and key.startswith(name[:-1]) for name in options)


def open_source(url: ConnectionUrl, password: str | None = None) -> QuerySource:
    """Connect to a database, by default with the password of the environment.

    Raises what ``QuerySource`` does, and ``UsageError``.
    """
    password = password or os.environ.get(PASSWORD_VARIABLE) or None
    redact.learn(password)
    return type_of(url).open(url, password)
