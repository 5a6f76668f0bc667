"""The tables of joblist.toml for the methods that run Hadoop's programs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from jobtool.errors import JoblistError
from jobtool.jobs.settings import FILENAME, Settings
from jobtool.methods.settings import of_table
from jobtool.redact import sounds_secret

_Count = Annotated[int, msgspec.Meta(ge=1, le=10_000)]

#: Hadoop, "DistCp Guide": what ``-p`` can preserve.
_PRESERVED = msgspec.Meta(pattern="^[rbugpcaxte]*$")

#: Options of distcp that would make it do something else than copy the files that it is given.
#: With ``-delete`` it removes all files of the target that aren't in this one listing.
_REFUSED = (
    "-delete -async -atomic -diff -rdiff -f -filters -i -m -p -overwrite -update -append -strategy "
    "-bandwidth -direct -tmp -blocksperchunk -xtrack".split()
)

#: How Hadoop's clients wait for a server that doesn't answer. Their defaults are up to 15 minutes.
#: Hadoop, core-default.xml, hdfs-default.xml and yarn-default.xml.
_PATIENCE = {
    "ipc.client.connect.timeout": "10000",
    "ipc.client.connect.max.retries": "3",
    "ipc.client.connect.max.retries.on.timeouts": "2",
    # Of NameNodes that can fail over: the pauses between 7 attempts take 45 s, between 15 150 s.
    "dfs.client.failover.max.attempts": "7",
    "yarn.resourcemanager.connect.max-wait.ms": "30000",
    "yarn.resourcemanager.connect.retry-interval.ms": "5000",
}


class HadoopSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The table ``[hadoop]``.

    ``conf_dir`` is the folder of Hadoop's configuration, by default HADOOP_CONF_DIR's. ``user`` is
    who asks in a cluster without Kerberos, by default the one of ``[hdfs]``. ``options`` are
    properties of Hadoop, passed as ``-D NAME=VALUE``.
    """

    conf_dir: str | None = None
    user: str | None = None
    options: dict[str, str | bool | int | float] = {}


class DistcpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The table ``[methods.distcp]``.

    ``maps`` is how many maps copy at a time at most, ``strategy`` how files are shared out to them.
    With ``append`` a shorter file at the destination is continued, if checksums are compared.
    ``preserve`` holds the letters of ``-p``: ``p`` for permissions, ``b`` for the size of blocks.
    With ``skip_crc`` distcp compares no checksums. ``s3a`` says that Hadoop is set up for S3,
    ``same_cluster`` that distcp may copy inside one cluster. ``options`` are further options.
    """

    maps: _Count = 20
    strategy: Literal["dynamic", "uniformsize"] = "dynamic"
    append: bool = False
    preserve: Annotated[str, _PRESERVED] = "p"
    skip_crc: bool = False
    s3a: bool = False
    same_cluster: bool = False
    options: tuple[str, ...] = ()


class ShellSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The tables ``[methods.hdfs-put]`` and ``[methods.hdfs-get]``.

    ``threads`` is how many files a program copies at a time, by default the worker's ``threads``.
    """

    threads: _Count | None = None


class CpSettings(ShellSettings, frozen=True, kw_only=True):
    """The table ``[methods.hdfs-cp]``.

    ``preserve`` holds the letters of ``-p``: ``p`` for permissions, ``t`` for times.
    """

    preserve: Annotated[str, msgspec.Meta(pattern="^[topax]*$")] = "tp"


def hadoop_settings(settings: Settings) -> HadoopSettings:
    """Return the table ``[hadoop]``. Raises ``JoblistError``."""
    found = of_table(settings.hadoop, HadoopSettings, where="table [hadoop]")
    for name in found.options:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._*/-]*", name):
            raise JoblistError(
                f"{FILENAME}, table [hadoop]: expected names of Hadoop's properties in options; "
                f"found {name!r}"
            )
        if sounds_secret(name):
            raise JoblistError(
                f"{FILENAME}, table [hadoop]: {name!r} in options looks like a secret, which all "
                "users would see among a program's arguments. Put it into Hadoop's own "
                "configuration or a credential provider."
            )
    user = found.user or settings.stores.get("hdfs", {}).get("user")
    return msgspec.structs.replace(found, user=user if isinstance(user, str) else None)


def require_harmless(options: tuple[str, ...]) -> None:
    """Raise ``JoblistError`` for options of distcp that jobtool sets itself, or can't allow."""
    for option in options:
        name = "-" + option.lstrip("-").partition("=")[0] if option.startswith("-") else option
        if name in _REFUSED or re.fullmatch("-p[a-z]*", name):
            why = (
                "it would remove files of other jobs, since distcp is given a few files at a time"
                if name == "-delete"
                else "jobtool sets it, or it has its own key, or distcp would do more than copy"
            )
            raise JoblistError(
                f"{FILENAME}, table [methods.distcp]: {option!r} can't be among options: {why}"
            )


def properties(hadoop: HadoopSettings, more: Mapping[str, str] = {}) -> list[str]:
    """Return the arguments that set Hadoop's properties: ours, then those of ``options``."""
    told = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in hadoop.options.items()
    }
    return [f"-D{name}={value}" for name, value in {**_PATIENCE, **more, **told}.items()]


def environment(
    hadoop: HadoopSettings, kept: Mapping[str, str], *, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the variables for a program: those that it keeps, and what the settings say.

    Java takes names of files from arguments by the locale, which therefore has to be UTF-8.
    """
    found = dict(kept)
    if hadoop.conf_dir is not None:
        found["HADOOP_CONF_DIR"] = hadoop.conf_dir
    if hadoop.user is not None:
        found["HADOOP_USER_NAME"] = hadoop.user
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    if locale.lower().replace("-", "").rpartition(".")[2] != "utf8":
        found["LC_ALL"] = "C.UTF-8"
    return found
