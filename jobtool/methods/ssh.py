"""How methods have ``ssh`` log in: its arguments, the table ``[ssh]`` of joblist.toml, its errors.

Where a server is and how to log in there are the settings of the SFTP store: the URL and the table
``[sftp]`` (``SshTarget``). They hold for the store and for programs alike. ``~/.ssh/config`` and an
agent are honoured. A host whose key isn't known is always refused, and no password is asked for.

``ssh`` takes the first value of an option that it finds, so options on its command line precede
those of an ssh_config (ssh_config(5)).
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence

import msgspec

from jobtool.errors import JoblistError, StoreError
from jobtool.jobs.settings import FILENAME, Settings
from jobtool.methods.settings import of_table
from jobtool.names import in_one_line, quote
from jobtool.stores.optional import supports
from jobtool.stores.overssh import OverSsh, SshTarget
from jobtool.stores.sftp.place import Place, unfit_authority
from jobtool.stores.store import Store

SSH = "ssh"

#: Words that need no quotes.
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")

_TABLE = "table [ssh]"

#: How long a connection may take, and how often a silent server is asked for a sign of life.
_CONNECT_SECONDS = 30
_ALIVE_SECONDS = 15

#: What no ssh_config and no option may change. No connection is shared with other programs: one
#: that outlives the method couldn't be ended with it. The messages of servers are left out.
_FIXED = (
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "NoHostAuthenticationForLocalhost=no",
    "VerifyHostKeyDNS=no",
    "UpdateHostKeys=no",
    "ControlMaster=no",
    "ControlPath=none",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "PermitLocalCommand=no",
    "RequestTTY=no",
    "LogLevel=ERROR",
    f"ConnectTimeout={_CONNECT_SECONDS}",
    f"ServerAliveInterval={_ALIVE_SECONDS}",
    "ServerAliveCountMax=3",
)

#: Settings of the place, by the names that people may look for in ``[ssh]``.
_OF_THE_PLACE = {
    "host": "the URL, sftp://HOST/PATH, whose host may be an alias of the ssh_config",
    "path": "the URL, sftp://HOST/PATH",
    "user": "the URL or [sftp] user",
    "port": "the URL or [sftp] port",
    "identity_file": "[sftp] identity_file",
    "proxy_jump": "[sftp] proxy_jump",
    "jump_host": "[sftp] proxy_jump",
    "config": "[sftp] config",
    "known_hosts": "[sftp] known_hosts",
    "keepalive_seconds": "options, as ServerAliveInterval of an ssh_config",
}

#: Options of ssh that have a setting of their own, or that must be as in ``_FIXED``.
_NOT_AN_OPTION = {
    "user": _OF_THE_PLACE["user"],
    "port": _OF_THE_PLACE["port"],
    "hostname": _OF_THE_PLACE["host"],
    "identityfile": _OF_THE_PLACE["identity_file"],
    "proxyjump": _OF_THE_PLACE["proxy_jump"],
    "userknownhostsfile": _OF_THE_PLACE["known_hosts"],
    "globalknownhostsfile": _OF_THE_PLACE["known_hosts"],
    "compression": "compression = true",
}
_SETS_ITSELF = frozenset(
    {
        *(option.partition("=")[0].lower() for option in _FIXED),
        *"controlpersist knownhostscommand localcommand remotecommand sessiontype".split(),
        *"forkafterauthentication stdinnull tunnel include match host".split(),
    }
) - {"connecttimeout", "serveraliveinterval", "serveralivecountmax"}

_OPTION = re.compile(r"([A-Za-z0-9]+)(?:\s*=\s*|\s+)(\S[^\x00-\x1f\x7f]*)")


class SshSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table ``[ssh]``: how methods run ssh. The place itself is that of ``[sftp]`` and the URL.

    - ``options``: further options, each as in an ssh_config: ``"Ciphers=aes128-gcm@openssh.com"``.
      Options for host keys, passwords and shared connections can't be set.
    - ``compression``: have ssh compress on the way. That helps where the network is slow.
    """

    options: tuple[str, ...] = ()
    compression: bool = False


def ssh_settings(settings: Settings) -> SshSettings:
    """Return the table ``[ssh]`` of a joblist. Raises ``JoblistError``."""
    for key in settings.ssh:
        if key in _OF_THE_PLACE:
            raise _refused(f"{key!r} isn't set here, but by {_OF_THE_PLACE[key]}")
    found = of_table(settings.ssh, SshSettings, where=_TABLE)
    for option in found.options:
        _require_option(option)
    return found


def ssh_target(store: Store) -> SshTarget | None:
    """Return where ssh reaches a store's root; None for a store that isn't an SSH server's."""
    return store.ssh_target if supports(store, OverSsh) else None


def why_not_by_ssh(target: SshTarget) -> str | None:
    """Return why programs can't log in there, as a clause for a message; None if they may."""
    if target.has_password:
        return (
            f"{target.host} is logged in to by a password, which can't be passed to a program "
            "safely: log in by a key or an agent"
        )
    if target.user is not None and unfit_authority(f"{target.user}@host") is not None:
        # A ProxyCommand or "Match exec" of an ssh_config may give it to a shell, as %r.
        return f"[sftp] user: expected the name of a user; found {quote(target.user)}"
    for name in ("known_hosts", "identity_file"):
        path = getattr(target, name)
        if path is not None and ('"' in path or "${" in path or not path.isprintable()):
            return f"[sftp] {name} is {quote(path)}, and ssh can't be given such a path"
    for jump in _jumps(target):
        reason = unfit_authority(jump)
        if reason is not None:
            return f"[sftp] proxy_jump: expected [USER@]HOST[:PORT]; found {reason}"
    return None


def ssh_arguments(target: SshTarget, settings: SshSettings) -> list[str]:
    """Return the arguments by which ``ssh`` and ``scp`` alike log in.

    The host isn't among them. ``why_not_by_ssh`` must have returned None.
    """
    arguments = _arguments(target, settings)
    proxy = ""
    for jump in _jumps(target):  # each through the one before
        proxy = _proxy_command(Place.parse(jump), target, settings, through=proxy)
    if target.port is not None:
        arguments += _option("Port", str(target.port))
    if target.user is not None:
        arguments += _option("User", target.user)
    if target.identity_file is not None:
        path = os.path.expanduser(target.identity_file).replace("%", "%%")
        arguments += ["-i", path, *_option("IdentitiesOnly", "yes")]
    if proxy:
        arguments += _option("ProxyCommand", proxy)
    return arguments


def ssh_command(target: SshTarget, settings: SshSettings) -> list[str]:
    """Return ``ssh`` and its arguments, without the host and the command to run there."""
    return [SSH, *ssh_arguments(target, settings)]


def as_rsync_shell(command: Sequence[str]) -> str:
    """Return a command as one argument for ``rsync -e``.

    rsync splits it at spaces. Quotes keep what is between them together, and a doubled quote
    between them stands for one. Nothing else is special (rsync(1), option ``--rsh``).
    """
    return " ".join(
        word if _PLAIN.fullmatch(word) else "'" + word.replace("'", "''") + "'" for word in command
    )


def remote_path(target: SshTarget, path: str) -> str:
    """Return ``HOST:PATH`` as ``scp`` and ``rsync`` take it. ``path`` is absolute."""
    host = f"[{target.host}]" if ":" in target.host else target.host
    return f"{host}:{path}"


def ssh_failure(lines: Iterable[str], host: str) -> StoreError | None:
    """Return why ssh failed, by what it printed; None if that says nothing of it.

    ``lines`` are those of ssh or of a program that runs it.
    """
    best: tuple[int, str] | None = None
    for line in lines:
        for rank, (pattern, meaning) in enumerate(_MEANINGS):
            if pattern.search(line) and (best is None or rank < best[0]):
                said = in_one_line(line, most=200)
                best = rank, meaning.format(host=host, said=said)
    return None if best is None else StoreError(best[1])


#: What ssh and sshd print, and what it means, the most telling first.
_MEANINGS = tuple(
    (re.compile(pattern), meaning)
    for pattern, meaning in (
        (
            r"REMOTE HOST IDENTIFICATION HAS CHANGED|^Host key for .* has changed",
            "{host} shows another host key than the one that is known for it: either the host was "
            "set up anew, or this isn't {host}. Ask its administrator for the fingerprint",
        ),
        (
            r"^No \S+ host key is known for|^Host key verification failed",
            "no host key is known for {host} in the known_hosts files ({said}). Ask its "
            "administrator for the fingerprint, and log in once by hand: ssh {host}",
        ),
        (
            r"Permission denied \([\w,@.-]+\)|Too many authentication failures",
            "{host} accepts none of the keys that this process has ({said}). Name the key by "
            "[sftp] identity_file or in an ssh_config, or load it into an agent",
        ),
        (r"Could not resolve hostname", "no such host is known ({said})"),
        (
            r"^Bad owner or permissions on|^Can't open user config file|command-line[: ]line \d+"
            r"|: line \d+: Bad |: terminating, \d+ bad configuration|^no argument after keyword",
            "a setting of ssh can't be used ({said})",
        ),
        (r"^Unable to negotiate with", "{host} has no algorithm in common with ssh ({said})"),
        (
            r"^ssh: connect to host|Connection (refused|timed out)|No route to host"
            r"|Network is unreachable",
            "{host} can't be reached ({said}). Is its sshd up, and the port right?",
        ),
        (
            r"kex_exchange_identification|banner exchange|Connection (closed|reset)\b"
            r"|client_loop: send disconnect|not responding|Broken pipe",
            "the connection to {host} ended ({said})",
        ),
        (r"No space left on device", "no space is left ({said})"),
        (r"[Qq]uota exceeded", "a quota is used up ({said})"),
        (r"Read-only file system", "a filesystem is read-only ({said})"),
    )
)


def _require_option(option: str) -> None:
    match = _OPTION.fullmatch(option)
    if match is None:
        raise _refused(
            "expected options such as 'IPQoS=throughput', each a name and a value in one line; "
            f"found {option!r}"
        )
    name = match.group(1).lower()
    if name in _NOT_AN_OPTION:
        raise _refused(f"the option {match.group(1)} isn't set here, but by {_NOT_AN_OPTION[name]}")
    if name in _SETS_ITSELF:
        raise _refused(
            f"the option {match.group(1)} can't be set: methods need it as they set it. Host keys "
            "are always checked, nothing is asked for, and no connection outlives the method."
        )


def _refused(what: str) -> JoblistError:
    return JoblistError(f"{FILENAME}, {_TABLE}: {what}")


def _arguments(target: SshTarget, settings: SshSettings) -> list[str]:
    """Return the arguments that hold for the host and for those that lead to it."""
    arguments = ["-F", os.path.expanduser(target.config)] if target.config is not None else []
    for option in settings.options:  # before the fixed ones, of which only times may be given
        match = _OPTION.fullmatch(option)
        assert match is not None
        arguments += _option(*match.groups())
    arguments += [word for option in _FIXED for word in ("-o", option)]
    if target.known_hosts is not None:
        path = os.path.expanduser(target.known_hosts).replace("%", "%%")
        arguments += _option("UserKnownHostsFile", f'"{path}"')
        arguments += _option("GlobalKnownHostsFile", "/dev/null")
    if settings.compression:
        arguments += _option("Compression", "yes")
    return arguments


def _option(name: str, value: str) -> list[str]:
    return ["-o", f"{name}={value}"]


def _jumps(target: SshTarget) -> list[str]:
    text = target.proxy_jump or ""
    names = [name.strip().removeprefix("ssh://") for name in text.split(",")]
    return [] if text.strip().lower() in ("", "none") else names


def _proxy_command(place: Place, target: SshTarget, settings: SshSettings, *, through: str) -> str:
    """Return the command that connects to a host behind ``place``, itself behind ``through``.

    In place of ``-J``, whose ssh would search only the usual files for the key of ``place``, and
    might accept one that isn't known. A shell runs the command, and ssh replaces ``%``
    (ssh_config(5), ProxyCommand).
    """
    command = [SSH, *_arguments(target, settings)]
    command += _option("Port", str(place.port)) if place.port is not None else []
    command += _option("User", place.user) if place.user is not None else []
    command += _option("ProxyCommand", through) if through else []
    words = [shlex.quote(word.replace("%", "%%")) for word in (*command, place.host)]
    return " ".join([*words[:-1], "-W", "'[%h]:%p'", words[-1]])
