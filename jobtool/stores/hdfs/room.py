"""How much may be written below a folder of HDFS: what quotas leave.

Source: Hadoop, "HDFS Quotas Guide". A quota of space counts every copy of a block. HDFS has no
cheap answer to how much room the cluster has.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobtool.names import quote
from jobtool.stores.beforehand import Room
from jobtool.stores.hdfs.client import Client

#: How often a block is stored unless the joblist or the cluster says otherwise (dfs.replication).
DEFAULT_COPIES = 3

#: Folders above this depth aren't asked: their answer counts all files of a cluster.
_LEAST_DEPTH = 2


def rooms(client: Client, root: str, path: str, copies: int | None) -> Iterator[Room]:
    """Yield the room that each quota on the way to a folder leaves.

    ``root`` is the cluster's URL. Only the folder itself is asked at less than two levels below it.
    """
    folder = above = existing(client, path)
    while above and (above == folder or above.count("/") >= _LEAST_DEPTH):
        usage = client.usage(above)
        url = root + above
        if usage.names_quota >= 0 or usage.space_quota_bytes >= 0:
            names = usage.names_quota - usage.names
            space = usage.space_quota_bytes - usage.space_bytes
            yield Room(
                place=url,
                limit=f"quota of {quote(url)}",
                free_files=max(names, 0) if usage.names_quota >= 0 else None,
                free_bytes=max(space, 0) if usage.space_quota_bytes >= 0 else None,
                copies=copies or DEFAULT_COPIES,
            )
        above = above.rpartition("/")[0]


def existing(client: Client, path: str) -> str:
    """Return the innermost folder of an absolute path that is there; empty for the root."""
    folder = path.rstrip("/")
    while folder and client.status(folder) is None:
        folder = folder.rpartition("/")[0]
    return folder
