"""The clients that the stores of a run share, one for each cluster and its settings."""

from __future__ import annotations

import os
import threading
from typing import Any

from jobtool.errors import StoreSettingsError
from jobtool.names import quote
from jobtool.redact import redact
from jobtool.stores.hdfs.client import Client, Extras
from jobtool.stores.hdfs.composites import Composites
from jobtool.stores.hdfs.kind import HdfsSettings, WebHdfsSettings
from jobtool.stores.hdfs.site import site_settings, web_servers
from jobtool.stores.hdfs.web import WebClient, WebSetup, user_name
from jobtool.stores.location import Location

#: Hadoop, "UserGroupInformation": who a client without Kerberos is.
_USER_VARIABLE = "HADOOP_USER_NAME"

Pair = tuple[Client, Extras | None]


class HdfsClients:
    """Makes clients when they are asked for. They contact no server before they are used.

    ``composites`` asks for composite CRCs by Hadoop's command.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[str, Any], Pair] = {}
        self.composites = Composites()
        self._lock = threading.Lock()

    def of(self, location: Location, settings: HdfsSettings | WebHdfsSettings) -> Pair:
        """Return the client of a location's cluster, and its WebHDFS if it is known.

        Raises ``StoreSettingsError``.
        """
        key = location.root, settings
        with self._lock:
            if key not in self._made:
                self._made[key] = _make(location, settings)
            return self._made[key]


def _make(location: Location, settings: HdfsSettings | WebHdfsSettings) -> Pair:
    token = os.environ.get("HADOOP_TOKEN", "")
    redact.learn(token)
    setup = WebSetup(
        user=settings.user or user_name(),
        token=token,
        replication=settings.replication,
        block_bytes=settings.block_bytes,
        ca_bundle=settings.ca_bundle,
    )
    if isinstance(settings, WebHdfsSettings):
        http = "https" if location.scheme == "swebhdfs" else "http"
        web = WebClient([f"{http}://{location.name}"], setup, root=location.root)
        return web, web
    from jobtool.stores.hdfs.native import NativeClient

    servers = _web_servers(location.name, settings)
    _become(settings.user)
    native = NativeClient(
        location.name, replication=settings.replication, block_bytes=settings.block_bytes
    )
    return native, WebClient(servers, setup, root=location.root) if servers else None


#: Users that joblists have set in the environment of this process. No other joblist may be one
#: without saying so.
users_set_here: set[str] = set()


def _become(user: str | None) -> None:
    """Set the user of hdfs-native, which takes it from the environment alone.

    Raises ``StoreSettingsError`` if this process is another already.
    """
    told = os.environ.get(_USER_VARIABLE)
    if told is None and user is not None:
        os.environ[_USER_VARIABLE] = user
        users_set_here.add(user)
    elif told != user and (user is not None or told in users_set_here):
        found = "none" if user is None else quote(user)
        raise StoreSettingsError(
            f"[hdfs] user: expected {quote(told or '')}, as {_USER_VARIABLE} says; found {found}. "
            "A process can be one user only of hdfs://. Change one of them, or use webhdfs://."
        )


def _web_servers(address: str, settings: HdfsSettings) -> list[str]:
    told = settings.webhdfs_url
    if told is None:
        return web_servers(address, site_settings())
    servers = [each for each in ((told,) if isinstance(told, str) else told) if each]
    for server in servers:
        if not server.startswith(("http://", "https://")) or "@" in server or "?" in server:
            raise StoreSettingsError(
                f"[hdfs] webhdfs_url: expected http://HOST:PORT or https://HOST:PORT; found "
                f"{quote(server)}"
            )
    return servers
