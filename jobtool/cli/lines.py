"""The JSON lines that commands print beside events: the fields of each, with their types.

The schemas in the documentation are made from these types (``jobtool.cli.schemas``), and mypy holds
what the commands print against them. A new version adds fields and never removes any.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from jobtool.catalog.copy import Form, State
from jobtool.routes.documents import WayDocument


class MethodChoiceLine(TypedDict):
    """A method for the files of a job. ``place`` is its number in the order of trying."""

    event: Literal["method-choice"]
    job: str
    source: str
    destination: str
    method: str
    place: int | None
    is_used: bool
    why_not: str | None
    command: str | None


class MemberLine(TypedDict):
    """A member of a package: its offset in the tar and its size in bytes."""

    event: Literal["member"]
    member: str
    offset: int
    size: int
    md5: str | None
    mtime_ns: int
    mode: int


class ReindexedLine(TypedDict):
    """The index of a package was made anew."""

    event: Literal["reindexed"]
    package: str
    members: int


class ReferencesLine(TypedDict):
    """References to the members of packages were written to a file."""

    event: Literal["references"]
    members: int
    output: str


class ReceiptsLine(TypedDict):
    """The receipts of a joblist were written to a file, or into the folder of a bag."""

    event: Literal["receipts"]
    files: int
    output: str
    format: Literal["table", "md5sum", "sha256sum", "bagit"]


class ReportLine(TypedDict):
    """A report about a joblist was written to a file."""

    event: Literal["report"]
    jobs: int
    output: str


class CopyValues(TypedDict):
    """A copy of an item, as the catalog has it. ``size`` is in bytes."""

    item: str
    state: State
    site: str
    location: str
    url: str
    form: Form
    package: str | None
    size: int
    files: int
    digest: str | None
    verified_at: str


class CopyLine(CopyValues):
    """A copy of an item that was asked for. ``size`` is in bytes."""

    event: Literal["copy"]


class ItemLine(TypedDict):
    """An item of the catalog, with the numbers of places and sites that have it, and its copies."""

    event: Literal["item"]
    item: str
    locations: int
    sites: int
    copies: list[CopyValues]


class CompactedLine(TypedDict):
    """The files of a catalog were replaced by one: ``file``, or null if there was nothing to do."""

    event: Literal["compacted"]
    catalog: str
    file: str | None
    inputs: int
    records: int


class RebuiltLine(TypedDict):
    """A catalog was made anew from joblists."""

    event: Literal["rebuilt"]
    records: int


class StageItemLine(TypedDict):
    """An item that is to be staged, the copy that is chosen, and why."""

    event: Literal["stage-item"]
    item: str
    url: str
    source: str
    package: str
    is_there: bool
    reason: str


class StageSkippedLine(TypedDict):
    """An item that isn't staged, and why."""

    event: Literal["stage-skipped"]
    item: str
    reason: str


class StagingLine(TypedDict):
    """The state of a request at its end: its joblist, if it needed one, and the jobs' status."""

    event: Literal["staging"]
    joblist: str | None
    jobs: dict[str, str]
    until: str
    waits_until: str | None
    exit_code: int


class StagedLine(TypedDict):
    """An item that is staged or asked for, and who needs it until when."""

    event: Literal["staged"]
    item: str
    place: str
    url: str
    state: str
    files: int
    bytes: int
    who: str | None
    until: str | None


class UnstagedLine(TypedDict):
    """What became of a staged item, and of its files."""

    event: Literal["unstaged"]
    dry_run: bool
    item: str
    url: str
    outcome: str
    reason: str
    until: str | None
    files: int
    bytes: int
    kept_files: int
    kept: list[str]
    evidence: str | None
    how: str | None


class RouteLine(WayDocument):
    """The way between two places at a time, and the routes that were considered, in their order.

    ``legs`` is empty if no route may be used at that time. Then ``usable_from`` is when the first
    may be, null if something else than the time of the day stands against it. ``at`` and
    ``usable_from`` have a time zone.
    """

    event: Literal["route"]
