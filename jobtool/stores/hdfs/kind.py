"""The store types of HDFS. Imports no client before a store is opened."""

from __future__ import annotations

from typing import Annotated

import msgspec

from jobtool.errors import UsageError
from jobtool.names import quote
from jobtool.stores.location import Location
from jobtool.stores.store import Store
from jobtool.stores.storetype import Opening, StoreType

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*(?::[0-9]{1,5})?"
_NAME_AND_PORT = r"[A-Za-z0-9][A-Za-z0-9._-]*:[0-9]{1,5}"

_Positive = Annotated[int, msgspec.Meta(ge=1)]

_Blocks = Annotated[int, msgspec.Meta(ge=512, multiple_of=512)]


class WebHdfsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tables ``[webhdfs]`` and ``[swebhdfs]`` of joblist.toml.

    ``replication`` and ``block_bytes`` are those of new files, by default the cluster's.
    ``ca_bundle`` is a file of the certificates to trust. ``user`` is who asks, in a cluster without
    Kerberos; by default HADOOP_USER_NAME, or this machine's user.
    """

    user: str | None = None
    replication: _Positive | None = None
    block_bytes: _Blocks | None = None
    ca_bundle: str | None = None


class HdfsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[hdfs]`` of joblist.toml.

    ``webhdfs_url`` is the NameNode's web server, or a list of several NameNodes', by default those
    of hdfs-site.xml. With ``""`` none is used. The others are those of ``WebHdfsSettings``. The
    client takes one ``user`` for all clusters of a process.
    """

    user: str | None = None
    webhdfs_url: str | tuple[str, ...] | None = None
    replication: _Positive | None = None
    block_bytes: _Blocks | None = None
    ca_bundle: str | None = None


def _check(location: Location, url: str) -> None:
    """Refuse a path that HDFS can't hold."""
    try:
        location.path.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{quote(url)}: expected UTF-8, as all names in HDFS are") from None
    if ":" in location.path:
        raise UsageError(f"{quote(url)}: expected a path without ':', which HDFS doesn't allow")


def _open(location: Location, opening: Opening) -> Store:
    from jobtool.stores.hdfs.clients import HdfsClients
    from jobtool.stores.hdfs.store import HdfsStore

    clients = opening.shared
    assert isinstance(clients, HdfsClients)
    client, extras = clients.of(location, opening.settings)
    return HdfsStore(
        client,
        extras,
        location,
        owner=opening.owner,
        read_back=opening.setup.read_back,
        composites=clients.composites,
        keeps_mode="mode" in opening.setup.keep,
        copies=getattr(opening.settings, "replication", None),
    )


def _share(setup: object) -> object:
    from jobtool.stores.hdfs.clients import HdfsClients

    return HdfsClients()


def _type_of(
    settings: type[msgspec.Struct], name: str, shown: str, modules: tuple[str, ...]
) -> StoreType:
    return StoreType(
        open=_open,
        share=_share,
        settings=settings,
        check=_check,
        root="NameNode",
        name=name,
        name_shown=shown,
        modules=modules,
        extra="hdfs",
        service="HDFS",
        lists_own_times=True,
    )


STORE_TYPE = _type_of(
    HdfsSettings,
    _NAME,
    "HOST:PORT, or the name of a nameservice",
    ("hdfs_native", "google_crc32c", "urllib3"),
)
WEB_STORE_TYPE = _type_of(
    WebHdfsSettings, _NAME_AND_PORT, "HOST:PORT", ("google_crc32c", "urllib3")
)
