"""``FSSpecFileTransferManager``: transfers files between filesystems of fsspec."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any

from jobtool.api.generate import generate_joblist
from jobtool.api.places import Filesystem, Place, destination_url, local_path, text_of
from jobtool.api.retry import retry_jobs
from jobtool.api.statefolder import state_folder
from jobtool.api.transfer import transfer_jobs
from jobtool.compat.impala_transfer.table import Files, write_table
from jobtool.errors import JobtoolError, UsageError
from jobtool.events import Event
from jobtool.jobs.job import JobStatus
from jobtool.jobs.joblist import JobList
from jobtool.level import Level
from jobtool.names import name_of, quote
from jobtool.redact import redact, without_secrets
from jobtool.stores.location import Location, parent_of
from jobtool.stores.sides import OBJECT, TABLES, Side, protocol_of, side_of
from jobtool.stores.storetype import Role

logger = logging.getLogger("jobtool.compat.impala_transfer")

#: The smallest part that stores take.
_LEAST_PART_BYTES = 5 * 1024 * 1024

#: The symbols of events that are more than information.
_LEVELS = {"❌": logging.ERROR, "❗": logging.WARNING}

_OPTIONS = (
    "chunk_size",
    "credentials",
    "if_exists",
    "links",
    "max_attempts",
    "patience_seconds",
    "threads",
    "time_limit_seconds",
    "verify",
)


class FSSpecFileTransferManager:
    """Transfers files from one filesystem to another, proven and resumable.

    It is a face of ``jobtool.generate_joblist`` and ``jobtool.transfer_jobs``. A filesystem is a
    dictionary with ``protocol`` and options, or an object of fsspec; an object takes precedence.
    Without a source, files are on this machine. Secrets in a dictionary stay in this process.

    Args:
        source_fs_config: The filesystem of the files, as a dictionary.
        target_fs_config: That of the destination. Its ``target_path`` is the folder for the files.
        source_fs: The filesystem of the files, as an object.
        target_fs: That of the destination, as an object.
        transfer_options: ``chunk_size``, the size of a part in bytes, at least 5 MiB (a smaller one
            counts as that), and these keywords of ``transfer_jobs``: ``credentials``,
            ``if_exists``, ``links``, ``max_attempts``, ``patience_seconds``, ``threads``,
            ``time_limit_seconds``, ``verify``.
        joblist: The folder of the transfer's state; see ``transfer_files``.

    Raises:
        UsageError: An argument can't be used, or there is no target.
    """

    def __init__(
        self,
        source_fs_config: Mapping[str, Any] | None = None,
        target_fs_config: Mapping[str, Any] | None = None,
        source_fs: Filesystem | None = None,
        target_fs: Filesystem | None = None,
        transfer_options: Mapping[str, Any] | None = None,
        *,
        joblist: Place | None = None,
    ) -> None:
        self._given: dict[Role, Any] = {}
        self._sides: dict[Role, Side] = {}
        configs: dict[Role, Any] = {"source": source_fs_config, "destination": target_fs_config}
        objects: dict[Role, Any] = {"source": source_fs, "destination": target_fs}
        for role, config in configs.items():
            given = config if objects[role] is None else objects[role]
            if given is not None:
                self._given[role] = given
                self._sides[role] = side_of(given, role, where=f"{TABLES[role]}_config")
        if "destination" not in self._sides:
            raise UsageError("expected target_fs or target_fs_config; found neither")
        self._target_path = (target_fs_config or {}).get("target_path")
        self._options = _options_of(transfer_options or {})
        self._joblist = joblist

    def transfer_files(
        self,
        filepaths: Iterable[Place],
        target_table: str,
        target_path: str | None = None,
        *,
        joblist: Place | None = None,
    ) -> bool:
        """Transfer files into the folder ``target_path``, under their own names.

        A call with the same arguments as an earlier one, by this process or another, goes on where
        that was interrupted. After a finished one it sends only what has changed since.

        Args:
            filepaths: Paths in the source's filesystem.
            target_table: The table that the files are for. It names the transfer, in the log and in
                the default joblist; it is no part of any path.
            target_path: A path or URL of the target, by default ``target_path`` of its dictionary.
            joblist: The folder of the transfer's state, a joblist that jobtool's commands can
                show. By default one in ``$XDG_STATE_HOME/jobtool/impala_transfer``, which is
                usually ``~/.local/state/jobtool/impala_transfer``, named by the arguments.

        Returns:
            True if all files are there and proven. Otherwise False, and the reasons are logged, by
            the logger ``jobtool.compat.impala_transfer``.
        """
        try:
            return self._transfer(filepaths, target_table, target_path, joblist or self._joblist)
        except JobtoolError as error:
            logger.error("%s: %s", quote(str(target_table)), redact(str(error)))
            return False

    def _transfer(
        self, filepaths: Iterable[Place], table: str, target_path: str | None, joblist: Place | None
    ) -> bool:
        if isinstance(filepaths, str | bytes | os.PathLike):
            raise UsageError(f"filepaths: expected a list of paths; found {filepaths!r}")
        files = Files(
            rows=tuple(self._row(text_of(path)) for path in filepaths),
            destination=self._destination(target_path),
        )
        if not files.rows:
            logger.info("%s: no files to transfer", quote(table))
            return True
        folder = self._default_folder(files, table) if joblist is None else local_path(joblist)
        logger.info(
            "%s: %d files to %s, joblist %s",
            *(quote(table), len(files.rows), quote(files.destination), quote(folder)),
        )
        filesystems = {TABLES[role]: given for role, given in self._given.items()}
        generate_joblist(
            write_table(folder, files),
            folder,
            destination=files.destination,
            layout="manifest",
            **filesystems,
        )
        _put_back(JobList.open(folder))
        done = transfer_jobs(folder, wait=True, on_event=_log, **filesystems, **self._options)
        count = sum(done.statuses.values())
        if done.statuses[JobStatus.SUCCESS] == count:
            logger.info("%s: all files are at %s", quote(table), quote(files.destination))
            return True
        logger.error(
            "%s: not all files are at %s: %s. The same call goes on; jobtool summarise %s shows "
            "more.",
            *(quote(table), quote(files.destination), done.stopped or "some failed"),
            quote(folder),
        )
        return False

    def _row(self, path: str) -> tuple[str, str]:
        """Return a file's path or URL, as a table has it, and its name."""
        side = self._sides.get("source")
        text = path if side is None else side.url_of(path)
        location = Location.resolve(text, follow_links=False)
        return location.url if location.is_local else text, parent_of(location.url)[1]

    def _destination(self, target_path: str | None) -> str:
        side = self._sides["destination"]
        path = self._target_path if target_path is None else target_path
        if path is None and not side.has_target:
            raise UsageError("target_path: expected the folder for the files; found none")
        return destination_url(path or "", side)

    def _default_folder(self, files: Files, table: str) -> str:
        """Return the folder for these arguments; made are only the folders above it."""
        facts = [*(source for source, _ in files.rows), files.destination, table]
        facts += [f"{role} {_identity_of(given)}" for role, given in sorted(self._given.items())]
        return state_folder("impala_transfer", table, facts, option="joblist=…")


def _put_back(joblist: JobList) -> None:
    """Have all finished jobs looked at again: what is proven and unchanged isn't sent again."""
    done = (JobStatus.SUCCESS, JobStatus.ERROR)
    names = [name_of(each.job_id) for each in joblist.scan() if each.status in done]
    if names:
        retry_jobs(joblist, jobs=names)


def _options_of(options: Mapping[str, Any]) -> dict[str, Any]:
    for key in options:
        if key not in _OPTIONS:
            raise UsageError(
                f"transfer_options: expected some of {', '.join(_OPTIONS)}; found {key!r}"
            )
    found = {key: value for key, value in options.items() if key != "chunk_size"}
    size = options.get("chunk_size")
    if size is not None:
        if type(size) is not int or size < 1:
            raise UsageError(f"chunk_size: expected a number of bytes; found {size!r}")
        found["part_size_bytes"] = max(size, _LEAST_PART_BYTES)
    return found


def _identity_of(given: object) -> str:
    """Return what tells a filesystem from others, without its secrets."""
    if isinstance(given, Mapping):
        options: Mapping[str, Any] = {k: v for k, v in given.items() if k != "target_path"}
        protocol = ""
    else:
        options, protocol = getattr(given, "storage_options", {}), f"{OBJECT} {protocol_of(given)}"
    return f"{protocol} {json.dumps(_plain(without_secrets(options)), sort_keys=True)}"


def _plain(value: Any) -> Any:
    """Return what is text, a number or a switch in options, at any depth; None for the rest."""
    if isinstance(value, Mapping):
        found = {str(key): _plain(each) for key, each in value.items()}
        return {key: each for key, each in found.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, os.PathLike):
        return text_of(value)
    return value if isinstance(value, str | int | float) else None


def _log(event: Event) -> None:
    """Log an event: what is about single files and small steps for debugging only."""
    level = logging.INFO if event.level <= Level.NORMAL else logging.DEBUG
    logger.log(_LEVELS.get(event.mark(), level), "%s", redact(event.text()))
