"""A joblist: the folder of job files that is the whole state of a transfer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from jobtool.errors import JoblistError, JoblistUnavailableError, reason_of
from jobtool.jobs import settings
from jobtool.jobs.atomic_write import replace_file
from jobtool.jobs.exportshare import MANIFEST_JOB
from jobtool.jobs.filtersettings import NAMES_FOLDER
from jobtool.jobs.jobfolder import JobFolder
from jobtool.jobs.journal import JOURNAL_SUFFIX, Journal, read_journals
from jobtool.jobs.records import Receipt, Record
from jobtool.jobs.safe_read import UnfitFileError
from jobtool.jobs.settings import Settings
from jobtool.jobs.table import TABLE_SUFFIX, read_table
from jobtool.jobs.trust import TRUSTED, CommandTrust, read_trusted
from jobtool.names import filename_of, quote, require_utf8

CLAIMS_FOLDER = ".claims"
WORKERS_FOLDER = "workers"  # in that folder: the markers of workers
LOGS_FOLDER = "logs"
_PUT_BACK = "put-back"
_RECEIPTS_FOLDER = "receipts"
_JOURNALS_FOLDER = "journals"
_CHUNKS_FOLDER = "chunks"
_STAGING_FOLDER = "staging"
_PACKAGES_FOLDER = "packages"
_DELETIONS_FOLDER = "deletions"
_BLOCKS_SUFFIX = ".blocks"
MEMBERS_SUFFIX = ".members.jsonl"
_MANIFEST_SUFFIX = ".manifest.json"

#: The folders that a joblist may have from its beginning.
FIRST_FOLDERS = (CLAIMS_FOLDER, _RECEIPTS_FOLDER, _JOURNALS_FOLDER, NAMES_FOLDER)


class JobList(JobFolder):
    """A joblist on disk: job files, their receipts and journals, and ``settings``.

    Raises ``UsageError`` if Python doesn't read file names as UTF-8.
    """

    def __init__(self, path: str, configuration: Settings) -> None:
        require_utf8()
        super().__init__(path)
        self.settings = configuration
        self._trust = TRUSTED  # the caller's own settings; ``open`` judges those of a file
        self._has_own_credentials = False
        self.filesystems: Mapping[str, Any] = {}
        self.claims_path = os.path.join(path, CLAIMS_FOLDER)
        self._receipts_path = os.path.join(path, _RECEIPTS_FOLDER)
        self._journals_path = os.path.join(path, _JOURNALS_FOLDER)

    @classmethod
    def open(cls, path: str, *, trust: bool = False) -> JobList:
        """Open an existing joblist; raises ``JoblistError`` if it isn't one.

        With ``trust`` the commands that its joblist.toml names, for credentials or by an
        ssh_config, may be run, even if other users could have written it.
        """
        shown = quote(path)
        if not os.path.isdir(path):
            found = "a file" if os.path.exists(path) else "nothing"
            raise JoblistError(
                f"expected a joblist folder at {shown}; found {found}. "
                "Make one with generate-joblist."
            )
        toml = os.path.join(path, settings.FILENAME)
        try:
            data, why_untrusted = read_trusted(toml)
            text = data.decode()
        except FileNotFoundError:
            raise JoblistError(
                f"{shown} isn't a joblist: expected {settings.FILENAME} in it; found none. Make a "
                "joblist with generate-joblist; given a folder of older job files as its output "
                "path, it adds what is missing and leaves them as they are."
            ) from None
        except (OSError, UnicodeDecodeError, UnfitFileError) as error:
            raise JoblistError(f"can't read {quote(toml)}: {reason_of(error)}") from None
        joblist = cls(os.path.realpath(path), settings.decode(text, path=toml))
        joblist._trust = CommandTrust(why_untrusted=why_untrusted, is_overridden=trust)
        return joblist

    @classmethod
    def create(cls, path: str, configuration: Settings) -> JobList:
        """Make a joblist folder, or turn an existing folder into one; raises ``JoblistError``."""
        joblist = cls(os.path.realpath(path), configuration)
        toml = os.path.join(joblist.path, settings.FILENAME)
        text = settings.encode(configuration, path=toml)
        try:
            for folder in (
                joblist.path,
                joblist.claims_path,
                joblist._receipts_path,
                joblist._journals_path,
            ):
                os.makedirs(folder, exist_ok=True)
            replace_file(toml, text.encode())
        except OSError as error:
            raise JoblistError(f"can't write to {quote(path)}: {reason_of(error)}") from None
        return joblist

    def use_credentials(self, table: Mapping[str, Any]) -> None:
        """Use the caller's own ``[credentials]`` table, which is trusted. Nothing is written."""
        self.settings = msgspec.structs.replace(self.settings, credentials=dict(table))
        self._has_own_credentials = True

    def use_filesystems(self, *, source_fs: Any = None, target_fs: Any = None) -> None:
        """Use filesystem objects, or tables that may hold secrets, for the two sides.

        A table is used over that of joblist.toml. Nothing is written: each process needs its own.
        """
        given = {"source": source_fs, "destination": target_fs}
        self.filesystems = {
            **self.filesystems,
            **{role: each for role, each in given.items() if each is not None},
        }

    @property
    def is_trusted_anyway(self) -> bool:
        """Whether the user trusts this joblist, though others could have written it."""
        return self._trust.is_overridden

    def require_trusted(self) -> str | None:
        """Raise ``JoblistError`` if joblist.toml names a command that isn't trusted.

        An ssh_config counts as one, and so do an option for a method's program, a query, and a
        place for metrics or notices. Return a warning to show if the command is trusted only
        because of ``trust``; else None.
        """
        settings = self.settings
        is_named = settings.names_a_command and not self._has_own_credentials
        is_judged = (
            is_named
            or settings.names_an_ssh_config
            or settings.steers_programs
            or settings.sends_metrics
            or settings.tells_people
            or settings.export is not None  # SQL can change a database, and run programs on it
        )
        return self._trust.require() if is_judged else None

    def program_log_path_of(self, job_id: str, attempt: int, method: str) -> str:
        """Return the path of a file for what a method's programs print in an attempt at a job."""
        return os.path.join(self.path, LOGS_FOLDER, f"{job_id}.{attempt}.{method}.log")

    def table_path_of(self, job_id: str) -> str:
        """Return the path of the receipts table of a finished job."""
        return os.path.join(self._receipts_path, job_id + TABLE_SUFFIX)

    def journal_of(self, job_id: str, require_held: Callable[[], None] | None = None) -> Journal:
        """Return the journal of a job in progress; see ``Journal`` for ``require_held``."""
        return Journal(os.path.join(self._journals_path, job_id + JOURNAL_SUFFIX), require_held)

    def row_job_ids(self) -> list[str]:
        """Return the IDs of the jobs that export rows: all of an export but the manifest's."""
        return [job_id for job_id in self.job_ids() if job_id != MANIFEST_JOB]

    def chunks_path_of(self, job_id: str) -> str:
        """Return the path of the log of an export job's chunks."""
        return os.path.join(self.path, _CHUNKS_FOLDER, job_id + JOURNAL_SUFFIX)

    def deletions_path_of(self, job_id: str) -> str:
        """Return the path of the log of the files that were removed of a job's source."""
        return os.path.join(self.path, _DELETIONS_FOLDER, job_id + JOURNAL_SUFFIX)

    def job_ids_with_deletions(self) -> list[str]:
        """Return the IDs of the jobs of whose source files were removed, sorted."""
        try:
            names = os.listdir(os.path.join(self.path, _DELETIONS_FOLDER))
        except OSError:
            return []
        ending = JOURNAL_SUFFIX
        return sorted(name.removesuffix(ending) for name in names if name.endswith(ending))

    @property
    def staging_path(self) -> str:
        """The folder in which chunks are made."""
        return os.path.join(self.path, _STAGING_FOLDER)

    @property
    def staging_url(self) -> str:
        """The place from which chunks are sent: that of ``[export]``, or the joblist's own."""
        export = self.settings.export
        return self.staging_path if export is None or export.staging is None else export.staging

    @property
    def packages_path(self) -> str:
        """The folder of the packages' lists of members, indexes and manifests."""
        return os.path.join(self.path, _PACKAGES_FOLDER)

    def members_path_of(self, package: str) -> str:
        """Return the path of the list of a package's members."""
        return os.path.join(self.packages_path, filename_of(package) + MEMBERS_SUFFIX)

    def manifest_path_of(self, package: str) -> str:
        """Return the path of the manifest of a package that was packed or has arrived."""
        return os.path.join(self.packages_path, filename_of(package) + _MANIFEST_SUFFIX)

    def sidecars_path_of(self, job_id: str) -> str:
        """Return the folder in which a job that packs makes the index and the manifest."""
        return os.path.join(self.packages_path, job_id)

    def blocks_path_of(self, job_id: str) -> str:
        """Return the folder of a job's shared batches; see ``jobtool.sharing``."""
        return os.path.join(self._journals_path, job_id + _BLOCKS_SUFFIX)

    def job_ids_with_blocks(self) -> list[str]:
        """Return the IDs of the jobs with shared batches or offers of help."""
        try:
            names = os.listdir(self._journals_path)
        except OSError:
            return []
        return [
            name.removesuffix(_BLOCKS_SUFFIX) for name in names if name.endswith(_BLOCKS_SUFFIX)
        ]

    def records_of(self, job_id: str) -> Iterator[Record]:
        """Yield the records of a job: those of its table, its journal and its batches."""
        yield from read_table(self.table_path_of(job_id))
        yield from self.journal_of(job_id).read()
        yield from read_journals(self.blocks_path_of(job_id))

    def receipts_of(self, job_id: str) -> Iterator[Receipt]:
        """Yield the receipts among a job's records, oldest first."""
        return (record for record in self.records_of(job_id) if isinstance(record, Receipt))

    def mark_put_back(self) -> None:
        """Signal to running workers that a finished job was put back to ``todo``.

        Raises ``JoblistUnavailableError``.
        """
        path = os.path.join(self.claims_path, _PUT_BACK)
        try:
            os.makedirs(self.claims_path, exist_ok=True)
            with open(path, "wb") as file:
                os.utime(file.fileno())
        except OSError as error:
            raise JoblistUnavailableError(
                f"can't write {quote(path)}: {reason_of(error)}. Perhaps only workers that start "
                "from now on do the jobs that were put back."
            ) from None

    def last_put_back_ns(self) -> int:
        """Return when jobs were last put back, in nanoseconds since 1970; 0 for never."""
        try:
            return os.stat(os.path.join(self.claims_path, _PUT_BACK)).st_mtime_ns
        except OSError:
            return 0

    def owner_of(self, job_id: str) -> str:
        """Return the mark of a job's unfinished writes.

        It stays the same when the joblist is moved.
        """
        return f"{self.settings.id or self.path}\0{job_id}"
