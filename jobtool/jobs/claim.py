"""Claims: one worker per job.

A claim is a kernel lock on a file in the joblist's ``.claims``. It frees itself when its process
dies, however that happens, so a job left ``ongoing`` by a dead worker can be claimed at once. It
holds between the processes of one node, and between nodes on filesystems whose ``flock`` does.
"""

from __future__ import annotations

import os
from types import TracebackType

from filelock import FileLock, Timeout

from jobtool.errors import JoblistUnavailableError
from jobtool.jobs.joblist import JobList, reason_of
from jobtool.names import quote


class Claim:
    """The right to work on one job, held until released or until the process ends."""

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock

    @classmethod
    def take(cls, joblist: JobList, stem: str) -> Claim | None:
        """Claim a job; None if another worker holds it. Never waits.

        Raises ``JoblistUnavailableError`` if the joblist's folder can't be written.
        """
        lock = FileLock(os.path.join(joblist.claims_path, stem + ".lock"), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return None
        except FileNotFoundError:
            os.makedirs(joblist.claims_path, exist_ok=True)
            return cls.take(joblist, stem)
        except OSError as error:
            raise JoblistUnavailableError(
                f"can't lock jobs in {quote(joblist.claims_path)}: {reason_of(error)}"
            ) from None
        return cls(lock)

    def release(self) -> None:
        """Give the job up. The lock's file stays: removing it would split those who wait."""
        self._lock.release()

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
