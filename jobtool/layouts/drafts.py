"""Drafts: jobs that a layout finds in a source tree, before they are written."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec.structs import replace

from jobtool.errors import FileError, LayoutError, SourceError, UsageError
from jobtool.events import Emit
from jobtool.jobs.job import FilePair, Job
from jobtool.layouts.events import FieldCounted, Unreadable
from jobtool.layouts.layout import Layout
from jobtool.layouts.pattern import Match, Pattern
from jobtool.layouts.selected import Selected
from jobtool.layouts.template import Template, safe
from jobtool.names import quote
from jobtool.stores.location import Location, file_below, inside, is_absolute
from jobtool.stores.store import Child, Store, kind_of

if TYPE_CHECKING:
    from jobtool.filters.namelist import NameList
    from jobtool.filters.selection import Selection


class Draft(msgspec.Struct, frozen=True):
    """A job about to be written; ``problem`` is why it can't be transferred, if so."""

    job: Job
    problem: str | None = None


class Drafter:
    """Applies a layout to a source.

    ``values`` fill its templates; ``destination`` is the joblist's. ``joblist_path`` is left out if
    it lies in the source, and so is what the ``selection`` leaves out. With ``names``, jobs are
    made of these names rather than of what the source holds. After ``drafts``,
    ``incomplete`` names the folders that lack what the layout requires, grouped by what is missing,
    and ``unreadable`` counts the folders that can't be looked into.
    """

    def __init__(
        self,
        layout: Layout,
        source: Store,
        *,
        values: Mapping[str, str],
        destination: str | None,
        joblist_path: str,
        selection: Selection | None = None,
        names: NameList | None = None,
        emit: Emit,
    ) -> None:
        self.incomplete: dict[str, list[str]] = {}
        self.unreadable = 0
        self._layout = layout
        self._pattern = Pattern(layout.pattern)
        self._source = source
        self._selected = None if selection is None else Selected(source, selection, names)
        self._values = dict(values)
        self._destination = destination
        if destination is not None:
            self._values["destination"] = destination.rstrip("/")
        self._joblist_path = os.path.realpath(joblist_path)
        self._emit = emit

    def drafts(self) -> list[Draft]:
        """Return a draft for each job, in the order of their folders.

        All drafts are made before the first job is written, so that a collision leaves no half of a
        joblist. Raises ``UsageError``, ``LayoutError``, ``SourceError``, ``InfrastructureError``.
        """
        self._require_folder()
        self._require_values()
        found = self._pattern.find(
            self._selected or self._source,
            files=self._layout.files_match,
            on_unreadable=self._skip_unreadable,
        )
        theirs = self._without_shadowed(
            match for match in found if not self._is_ours(match) and self._is_selected(match)
        )
        matches = [match for match in theirs if self._is_complete(match)]
        self._tell_counts(matches)
        self._require_distinct(matches)
        drafts = [self._draft(match) for match in matches]
        self._require_apart(draft.job for draft in drafts)
        return drafts

    def _draft(self, match: Match) -> Draft:
        values = {**self._values, **match.fields}
        job = Job(
            name=Template(self._layout.name).fill(values),
            source=self._source.url_of(match.path),
            fields=match.fields,
        )
        if self._layout.destination is not None:
            filled = Template(self._layout.destination).fill(values)
            destination = self._destination_of(job, filled)
            return Draft(replace(job, destination=destination))
        values["uuid"] = str(uuid.uuid4())
        children = self._source.children(match.path)
        present = {child.name for child in children if isinstance(child, Child)}
        pairs = [
            FilePair(
                source=name, destination=self._destination_of(job, Template(text).fill(values))
            )
            for name, text in self._layout.files.items()
            if name in present or name not in self._layout.optional
        ]
        job = replace(job, files=tuple(pairs), destination=self._destination)
        for pair in pairs:
            if pair.source not in present:
                where = quote(job.origin)
                return Draft(job, f"expected {quote(pair.source)} in {where}; found none")
        return Draft(job)

    def _destination_of(self, job: Job, filled: str) -> str:
        """Return the place that a filled template names; raise ``LayoutError`` if it is invalid."""
        try:
            if is_absolute(filled):
                return Location.parse(filled).url
            if self._layout.files and self._destination is not None:
                file_below(self._destination, filled)
                return filled  # a worker puts it below the job's destination
            return Location.resolve(filled, follow_links=False).url
        except (FileError, UsageError) as error:
            raise LayoutError(f"job {quote(job.name)}, from {quote(job.origin)}: {error}") from None

    def _is_complete(self, match: Match) -> bool:
        for text in self._layout.require:
            name = Template(text).fill({**self._values, **match.fields})
            if kind_of(self._source, f"{match.path}/{name}") == "missing":
                self.incomplete.setdefault(text, []).append(self._source.url_of(match.path))
                return False
        return True

    def _without_shadowed(self, found: Iterable[Match]) -> list[Match]:
        """Leave out objects that have the name of a folder, with an event. The folders stay.

        Both jobs would have the same source, name and destination.
        """
        matches = list(found)
        folders = {match.path for match in matches if match.is_folder}
        kept: list[Match] = []
        for match in matches:
            if match.is_folder or match.path not in folders:
                kept.append(match)
                continue
            where = quote(self._source.url_of(match.path))
            self._skip_unreadable(
                SourceError(
                    f"{where}: an object and a prefix have this name; an object beside a prefix of "
                    "its name can't be a separate job. Copy it to another key, or make one job of "
                    "the folder above it."
                )
            )
        return kept

    def _is_selected(self, match: Match) -> bool:
        return self._selected is None or self._selected.holds(match)

    def _is_ours(self, match: Match) -> bool:
        return inside(self._source.url_of(match.path), self._joblist_path) is not None

    def _skip_unreadable(self, error: FileError) -> None:
        self.unreadable += 1
        self._emit(Unreadable(reason=str(error)))

    def _require_folder(self) -> None:
        kind = kind_of(self._source, "")
        if kind != "folder":
            raise UsageError(
                f"expected a folder at {quote(self._source.url)}; found "
                f"{'a file' if kind == 'file' else 'nothing'}. Correct the path."
            )

    def _require_values(self) -> None:
        known = {**dict.fromkeys(self._pattern.fields, "x"), **self._values, "uuid": "x"}
        for template in self._layout.templates():
            template.fill(known)

    def _require_distinct(self, matches: Iterable[Match]) -> None:
        """Refuse two values of a field that become equal by ``{field:safe}``."""
        fields = {name for template in self._layout.templates() for name in template.safe_fields}
        raw: dict[tuple[str, str], str] = {}
        for match in matches:
            for name in sorted(fields & set(self._pattern.fields)):
                value = match.fields[name]
                other = raw.setdefault((name, safe(value)), value)
                if other != value:
                    raise LayoutError(
                        f"{name} {quote(other)} and {name} {quote(value)} would both become "
                        f"{safe(value)!r} at the destination. Generate a joblist for each."
                    )

    def _require_apart(self, jobs: Iterable[Job]) -> None:
        """Refuse two trees for one destination, and a destination inside the source."""
        sources: dict[str, str] = {}
        for job in jobs:
            for target in _targets(job):
                if inside(self._source.url, target) is not None:
                    raise UsageError(
                        f"the destination {quote(target)} lies inside the input path "
                        f"{quote(self._source.url)}: a copy would copy itself. Choose another."
                    )
            if job.destination is None or job.files:
                continue
            other = sources.setdefault(job.destination, job.origin)
            if other != job.origin:
                raise LayoutError(
                    f"{quote(other)} and {quote(job.origin)} would both be copied to "
                    f"{quote(job.destination)}. Use a layout whose destination tells them apart, "
                    "or generate a joblist for each."
                )

    def _tell_counts(self, matches: Iterable[Match]) -> None:
        tree: _Level = {}
        for match in matches:
            level = tree
            for name in self._pattern.fields:
                level = level.setdefault(match.fields[name], {})
        self._tell_level(self._pattern.fields, {}, tree)

    def _tell_level(
        self, fields: tuple[str, ...], within: Mapping[str, str], level: _Level
    ) -> None:
        if not fields or not level:
            return
        name, *rest = fields
        self._emit(FieldCounted(field=name, within=within, values=tuple(level), is_last=not rest))
        for value, below in level.items():
            self._tell_level(tuple(rest), {**within, name: value}, below)


_Level: TypeAlias = "dict[str, _Level]"


def _targets(job: Job) -> Iterator[str]:
    for pair in job.files:
        yield pair.destination
    if not job.files and job.destination is not None:
        yield job.destination


def with_absolute_folders(layout: Layout, values: Mapping[str, str]) -> dict[str, str]:
    """Make values with which destinations begin independent of the current folder."""
    starts = {template.leading_field for template in layout.templates()}
    return {
        key: Location.resolve(value, follow_links=False).url if key in starts and value else value
        for key, value in values.items()
    }
