"""``UnifiedFileTransferManager``: the methods of the Impala Transfer Tool behind one name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jobtool.api.places import Filesystem, Place
from jobtool.compat.impala_transfer.manager import FSSpecFileTransferManager
from jobtool.errors import UsageError


class UnifiedFileTransferManager:
    """Transfers files by filesystems of fsspec.

    ``fsspec_config`` holds further arguments of ``FSSpecFileTransferManager``:
    ``transfer_options``, ``source_fs_config``, ``target_fs_config``, ``joblist``. The traditional
    methods (distcp, hdfs put, hdfs cp, scp) aren't here: they prove nothing and can't be resumed.

    Raises ``UsageError`` for ``use_fsspec=False``, and as ``FSSpecFileTransferManager`` does.
    """

    def __init__(
        self,
        use_fsspec: bool = True,
        fsspec_config: Mapping[str, Any] | None = None,
        source_fs: Filesystem | None = None,
        target_fs: Filesystem | None = None,
    ) -> None:
        if not use_fsspec:
            raise UsageError(
                "use_fsspec: expected True; found False. The traditional methods (distcp, hdfs "
                "put, hdfs cp, scp) aren't here. Name hdfs:// or sftp:// by target_fs_config."
            )
        known = ("source_fs_config", "target_fs_config", "transfer_options", "joblist")
        given = dict(fsspec_config or {})
        for key in given:
            if key not in known:
                raise UsageError(
                    f"fsspec_config: expected some of {', '.join(known)}; found {key!r}"
                )
        self._manager = FSSpecFileTransferManager(source_fs=source_fs, target_fs=target_fs, **given)

    def transfer_files(
        self,
        filepaths: Iterable[Place],
        target_table: str,
        target_path: str | None = None,
        *,
        joblist: Place | None = None,
    ) -> bool:
        """Transfer files; see ``FSSpecFileTransferManager.transfer_files``."""
        return self._manager.transfer_files(filepaths, target_table, target_path, joblist=joblist)
