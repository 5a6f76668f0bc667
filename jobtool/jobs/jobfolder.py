"""A folder of job files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import msgspec

from jobtool.errors import JobFileError, JoblistUnavailableError, reason_of
from jobtool.failpoints import reach
from jobtool.jobs import jobfile, joblog, settings
from jobtool.jobs.atomic_write import create_file, replace_file, sync_folder, target_of
from jobtool.jobs.job import Job, JobStatus
from jobtool.jobs.joblog import LogRecord
from jobtool.jobs.safe_read import UnfitFileError, open_without_waiting, read_bounded
from jobtool.names import filename_of, quote

SUFFIX = ".txt"

#: The largest job file that is read. Each change of status reads and rewrites the whole file.
MAX_JOBFILE_BYTES = 64 * 1024 * 1024

_STATUS_BYTES = 64

#: One page, so that it costs no more than the status.
_HEAD_BYTES = 4096

#: Longer names would leave no room for the names of temporary files and locks. Generated names are
#: never longer.
_MAX_JOB_ID_BYTES = 230


class ScannedJob(msgspec.Struct, frozen=True):
    """A job ID with the job's status, None if the first line of its file is invalid."""

    job_id: str
    status: JobStatus | None


class JobFolder:
    """The job files at ``path``. A job ID is the name of a job file without its suffix."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._temporaries: dict[str, list[str]] = {}

    def path_of(self, job_id: str) -> str:
        """Return the path of a job file."""
        return os.path.join(self.path, job_id + SUFFIX)

    def job_ids(self) -> list[str]:
        """Return the IDs of all jobs, sorted. Reads the folder once.

        Raises ``JoblistUnavailableError`` if the joblist isn't there any more.
        """
        try:
            names = os.listdir(self.path)
        except OSError as error:
            raise self._gone(reason_of(error)) from None
        job_ids = _job_ids_among(names)
        # A joblist may have no jobs, and joblist.toml may be missing while an editor replaces it.
        # If both are missing, this is another folder, made in the joblist's place by its last
        # writer.
        if not job_ids and settings.FILENAME not in names:
            raise self._gone(f"neither {settings.FILENAME} nor a job file in it")
        self._temporaries = {}
        for name in names:
            job_id = _job_id_of_temporary(name)
            if job_id is not None:
                self._temporaries.setdefault(job_id, []).append(name)
        return job_ids

    def _gone(self, found: str) -> JoblistUnavailableError:
        return JoblistUnavailableError(
            f"expected the joblist still at {quote(self.path)}; found: {found}. "
            "Move it back, or start again with its new path."
        )

    def has_temporaries(self, job_id: str) -> bool:
        """Return True if the last listing showed temporary files of this job file.

        Either a change of the job file was in progress then, or its writer was killed.
        """
        return job_id in self._temporaries

    def remove_temporaries(self, job_id: str) -> None:
        """Remove the temporary files of this job file that the last listing showed.

        Workers call this with the claim: a writer whose file vanishes has to write another one.
        """
        for name in self._temporaries.pop(job_id, ()):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.path, name))

    def scan(self) -> Iterator[ScannedJob]:
        """Yield the status of every job. Reads the folder once, and a few bytes of each file."""
        for job_id in self.job_ids():
            with contextlib.suppress(FileNotFoundError):  # the job file was removed meanwhile
                yield ScannedJob(job_id, self.status_of(job_id))

    def status_of(self, job_id: str) -> JobStatus | None:
        """Return one job's status, by one small read; None if the first line is invalid.

        Raises ``FileNotFoundError``.
        """
        return jobfile.decode_status(self._first_bytes(job_id, _STATUS_BYTES))

    def head_of(self, job_id: str) -> tuple[JobStatus | None, int]:
        """Return one job's status and its priority, by one small read, as ``status_of`` does.

        A priority that follows after 4 KiB isn't found. jobtool writes it on the second line.
        """
        data = self._first_bytes(job_id, _HEAD_BYTES)
        return jobfile.decode_status(data), jobfile.decode_priority(data)

    def _first_bytes(self, job_id: str, most: int) -> bytes:
        """Return the first bytes of a job file, none if it can't be read."""
        try:
            _require_short(job_id)
            descriptor = open_without_waiting(self.path_of(job_id))
        except FileNotFoundError:
            raise
        except (OSError, JobFileError):
            return b""
        try:
            return os.read(descriptor, most)
        except OSError:  # such as a folder that is named like a job file
            return b""
        finally:
            os.close(descriptor)

    def load(self, job_id: str) -> tuple[Job, bytes]:
        """Read a job file; return the job and its log.

        Raises ``JobFileError`` (the job is invalid) or ``FileNotFoundError``.
        """
        return jobfile.decode(self.read(job_id), job_id=job_id)

    def read(self, job_id: str) -> bytes:
        """Return the bytes of a job file.

        Raises ``JobFileError`` (the job is invalid) or ``FileNotFoundError``.
        """
        _require_short(job_id)
        try:
            return read_bounded(self.path_of(job_id), MAX_JOBFILE_BYTES)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise JobFileError(f"can't be read: {reason_of(error)}") from None
        except UnfitFileError as error:
            raise JobFileError(
                f"{error}. Shorten its log, the lines after {jobfile.SEPARATOR!r}"
            ) from None

    def add(self, job: Job, log: bytes = b"") -> bool:
        """Write a new job file; return False and change nothing if one of that name exists.

        Call ``flush`` after the last one.
        """
        return create_file(self.path_of(filename_of(job.name)), jobfile.encode(job, log))

    def flush(self) -> None:
        """Make the names of added job files durable."""
        sync_folder(self.path)

    def save(
        self, job_id: str, job: Job, log: bytes, *, before: Callable[[], None] | None = None
    ) -> bytes:
        """Replace a job file, atomically and durably; return its bytes.

        Only the holder of the claim may call this.

        ``before`` is called right before the rename; an exception from it prevents the change.
        """
        reach("before the job file is changed")
        data = jobfile.encode(job, log)
        replace_file(self.path_of(job_id), data, before=before)
        reach("after the job file is changed")
        return data

    def append(self, job_id: str, record: LogRecord, *, after_torn: bool = False) -> None:
        """Append a line to the log of a job. Only the holder of the claim may call this.

        With ``after_torn`` it first ends the line that a killed process has begun.
        """
        reach("before the job file's log grows")
        # A claimed job's file was written by its worker. A link leads to another file.
        descriptor = os.open(self.path_of(job_id), os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        try:
            os.write(descriptor, b"\n" * after_torn + joblog.encode_record(record))
        finally:
            os.close(descriptor)


def job_ids_in(path: str) -> list[str]:
    """Return the job IDs in a folder that needn't be a joblist yet, sorted."""
    return _job_ids_among(os.listdir(path))


def job_id_in(filename: str) -> str | None:
    """Return the ID of the job whose file has this name; None if it isn't that of a job file."""
    is_job = filename.endswith(SUFFIX) and not filename.startswith(".")
    return filename.removesuffix(SUFFIX) if is_job else None


def _job_ids_among(names: list[str]) -> list[str]:
    return sorted(job_id for job_id in map(job_id_in, names) if job_id is not None)


def _require_short(job_id: str) -> None:
    if len(os.fsencode(job_id)) > _MAX_JOB_ID_BYTES:
        raise JobFileError(
            f"expected a file name of at most {_MAX_JOB_ID_BYTES + len(SUFFIX)} bytes"
        )


def _job_id_of_temporary(name: str) -> str | None:
    """Return the ID of the job whose file a temporary file was to replace; None for other files."""
    target = target_of(name)
    return target.removesuffix(SUFFIX) if target and target.endswith(SUFFIX) else None
