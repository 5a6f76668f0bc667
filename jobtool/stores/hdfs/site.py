"""The files of Hadoop's own configuration, as far as the stores need them."""

from __future__ import annotations

import os
from xml.etree import ElementTree

from jobtool.errors import StoreSettingsError
from jobtool.names import quote

_RPC, _HTTP, _HTTPS = (f"dfs.namenode.{key}-address" for key in ("rpc", "http", "https"))

_ANY_HOST = "0.0.0.0"  # noqa: S104 - as the server's file has it


def site_settings() -> dict[str, str]:
    """Return the settings of core-site.xml and hdfs-site.xml; none if there are no such files.

    They are in the folder ``HADOOP_CONF_DIR``, or ``etc/hadoop`` of ``HADOOP_HOME``. Raises
    ``StoreSettingsError`` for a file that can't be read.
    """
    folder = os.environ.get("HADOOP_CONF_DIR", "")
    home = os.environ.get("HADOOP_HOME", "")
    if not folder and home:
        folder = os.path.join(home, "etc", "hadoop")
    found: dict[str, str] = {}
    for name in ("core-site.xml", "hdfs-site.xml"):
        path = os.path.join(folder, name)
        if not folder or not os.path.exists(path):
            continue
        try:
            root = ElementTree.parse(path).getroot()  # noqa: S314 - the site's own file
        except (OSError, ElementTree.ParseError) as error:
            raise StoreSettingsError(f"{quote(path)}: {error}") from None
        for each in root.iter("property"):
            found[each.findtext("name", "").strip()] = each.findtext("value", "").strip()
    return found


def web_servers(address: str, settings: dict[str, str]) -> list[str]:
    """Return the URLs of the NameNodes' web servers, of a nameservice or of ``HOST:PORT``."""
    secure = settings.get("dfs.http.policy", "") == "HTTPS_ONLY"
    key, scheme = (_HTTPS, "https") if secure else (_HTTP, "http")
    nameservices = settings.get("dfs.nameservices", "").replace(" ", "").split(",")
    if address in nameservices:
        nodes = settings.get(f"dfs.ha.namenodes.{address}", "").replace(" ", "").split(",")
        ends = [f".{address}.{node}" for node in nodes if node] or [f".{address}"]
    else:
        ends = [
            name.removeprefix(_RPC)
            for name, value in settings.items()
            if name.startswith(_RPC) and value == address
        ]
        if not ends and settings.get("fs.defaultFS", "").rstrip("/") == f"hdfs://{address}":
            ends = [""]
    found = []
    for end in ends:
        server = settings.get(key + end, "")
        host, _, port = server.rpartition(":")
        if host == _ANY_HOST:
            server = f"{address.partition(':')[0]}:{port}"
        if server:
            found.append(f"{scheme}://{server}")
    return found
