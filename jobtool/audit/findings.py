"""The sum of an audit's findings."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec.structs import asdict

from jobtool.audit.events import Discrepancy, Finding, Verified
from jobtool.events import Emit


class _Counts(msgspec.Struct):
    files: int = 0
    bytes: int = 0
    missing: int = 0
    changed: int = 0
    extra: int = 0
    unreadable: int = 0
    unproven: int = 0
    unfinished_jobs: int = 0
    by_checksum: int = 0
    by_source: int = 0
    members: int = 0
    of_members: int = 0


class Findings:
    """Emits each finding at once, and counts it."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._counts = _Counts()
        self._of_files: int | None = None
        self._seed: str | None = None

    def add(self, job: str, what: Discrepancy, path: str, detail: str = "") -> None:
        """Emit and count one finding."""
        setattr(self._counts, what, getattr(self._counts, what) + 1)
        self._emit(Finding(job=job, what=what, path=path, detail=detail))

    def count_compared(self, *, files: int = 1, size_bytes: int) -> None:
        """Count files that were compared."""
        self._counts.files += files
        self._counts.bytes += size_bytes

    def note_sample(self, *, of_files: int, seed: str) -> None:
        """Note that only a sample of ``of_files`` files is looked at, drawn by ``seed``."""
        self._of_files, self._seed = of_files, seed

    def count_members(self, *, members: int, of_members: int) -> None:
        """Count members of a package that were read in place of its tar."""
        self._counts.members += members
        self._counts.of_members += of_members

    def count_without_md5(self, compared: Literal["checksum", "source"]) -> None:
        """Count a file whose receipt has no MD5, by what it was compared with."""
        if compared == "checksum":
            self._counts.by_checksum += 1
        else:
            self._counts.by_source += 1

    def count_unfinished_job(self) -> None:
        """Count a job that isn't finished and so isn't audited."""
        self._counts.unfinished_jobs += 1

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been counted yet."""
        return self._counts == _Counts()

    def finish(self, *, is_complete: bool) -> Verified:
        """Emit the sum and return it."""
        verified = Verified(
            **asdict(self._counts),
            is_complete=is_complete,
            of_files=self._of_files,
            seed=self._seed,
        )
        self._emit(verified)
        return verified
