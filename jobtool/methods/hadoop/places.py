"""Where stores are for Hadoop's programs, and which names these can be given."""

from __future__ import annotations

import os
from collections.abc import Sequence
from urllib.parse import quote_from_bytes

from jobtool.methods.method import MethodFile
from jobtool.names import quote
from jobtool.stores.location import is_local
from jobtool.stores.store import Store

#: The schemes of HDFS, which Hadoop and jobtool write the same way.
HDFS_SCHEMES = ("hdfs", "webhdfs", "swebhdfs")

#: The end of the temporary names under which ``hdfs dfs`` writes.
COPYING = "._COPYING_"

#: What begins a pattern in a path. Hadoop, "GlobPattern" and "GlobExpander".
_SPECIAL = frozenset("\\*?[]{}^,")


def scheme_of(url: str) -> str:
    """Return the scheme of a store's URL; ``file`` for a path."""
    return "file" if is_local(url) else url.partition("://")[0]


def cluster_of(url: str) -> str:
    """Return the part of a URL that names the cluster: ``SCHEME://NAME``."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def is_whole_cluster(store: Store) -> bool:
    """Return True if a store's root is the root of its cluster or bucket."""
    return store.url == cluster_of(store.url)


def hadoop_url(url: str) -> str:
    """Return a URL as Hadoop writes it. It has no percent-encoding."""
    scheme, _, rest = url.partition("://")
    return f"{'s3a' if scheme == 's3' else scheme}://{rest}"


def local_url(path: str) -> str:
    """Return the URL of a path of this machine, as ``-put`` and ``-get`` expect it."""
    return "file://" + quote_from_bytes(os.fsencode(path))


def escape(path: str) -> str:
    """Return a path for where Hadoop expects a pattern, so that it means just that path."""
    return "".join(f"\\{each}" if each in _SPECIAL else each for each in path)


def why_not_name(path: str) -> str | None:
    """Return why Hadoop's programs can't be given a file's path, as a clause; None if they can."""
    if ":" in path:
        return "its name has a ':', which Hadoop allows in no path"
    if path.endswith(COPYING):
        return f"Hadoop takes names that end with {COPYING} for its own temporary files"
    try:
        path.encode()
    except UnicodeEncodeError:
        return "its name isn't UTF-8, as Hadoop's are"
    return None


def nameable(
    files: Sequence[MethodFile], *, source: bool, destination: bool, lists: bool = False
) -> tuple[list[MethodFile], str | None]:
    """Return the files that Hadoop can name on the given sides, and why others are left.

    In ``lists`` each line is a name.
    """
    kept: list[MethodFile] = []
    reason: str | None = None
    for file in files:
        why = (why_not_name(file.source_path) if source else None) or (
            why_not_name(file.destination_path) if destination else None
        )
        if lists and not {"\n", "\r"}.isdisjoint(file.source_path):
            why = "its name has a line end, which ends a name in distcp's lists"
        if why is None:
            kept.append(file)
        else:
            reason = reason or f"{quote(file.source)}: {why}"
    return kept, reason
