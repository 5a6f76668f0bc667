"""From a URL to a store: the scheme chooses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import unquote as percent_decode

from jobtool.errors import UsageError
from jobtool.names import quote
from jobtool.stores.credentials import CredentialHolder
from jobtool.stores.local import LinkPolicy, LocalStore
from jobtool.stores.memory import Memory, MemoryStore
from jobtool.stores.s3config import read_s3_table
from jobtool.stores.store import Store

if TYPE_CHECKING:
    from jobtool.stores.s3 import S3Access
    from jobtool.stores.s3config import S3Config

Role = Literal["source", "destination"]
SCHEMES = ("file", "s3", "memory")

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]+")


class StoreRegistry:
    """Opens stores, and keeps what they share: S3 clients, credentials, memory.

    ``s3`` is the table of that name in joblist.toml. ``connections`` is how many requests may be
    under way at once; ``links`` is what listing a local source does with symbolic links; with
    ``read_back`` what was written is proven by reading it. Raises ``UsageError`` for a table
    that makes no sense.
    """

    def __init__(
        self,
        s3: Mapping[str, Any] | None = None,
        *,
        connections: int = 16,
        links: LinkPolicy = "follow",
        read_back: bool = False,
    ) -> None:
        self._read_back = read_back
        self._links = links
        table = dict(s3 or {})
        self._s3_configs = {role: read_s3_table(table, role) for role in get_args(Role)}
        self._connections = connections
        self._memories: dict[str, Memory] = {}
        self._s3: dict[S3Config, S3Access] = {}

    def open(self, url: str, role: Role, *, owner: str = "") -> Store:
        """Return the store rooted at ``url``; nothing is contacted yet.

        ``owner`` marks what is written, but not finished, as somebody's. Raises ``UsageError`` for
        a URL that is none of ours, and ``CredentialsError``.
        """
        scheme, rest = split_url(url)
        if scheme == "s3":
            from jobtool.stores.s3 import S3Store

            bucket, _, prefix = rest.partition("/")
            return S3Store(
                self._s3_access(role), bucket, prefix.strip("/"), read_back=self._read_back
            )
        if scheme == "memory":
            name, _, prefix = rest.partition("/")
            memory = self._memories.setdefault(name, Memory())
            return MemoryStore(memory, url.rstrip("/"), prefix.strip("/"))
        links = self._links if role == "source" else "keep"
        return LocalStore(rest, owner=owner, links=links, read_back=self._read_back)

    def credential_holders(self) -> list[CredentialHolder]:
        """Return the holders of the credentials of every S3 client so far."""
        return [access.holder for access in self._s3.values()]

    def refresh_credentials(self) -> None:
        """Fetch all credentials anew, as before each job."""
        for holder in self.credential_holders():
            holder.refresh()

    def _s3_access(self, role: Role) -> S3Access:
        from jobtool.stores.s3 import S3Access

        config = self._s3_configs[role]
        if config not in self._s3:
            self._s3[config] = S3Access(config, connections=self._connections)
        return self._s3[config]


def split_url(url: str) -> tuple[str, str]:
    """Return the scheme of a path or URL and the rest; raises ``UsageError``.

    ``file://`` URLs become paths. What follows ``s3://`` is taken as it is: keys may hold ``?``,
    ``#`` and ``%``.
    """
    match = _URL.fullmatch(url)
    if match is None:
        return "file", url
    scheme, rest = match.group(1).lower(), match.group(2)
    if scheme not in SCHEMES:
        raise UsageError(
            f"{quote(url)}: expected a path or a URL with one of {', '.join(SCHEMES)}; "
            f"found {scheme!r}"
        )
    if scheme == "file":
        if not rest.startswith("/"):
            raise UsageError(f"{quote(url)}: expected an absolute path, as in file:///data")
        return scheme, percent_decode(rest, errors="surrogateescape")
    if not _BUCKET.fullmatch(rest.partition("/")[0]):
        raise UsageError(f"{quote(url)}: expected a name after '{scheme}://', as in s3://bucket/x")
    return scheme, rest


def anchor_of(url: str) -> tuple[str, str]:
    """Split an absolute path or URL into the widest store that holds it and the path in that.

    ``/data/a`` is ``a`` below ``/data``'s root ``/``; ``s3://bucket/a`` is ``a`` in its bucket.
    """
    scheme, rest = split_url(url)
    if scheme == "file":
        return "/", rest.lstrip("/")
    name, _, path = rest.partition("/")
    return f"{scheme}://{name}", path


def parent_of(url: str) -> tuple[str, str]:
    """Split a path or URL into its folder and its last name."""
    folder, _, name = url.rstrip("/").rpartition("/")
    return folder or "/", name
