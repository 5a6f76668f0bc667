"""The part of a URL after ``sftp://``: a user, a host and a port."""

from __future__ import annotations

import re

import msgspec

_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@\\-]*")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?")
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?")  # IPv6, with its zone
_END = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::(.*))?", re.DOTALL)


class Place(msgspec.Struct, frozen=True):
    """A server as a URL or a ProxyJump names it. ``host`` may be an alias of an ssh_config."""

    host: str
    user: str | None = None
    port: int | None = None

    @classmethod
    def parse(cls, authority: str) -> Place:
        """Parse a part for which ``unfit_authority`` returns None."""
        user, _, rest = authority.rpartition("@")
        match = _END.fullmatch(rest)
        assert match is not None
        address, host, port = match.groups()
        return cls(address or host, user or None, int(port) if port else None)

    @property
    def shown(self) -> str:
        """The host, and the port if one is named."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


def unfit_authority(authority: str) -> str | None:
    """Return why a text isn't ``[USER@]HOST[:PORT]``, or None if it is. Holds no password."""
    user, at, rest = authority.rpartition("@")
    if ":" in user:
        return (
            "a password in the URL. Passwords aren't accepted: log in by a key, named by [sftp] "
            "identity_file or an ssh_config, or by an agent"
        )
    if at and not _USER.fullmatch(user):
        return "no valid user before '@'"
    match = _END.fullmatch(rest)
    address, host, port = match.groups() if match is not None else (None, "", None)
    if address is not None and not (":" in address and _ADDRESS.fullmatch(address)):
        return "no IPv6 address between '[' and ']'"
    if address is None and not _HOST.fullmatch(host):
        return f"no valid host in {rest!r}. IPv6 addresses are put between '[' and ']'"
    if port is not None and not (re.fullmatch(r"[0-9]{1,5}", port) and 1 <= int(port) <= 65535):
        return f"the port {port!r}, which isn't a number from 1 to 65535"
    return None
