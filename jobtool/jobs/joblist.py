"""A joblist: the folder of job files that is the whole state of a transfer."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from jobtool.errors import JobFileError, JoblistError, JoblistUnavailableError, reason_of
from jobtool.jobs import jobfile, settings
from jobtool.jobs.atomic_write import create_file, replace_file, sync_folder, target_of
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.jobfile import LogRecord
from jobtool.jobs.journal import JOURNAL_SUFFIX, Journal, read_journals
from jobtool.jobs.records import Receipt, Record
from jobtool.jobs.safe_read import UnfitFileError, open_without_waiting, read_bounded
from jobtool.jobs.settings import Settings
from jobtool.jobs.table import TABLE_SUFFIX, read_table
from jobtool.jobs.trust import read_trusted
from jobtool.names import filename_of, quote, require_utf8

SUFFIX = ".txt"
CLAIMS_FOLDER = ".claims"
_PUT_BACK = "put-back"
RECEIPTS_FOLDER = "receipts"
JOURNALS_FOLDER = "journals"
_BLOCKS_SUFFIX = ".blocks"

#: No honest job file is larger; none that is gets read. It is read whole, and rewritten whole with
#: each change of its status.
MAX_JOBFILE_BYTES = 64 * 1024 * 1024

_STATUS_BYTES = 64
_MAX_STEM_BYTES = 230


@dataclass(frozen=True, slots=True)
class ScannedJob:
    """What a scan tells of a job file: its stem and status, None for a first line that is none."""

    job_id: str
    status: JobStatus | None


class JobList:
    """A joblist on disk. Paths are made once; each method says which files it touches.

    Raises ``UsageError`` where file names aren't taken for UTF-8.
    """

    def __init__(self, path: str, configuration: Settings) -> None:
        require_utf8()
        self.path = path
        self.settings = configuration
        self._temporaries: dict[str, list[str]] = {}
        self._why_untrusted: str | None = None  # nobody else has written what we make ourselves
        self._is_trusted_as_told = False
        self.claims_path = os.path.join(path, CLAIMS_FOLDER)
        self._receipts_path = os.path.join(path, RECEIPTS_FOLDER)
        self._journals_path = os.path.join(path, JOURNALS_FOLDER)

    @classmethod
    def open(cls, path: str, *, trust: bool = False) -> JobList:
        """Open an existing joblist; raises ``JoblistError`` where there is none.

        With ``trust`` the commands that its joblist.toml names for credentials may be run, though
        others could have written it.
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
                f"{shown} is no joblist: expected {settings.FILENAME} in it; found none. Make a "
                "joblist with generate-joblist; given a folder of older job files as its output "
                "path, it adds what is missing and leaves them as they are."
            ) from None
        except (OSError, UnicodeDecodeError, UnfitFileError) as error:
            raise JoblistError(f"can't read {quote(toml)}: {reason_of(error)}") from None
        joblist = cls(os.path.realpath(path), settings.decode(text, path=toml))
        joblist._why_untrusted = why_untrusted
        joblist._is_trusted_as_told = trust
        return joblist

    def use_credentials(self, table: Mapping[str, Any]) -> None:
        """Use a ``[credentials]`` table of one's own, which is trusted, in place of the joblist's.

        Nothing is written.
        """
        self.settings = msgspec.structs.replace(self.settings, credentials=dict(table))
        self._why_untrusted = None

    def require_trusted(self) -> str | None:
        """Make sure that joblist.toml may make us run the commands that it names, if any.

        Return what is to be told where it may only because of ``trust``. Raises ``JoblistError``
        where it may not.
        """
        if self._why_untrusted is None or not self.settings.names_a_command:
            return None
        if self._is_trusted_as_told:
            return f"Trusted as told, though others could have written it: {self._why_untrusted}"
        raise JoblistError(
            f"joblist.toml names a command to run, and that may not be trusted. "
            f"{self._why_untrusted} Or, having read the command, use --trust (in Python "
            "JobList.open(path, trust=True))."
        )

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

    def path_of(self, job_id: str) -> str:
        """Return the path of a job file."""
        return os.path.join(self.path, job_id + SUFFIX)

    def table_path_of(self, job_id: str) -> str:
        """Return the path of the verification table of a job that is done."""
        return os.path.join(self._receipts_path, job_id + TABLE_SUFFIX)

    def journal_of(self, job_id: str, require_held: Callable[[], None] | None = None) -> Journal:
        """Return the journal of a job under way; see ``Journal`` for ``require_held``."""
        return Journal(os.path.join(self._journals_path, job_id + JOURNAL_SUFFIX), require_held)

    def blocks_path_of(self, job_id: str) -> str:
        """Return the folder of what a job's holder lends to others; see ``jobs.blocks``."""
        return os.path.join(self._journals_path, job_id + _BLOCKS_SUFFIX)

    def job_ids_with_blocks(self) -> list[str]:
        """Return the stems of the jobs of which something is lent, or help is offered with."""
        try:
            names = os.listdir(self._journals_path)
        except OSError:
            return []
        return [
            name.removesuffix(_BLOCKS_SUFFIX) for name in names if name.endswith(_BLOCKS_SUFFIX)
        ]

    def records_of(self, job_id: str) -> Iterator[Record]:
        """Yield what is recorded of a job: its table, its journal, those of its blocks."""
        yield from read_table(self.table_path_of(job_id))
        yield from self.journal_of(job_id).read()
        yield from read_journals(self.blocks_path_of(job_id))

    def receipts_of(self, job_id: str) -> Iterator[Receipt]:
        """Yield the receipts among a job's records, oldest first."""
        return (record for record in self.records_of(job_id) if isinstance(record, Receipt))

    def mark_put_back(self) -> None:
        """Let workers that are under way know that a finished job is to be done again.

        Raises ``JoblistUnavailableError``.
        """
        path = os.path.join(self.claims_path, _PUT_BACK)
        try:
            os.makedirs(self.claims_path, exist_ok=True)
            with open(path, "wb") as file:
                os.utime(file.fileno())
        except OSError as error:
            raise JoblistUnavailableError(
                f"can't write {quote(path)}: {reason_of(error)}. What was put back may be done "
                "only by workers that start from now on."
            ) from None

    def last_put_back_ns(self) -> int:
        """Return when that was marked last, in nanoseconds since 1970; 0 for never."""
        try:
            return os.stat(os.path.join(self.claims_path, _PUT_BACK)).st_mtime_ns
        except OSError:
            return 0

    def owner_of(self, job_id: str) -> str:
        """Return what marks the unfinished writes of a job as its own, wherever the folder lies."""
        return f"{self.settings.id or self.path}\0{job_id}"

    def job_ids(self) -> list[str]:
        """Return the stems of all job files, sorted. One reading of the folder.

        Raises ``JoblistUnavailableError`` where it isn't there any more.
        """
        try:
            names = os.listdir(self.path)
        except OSError as error:
            raise self._gone(reason_of(error)) from None
        job_ids = _job_ids_among(names)
        # A joblist may have no jobs, and joblist.toml may be away while somebody edits it. Without
        # both this is another folder, made in the joblist's place by whoever wrote into it last.
        if not job_ids and settings.FILENAME not in names:
            raise self._gone(f"neither {settings.FILENAME} nor a job file in it")
        self._temporaries = {}
        for name in names:
            job_id = temporary_of(name)
            if job_id is not None:
                self._temporaries.setdefault(job_id, []).append(name)
        return job_ids

    def _gone(self, found: str) -> JoblistUnavailableError:
        return JoblistUnavailableError(
            f"expected the joblist still at {quote(self.path)}; found: {found}. "
            "Put it back where it was, or start again with its new path."
        )

    def has_temporaries(self, job_id: str) -> bool:
        """Tell whether a change of this job file was under way, or cut off, when last listed."""
        return job_id in self._temporaries

    def remove_temporaries(self, job_id: str) -> None:
        """Remove what a kill in the middle of a change of this job file left, as last listed.

        Only the holder of the claim may.
        """
        for name in self._temporaries.pop(job_id, ()):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.path, name))

    def scan(self) -> Iterator[ScannedJob]:
        """Read the status of every job: one reading of the folder, one small read per file."""
        for job_id in self.job_ids():
            with contextlib.suppress(FileNotFoundError):  # removed by hand meanwhile
                yield ScannedJob(job_id, self.status_of(job_id))

    def status_of(self, job_id: str) -> JobStatus | None:
        """Read one job's status, by one small read; None if it is none of the four words.

        Raises ``FileNotFoundError``.
        """
        try:
            _require_short(job_id)
            descriptor = open_without_waiting(self.path_of(job_id))
        except FileNotFoundError:
            raise
        except (OSError, JobFileError):
            return None
        try:
            return jobfile.decode_status(os.read(descriptor, _STATUS_BYTES))
        except OSError:  # a folder with a name like a job file's
            return None
        finally:
            os.close(descriptor)

    def load(self, job_id: str) -> tuple[Job, bytes]:
        """Read a job file; return the job and its log.

        Raises ``JobFileError`` (the job is invalid) or ``FileNotFoundError``.
        """
        path = self.path_of(job_id)
        _require_short(job_id)
        try:
            data = read_bounded(path, MAX_JOBFILE_BYTES)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise JobFileError(f"can't be read: {reason_of(error)}") from None
        except UnfitFileError as error:
            raise JobFileError(
                f"{error}. What follows its {jobfile.SEPARATOR!r} line is a log, which may be cut"
            ) from None
        return jobfile.decode(data, job_id=job_id)

    def add(self, job: Job, log: bytes = b"") -> bool:
        """Write a new job file unless there is one of that name; tell whether it was written.

        Call ``flush`` after the last.
        """
        return create_file(self.path_of(filename_of(job.name)), jobfile.encode(job, log))

    def flush(self) -> None:
        """Make the names of added job files durable."""
        sync_folder(self.path)

    def save(
        self, job_id: str, job: Job, log: bytes, *, before: Callable[[], None] | None = None
    ) -> None:
        """Replace a job file, atomically and durably. Only the holder of the claim may.

        ``before`` is called at the last moment; what it raises prevents the change.
        """
        replace_file(self.path_of(job_id), jobfile.encode(job, log), before=before)

    def append(self, job_id: str, record: LogRecord) -> None:
        """Append a log line to a job file. Only the holder of the claim may."""
        # What a worker has claimed is a file of its own writing; a link leads to somebody else's.
        descriptor = os.open(self.path_of(job_id), os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        try:
            os.write(descriptor, jobfile.encode_record(record))
        finally:
            os.close(descriptor)


def job_ids_in(path: str) -> list[str]:
    """Return the stems of the job files in a folder that need not be a joblist yet, sorted."""
    return _job_ids_among(os.listdir(path))


def _job_ids_among(names: list[str]) -> list[str]:
    jobs = (name for name in names if name.endswith(SUFFIX) and not name.startswith("."))
    return sorted(name.removesuffix(SUFFIX) for name in jobs)


def _require_short(job_id: str) -> None:
    # Longer names leave no room for those of temporary files and locks; ours never are.
    if len(os.fsencode(job_id)) > _MAX_STEM_BYTES:
        raise JobFileError(f"expected a file name of at most {_MAX_STEM_BYTES + 4} bytes")


def temporary_of(name: str) -> str | None:
    """Return the stem of the job that a temporary file in the joblist belongs to."""
    target = target_of(name)
    return target.removesuffix(SUFFIX) if target and target.endswith(SUFFIX) else None
