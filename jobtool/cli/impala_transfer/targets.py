"""Which way the files of ``impala-transfer`` take: target, staging, methods."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

import msgspec

from jobtool.api.places import destination_url
from jobtool.cli.impala_transfer.places import (
    HDFS,
    SFTP,
    Named,
    in_hdfs,
    in_ssh,
    scheme_of,
    with_table,
)
from jobtool.errors import UsageError
from jobtool.stores.location import is_local

_TARGETS = ("target_hdfs_path", "scp_target", "target_path")

_HADOOP = "hadoop"


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What the user gave, by the names of options with underscores.

    ``values`` has those that are set, by whatever way. ``on_command_line`` names those that are on
    the command line, and so precede those of the environment.
    """

    values: Mapping[str, str]
    on_command_line: frozenset[str]

    def named(self, name: str) -> Named | None:
        """Return a value with the name of its option."""
        text = self.values.get(name)
        if text is None:
            return None
        is_own = name in self.on_command_line
        option = f"--{name.replace('_', '-')}" if is_own else name.upper()
        return Named(text=text, option=option)


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """The way of the files.

    ``destination`` is the folder that they go to. ``staging`` is the URL where they wait, None for
    a folder in the joblist. ``methods`` move them, in this order; None means jobtool's own.
    ``remarks`` say what people might not expect.
    """

    destination: str
    staging: str | None = None
    methods: tuple[str, ...] | None = None
    remarks: tuple[str, ...] = ()


def way_of(given: Given, *, table: str | None, use_distcp: bool | None) -> Way:
    """Return the way for a target. ``use_distcp`` is None if nobody has said.

    =============  ===================  ========================================
    target         staging              methods
    =============  ===================  ========================================
    HDFS, distcp   --source-hdfs-path   distcp, hdfs-cp, stream
    HDFS           in the joblist       hdfs-put, stream
    SSH server     in the joblist       scp, stream
    other          in the joblist       jobtool's own
    =============  ===================  ========================================

    Raises ``UsageError``.
    """
    kind, target = _target(given)
    cluster = given.named("target_cluster")
    if kind == "target_hdfs_path":
        is_overruled = (
            "://" in target.text
            and kind in given.on_command_line
            and "target_cluster" not in given.on_command_line
        )
        url = in_hdfs(target, None if is_overruled else cluster)
    elif cluster is not None and "target_cluster" in given.on_command_line:
        raise UsageError(f"{cluster}: expected --target-hdfs-path with it; found {target}")
    elif kind == "scp_target":
        url = in_ssh(target)
    else:
        url = destination_url(target.text)
    destination = with_table(url, table)
    scheme = "file" if is_local(destination) else scheme_of(destination)
    if scheme in HDFS:
        return _into_hdfs(destination, given, use_distcp)
    if use_distcp and "use_distcp" in given.on_command_line:
        raise UsageError(f"--use-distcp: expected a target in HDFS; found {target}")
    return Way(destination=destination, methods=methods_for(None, destination))


def methods_for(
    staging: str | None, destination: str, use_distcp: bool | None = None
) -> tuple[str, ...] | None:
    """Return the methods that fit two places, in the order of ``way_of``."""
    scheme = "file" if is_local(destination) else scheme_of(destination)
    if scheme == SFTP:
        return "scp", "stream"
    if scheme not in HDFS:
        return None
    if staging is None:
        return "hdfs-put", "stream"
    return (*(() if use_distcp is False else ("distcp",)), "hdfs-cp", "stream")


def _target(given: Given) -> tuple[str, Named]:
    """Return the one target: that of the command line, else that of the environment."""
    there = [name for name in _TARGETS if name in given.values]
    if not there:
        if "target_cluster" in given.values:
            raise UsageError(
                "expected --target-hdfs-path (or the variable TARGET_HDFS_PATH), the folder in "
                f"{given.named('target_cluster')}; found none"
            )
        raise UsageError(
            "expected a target: --target-hdfs-path (or the variable TARGET_HDFS_PATH), "
            "--scp-target (SCP_TARGET) or --target-path (TARGET_PATH); found none"
        )
    chosen = [name for name in there if name in given.on_command_line] or there
    if len(chosen) > 1:
        raise UsageError(
            f"expected one target; found {' and '.join(str(given.named(one)) for one in chosen)}"
        )
    target = given.named(chosen[0])
    assert target is not None
    return chosen[0], target


def _into_hdfs(destination: str, given: Given, use_distcp: bool | None) -> Way:
    source = given.named("source_hdfs_path")
    is_there = shutil.which(_HADOOP) is not None
    if use_distcp is False:
        return _without_distcp(destination)
    if use_distcp:
        if source is None:
            raise UsageError(
                "distcp is asked for: expected --source-hdfs-path (or the variable "
                "SOURCE_HDFS_PATH), a folder in the source's cluster where files wait for it; "
                "found none. Or use --no-distcp (USE_DISTCP=false)"
            )
        if not is_there:
            raise UsageError(
                "distcp is asked for: expected Hadoop's program hadoop on the PATH; found none. "
                "Install Hadoop's client, or use --no-distcp (USE_DISTCP=false)"
            )
    elif source is None:
        return _without_distcp(destination, "distcp isn't used without --source-hdfs-path.")
    elif not is_there:
        return _without_distcp(
            destination, "distcp isn't used: Hadoop's program hadoop isn't on the PATH."
        )
    staging = in_hdfs(source, None)
    return Way(destination=destination, staging=staging, methods=methods_for(staging, destination))


def _without_distcp(destination: str, *remarks: str) -> Way:
    return Way(destination=destination, methods=methods_for(None, destination), remarks=remarks)
