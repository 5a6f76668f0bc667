"""What becomes of a staged item that is freed, and the counts of its files."""

from __future__ import annotations

from datetime import datetime

import msgspec

from jobtool.staging.evidence import StagedFile
from jobtool.staging.removal import Found

#: So many changed files are named in a record.
_MOST_NAMED = 1000


class Unstaged(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one item.

    ``outcome`` is ``freed``, ``needed`` (by somebody else until ``until``), ``ended`` (nothing had
    been staged; it is asked for no more) or ``stays`` (``reason`` says why). In a dry run it is
    what would become of it. ``files`` and ``bytes`` count what is deleted; ``kept`` are files that
    stay since they were changed, up to 1000 of ``kept_files``. ``evidence`` is the copy elsewhere.
    """

    item: str
    url: str
    outcome: str
    reason: str = ""
    until: datetime | None = None
    files: int = 0
    bytes: int = 0
    kept_files: int = 0
    kept: tuple[str, ...] = ()
    evidence: str = ""
    how: str = ""


class Tally:
    """Counts what is deleted and what stays."""

    def __init__(self) -> None:
        self.files = self.bytes = self.kept_files = 0
        self.kept: list[str] = []

    def add(self, file: StagedFile, found: Found) -> None:
        """Count a file by what was found at its place."""
        if found == "same":
            self.files += 1
            self.bytes += file.receipt.stored_size
        elif found == "changed":
            self.kept_files += 1
            if len(self.kept) < _MOST_NAMED:
                self.kept.append(file.path)

    def values(self) -> dict[str, object]:
        """Return the counts as fields of ``Unstaged``."""
        return {
            "files": self.files,
            "bytes": self.bytes,
            "kept_files": self.kept_files,
            "kept": tuple(self.kept),
        }
