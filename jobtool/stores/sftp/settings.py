"""The table ``[sftp]`` of joblist.toml."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


class SftpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How servers are connected to. There is no key for a password: log in by a key or an agent.

    - ``user`` and ``port``: for URLs that name none. They precede those of the configuration.
    - ``config``: an ssh_config in place of ``~/.ssh/config``.
    - ``known_hosts``: the file with the keys of hosts, in place of the configured ones.
    - ``identity_file``: a private key to log in with.
    - ``proxy_jump``: hosts to connect through, as ``[USER@]HOST[:PORT],…``.
    - ``keepalive_seconds``: how often a silent server is asked for a sign of life. It is given up
      after the third without an answer. 0 turns that off.
    - ``commands``: ``auto`` runs ``md5sum`` on servers that let it, ``never`` uses only SFTP.
    """

    user: str | None = None
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None = None
    config: str | None = None
    known_hosts: str | None = None
    identity_file: str | None = None
    proxy_jump: str | None = None
    keepalive_seconds: Annotated[float, msgspec.Meta(ge=0)] = 15.0
    commands: Literal["auto", "never"] = "auto"
