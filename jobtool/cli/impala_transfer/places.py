"""Where the files of ``impala-transfer`` go, and where they wait before."""

from __future__ import annotations

import re

import msgspec

from jobtool.api.places import destination_url
from jobtool.errors import UsageError
from jobtool.names import quote
from jobtool.stores.hdfs.site import site_settings
from jobtool.stores.location import Location, join

HDFS = ("hdfs", "webhdfs", "swebhdfs")
SFTP = "sftp"

#: The NameNode's port if none is named (Hadoop, "HdfsClientConfigKeys").
_NAMENODE_PORT = 8020

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A place as the user named it: by an option and its variable."""

    text: str
    option: str

    def __str__(self) -> str:
        """Return the option and its value, for messages."""
        return f"{self.option} {quote(self.text)}"


def in_hdfs(path: Named, cluster: Named | None) -> str:
    """Return the URL of a folder in HDFS.

    ``path`` is a URL, or a path in ``cluster``; without one, in the cluster of Hadoop's
    configuration. Raises ``UsageError``, and ``StoreSettingsError`` for a configuration that can't
    be read.
    """
    scheme = _scheme_of(path.text)
    if scheme is not None:
        if scheme not in HDFS:
            raise UsageError(f"{path}: expected a path in HDFS, or hdfs://HOST:PORT/PATH")
        if cluster is not None:
            raise UsageError(
                f"{path} names a cluster itself, besides {cluster}: name it by one of them"
            )
        return destination_url(path.text)
    if not path.text.startswith("/"):
        raise UsageError(f"{path}: expected an absolute path, such as /data/target")
    root = _configured(path) if cluster is None else _root_of(cluster)
    return destination_url(root + _without_end(path.text))


def in_ssh(target: Named) -> str:
    """Return the ``sftp://`` URL of a target as scp writes it: ``[USER@]HOST:/PATH``.

    A URL ``sftp://[USER@]HOST[:PORT]/PATH`` is one already. Raises ``UsageError``.
    """
    text = target.text
    if _scheme_of(text) == SFTP:
        return destination_url(text)
    host, path = _split(text)
    if not host or not path.startswith("/") or _scheme_of(text) is not None:
        raise UsageError(
            f"{target}: expected [USER@]HOST:/ABSOLUTE/PATH, or with a port "
            "sftp://[USER@]HOST:PORT/ABSOLUTE/PATH"
        )
    return destination_url(f"{SFTP}://{host}{_without_end(path)}")


def _split(text: str) -> tuple[str, str]:
    """Return what is before and after the colon that ends a host, which may be in brackets."""
    login, at, rest = text.rpartition("@") if "@" in text.partition("/")[0] else ("", "", text)
    if rest.startswith("["):
        host, _, path = rest.partition("]:")
        return f"{login}{at}{host}]", path
    host, _, path = rest.partition(":")
    return f"{login}{at}{host}", path


def with_table(url: str, table: str | None) -> str:
    """Return the folder of a table in a target; the target itself without a table.

    Raises ``UsageError`` for a name that is no folder's.
    """
    if table is None:
        return url
    if "/" in table or "\0" in table or table in ("", ".", ".."):
        raise UsageError(
            f"--target-table {quote(table)}: expected a name, since the files go to the folder "
            "TARGET/TABLE"
        )
    return Location.parse(join(url, table)).url


def scheme_of(url: str) -> str:
    """Return the scheme of a destination; ``file`` for a path."""
    return (_scheme_of(url) or "file").lower()


def _scheme_of(text: str) -> str | None:
    match = _URL.match(text)
    return None if match is None else match[1].lower()


def _without_end(path: str) -> str:
    """Return a path without slashes at its end and without repeated ones."""
    return "/" + "/".join(part for part in path.split("/") if part)


def _root_of(cluster: Named) -> str:
    """Return the URL of a cluster by its host, its host and port, its nameservice or its URL."""
    scheme = _scheme_of(cluster.text)
    name = cluster.text.partition("://")[2] if scheme else cluster.text
    name = name.removesuffix("/")
    if not name or "/" in name or (scheme is not None and scheme not in HDFS):
        raise UsageError(
            f"{cluster}: expected HOST, HOST:PORT or the name of a nameservice. The path is "
            "--target-hdfs-path."
        )
    if scheme in (None, "hdfs") and ":" not in name and name not in _nameservices():
        name = f"{name}:{_NAMENODE_PORT}"
    return f"{scheme or 'hdfs'}://{name}"


def _nameservices() -> list[str]:
    return site_settings().get("dfs.nameservices", "").replace(" ", "").split(",")


def _configured(path: Named) -> str:
    """Return the URL of the cluster of Hadoop's configuration."""
    found = site_settings().get("fs.defaultFS", "")
    if _scheme_of(found) not in HDFS:
        told = f"its fs.defaultFS is {quote(found)}" if found else "no fs.defaultFS was found"
        raise UsageError(
            f"{path}: expected Hadoop's configuration to say which cluster that is, in "
            f"HADOOP_CONF_DIR or HADOOP_HOME; {told}. Or name the cluster, as in "
            f"hdfs://HOST:8020{_without_end(path.text)}"
        )
    return _root_of(Named(text=found, option="fs.defaultFS"))
