"""The events that generating a joblist emits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from jobtool.events import Event
from jobtool.level import Level
from jobtool.names import quote
from jobtool.units import size_text


class LayoutChosen(Event, frozen=True, kw_only=True):
    """``auto`` has looked at the source and picked a layout."""

    kind: ClassVar[str] = "layout"
    level: ClassVar[Level] = Level.DETAIL
    layout: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"Layout: {self.layout} ({self.reason})"


#: Formats of lists, as people call them.
_FORMATS = {
    "lines": "names on lines",
    "null": "names ended by NUL",
    "find": "find",
    "aws-ls": "aws s3 ls",
    "inventory": "S3 Inventory",
    "PARQUET": "S3 Inventory in Parquet",
    "ORC": "S3 Inventory in ORC",
}


class NamesRead(Event, frozen=True, kw_only=True):
    """The lists of ``--files-from`` were read. ``files`` counts each name once.

    ``bytes`` is the size of all listed files, None if a list doesn't say. Other versions of objects
    than the newest, delete markers and folders aren't among ``files``.
    """

    kind: ClassVar[str] = "names"
    files: int
    bytes: int | None
    formats: tuple[str, ...]
    old_versions: int = 0
    delete_markers: int = 0
    folders: int = 0

    def text(self) -> str:
        """Return the sentence."""
        formats = ", ".join(_FORMATS.get(each, each) for each in self.formats)
        size = "" if self.bytes is None else f", {size_text(self.bytes)}"
        others = [
            f"{count} {what}"
            for count, what in (
                (self.old_versions, "older version(s)"),
                (self.delete_markers, "delete marker(s)"),
                (self.folders, "folder(s)"),
            )
            if count
        ]
        beside = f"; passed over {', '.join(others)}" if others else ""
        return f"Named: {self.files} file(s){size} ({formats}){beside}"


class NamesLeftOut(Event, frozen=True, kw_only=True):
    """Names of a list of files that can't be transferred. ``names`` are the first of them."""

    kind: ClassVar[str] = "names-left-out"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❌"
    reason: str
    count: int
    names: tuple[str, ...]

    def text(self) -> str:
        """Return the sentence with the names."""
        shown = [f"  - {quote(name)}" for name in self.names]
        if self.count > len(shown):
            shown.append(f"  - and {self.count - len(shown)} more")
        head = f"{self.count} name(s) of the list won't be transferred: {self.reason}:"
        return "\n".join([head, *shown])


class FieldCounted(Event, frozen=True, kw_only=True):
    """The values of a field of the layout below those of the fields before it."""

    kind: ClassVar[str] = "found"
    field: str
    within: Mapping[str, str]
    values: tuple[str, ...]
    is_last: bool

    def text(self) -> str:
        """Return the sentence, for the outermost of several fields with its values."""
        noun = f"{self.field}(es)" if self.field.endswith(("ch", "s", "x")) else f"{self.field}(s)"
        outer = list(self.within.items())
        first = [f" for {field} {_shown(value)}" for field, value in outer[:1]]
        rest = [f" in {field} {_shown(value)}" for field, value in outer[1:]]
        sentence = f"Found {len(self.values)} {noun}" + "".join(first + rest)
        if outer or self.is_last:
            return sentence + "."
        return "\n".join([f"{sentence}:", *(f"  - {quote(value)}" for value in self.values)])


class Incomplete(Event, frozen=True, kw_only=True):
    """Folders that match but lack what the layout requires. They aren't jobs yet."""

    kind: ClassVar[str] = "incomplete"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❗"
    missing: str
    paths: tuple[str, ...]

    def text(self) -> str:
        """Return the sentence with every folder."""
        head = f"Skipped {len(self.paths)} without {quote(self.missing)}, not finished yet:"
        return "\n".join([head, *(f"  - {quote(path)}" for path in self.paths)])


class Unreadable(Event, frozen=True, kw_only=True):
    """A folder that could not be looked into: jobs inside it are missing from the joblist."""

    kind: ClassVar[str] = "unreadable"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❌"
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        rest = "whatever it holds is not in the joblist"
        if self.reason.endswith("."):
            return f"{self.reason} {rest.capitalize()}."
        return f"{self.reason}; {rest}"


class JobPlanned(Event, frozen=True, kw_only=True):
    """A job that was written, or would be."""

    kind: ClassVar[str] = "job"
    level: ClassVar[Level] = Level.DETAIL
    job: str
    source: str
    destination: str

    def text(self) -> str:
        """Return the sentence."""
        return f"Job {quote(self.job)}: {quote(self.source)} -> {quote(self.destination)}"


class JobBroken(Event, frozen=True, kw_only=True):
    """A job that can't be transferred as it is; it was written with status ``error``."""

    kind: ClassVar[str] = "invalid"
    level: ClassVar[Level] = Level.ALWAYS
    symbol: ClassVar[str] = "❌"
    job: str
    reason: str

    def text(self) -> str:
        """Return the sentence."""
        return f"Invalid job {quote(self.job)}: {self.reason}"


class Creating(Event, frozen=True, kw_only=True):
    """Job files are about to be written."""

    kind: ClassVar[str] = "creating"

    def text(self) -> str:
        """Return the sentence."""
        return "Creating joblist in output directory."


class Generated(Event, frozen=True, kw_only=True):
    """The result: how many jobs were written, existed before, are invalid, are not finished.

    ``names_left_out`` counts the names of ``--files-from`` that are in no job, ``excluded`` the
    rows of a manifest that the filters leave out.
    """

    kind: ClassVar[str] = "generated"
    created: int
    existing: int
    invalid: int
    incomplete: int
    unreadable: int
    dry_run: bool
    names_left_out: int = 0
    excluded: int = 0

    def text(self) -> str:
        """Return the sentence."""
        verb = "Would create" if self.dry_run else "Created"
        notes = [
            f"{count} {what}"
            for count, what in (
                (self.existing, "left as they were"),
                (self.invalid, "invalid"),
                (self.incomplete, "not finished"),
                (self.names_left_out, "name(s) without a job"),
                (self.excluded, "row(s) excluded"),
            )
            if count
        ]
        return f"{verb} {self.created} job(s){'; ' if notes else ''}{', '.join(notes)}."

    @property
    def exit_code(self) -> int:
        """0, or 1 if something needs a person's attention."""
        return 1 if self.invalid or self.unreadable or self.names_left_out else 0


def _shown(value: str) -> str:
    shown = quote(value)
    return shown if shown.startswith('"') else f"'{shown}'"
