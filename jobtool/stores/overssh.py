"""Where a store's files are for programs that go over ssh, such as rsync and scp."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec


class SshTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A folder of an SSH server, and how to log in there.

    ``host`` may be an alias of the ssh_config. ``path`` is the folder's absolute path there, with
    surrogates for bytes that aren't UTF-8. The others are those of the table ``[sftp]``; None means
    what the ssh_config says. With ``has_password`` a password was given in Python, which programs
    can't be told safely.
    """

    host: str
    user: str | None
    port: int | None
    path: str
    config: str | None
    known_hosts: str | None
    identity_file: str | None
    proxy_jump: str | None
    has_password: bool


@runtime_checkable
class OverSsh(Protocol):
    """A store whose files programs reach by ssh."""

    @property
    def ssh_target(self) -> SshTarget:
        """The store's root, as ssh reaches it."""
