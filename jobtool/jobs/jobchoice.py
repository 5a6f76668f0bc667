"""Which jobs of a joblist a person has chosen, by their names."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable, Sequence
from fnmatch import translate

import msgspec

from jobtool.errors import JobFileError, UsageError
from jobtool.jobs.jobfolder import SUFFIX
from jobtool.jobs.joblist import JobList
from jobtool.jobs.unknownjob import unknown_job, where_the_names_are
from jobtool.names import filename_of, is_cut, name_of, quote
from jobtool.suggest import closest

#: Among more jobs no similar name is looked for: that would take seconds.
_MOST_COMPARED = 20_000


class JobChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs by ``names`` (or by the names of their files) and by ``globs`` of names.

    In a glob ``*`` stands for any characters, ``/`` included, ``?`` for one, ``[ab]`` for one of
    these. Upper and lower case differ. With neither names nor globs all jobs are chosen.
    """

    names: tuple[str, ...] = ()
    globs: tuple[str, ...] = ()

    @classmethod
    def of(cls, jobs: Collection[str] | None, match: Collection[str] | None) -> JobChoice:
        """Make a choice; None chooses nothing by this way, and both None all jobs.

        Raises ``UsageError`` for a single string, a likely mistake, and for an empty collection,
        which may come from a search that found nothing.
        """
        for what, given in (("jobs", jobs), ("match", match)):
            if isinstance(given, str):
                raise UsageError(f"{what}: expected several texts, as [{given!r}]; found a str")
            if given is not None and not given:
                raise UsageError(
                    f"{what}: expected at least one text; found none. Leave it out for all jobs."
                )
        return cls(names=tuple(jobs or ()), globs=tuple(match or ()))

    @property
    def is_all(self) -> bool:
        """Whether all jobs are chosen."""
        return not self.names and not self.globs

    def among(self, joblist: JobList, job_ids: Sequence[str]) -> list[str]:
        """Return the IDs of the chosen jobs, in the order of ``job_ids``."""
        if self.is_all:
            return [*job_ids]
        wanted = set(self._wanted_ids(set(job_ids)).values())
        patterns = [_compiled(glob) for glob in self.globs]
        return [
            job_id
            for job_id in job_ids
            if job_id in wanted or (patterns and _matches(patterns, job_name(joblist, job_id)))
        ]

    def require_found(self, joblist: JobList, job_ids: Sequence[str]) -> None:
        """Raise ``UsageError`` if a name or a glob is that of no job of a joblist."""
        found = self._wanted_ids(set(job_ids))
        for name in self.names:
            if name not in found:
                raise unknown_job(name, _names(job_ids), joblist=joblist.path)
        for glob in self.globs:
            patterns = [_compiled(glob)]
            if not any(_matches(patterns, job_name(joblist, job_id)) for job_id in job_ids):
                meant = _meant_by(glob, job_ids)
                raise UsageError(
                    f"expected a pattern of names of jobs of {quote(joblist.path)}; found "
                    f"{quote(glob)}, which is like none of its {len(job_ids)}."
                    f"{f' Did you mean {quote(meant)}?' if meant else ''} "
                    f"{where_the_names_are(joblist.path)}"
                )

    def resolve(self, joblist: JobList) -> list[str]:
        """Return the IDs of the chosen jobs of a joblist, sorted.

        Raises ``UsageError`` for a name or a glob that is that of no job, and
        ``JoblistUnavailableError``.
        """
        job_ids = joblist.job_ids()
        self.require_found(joblist, job_ids)
        return self.among(joblist, job_ids)

    def _wanted_ids(self, known: set[str]) -> dict[str, str]:
        """Return the IDs of the jobs that are named, by the names."""
        found = {}
        for name in self.names:
            candidates = (filename_of(name) if name else name, name, name.removesuffix(SUFFIX))
            job_id = next((each for each in candidates if each in known), None)
            if job_id is not None:
                found[name] = job_id
        return found


def job_name(joblist: JobList, job_id: str) -> str:
    """Return the name of a job. Its file is read only if the name is too long for a file name."""
    if is_cut(job_id):
        with contextlib.suppress(FileNotFoundError, JobFileError):
            return joblist.load(job_id)[0].name
    return name_of(job_id)


def _names(job_ids: Iterable[str]) -> list[str]:
    return [name_of(job_id) for job_id in job_ids]


def _meant_by(glob: str, job_ids: Sequence[str]) -> str | None:
    """Return the name that a glob without a match may mean."""
    if len(job_ids) > _MOST_COMPARED:
        return None
    names = _names(job_ids)
    folded = re.compile(translate(glob), re.IGNORECASE)
    return next((name for name in names if folded.match(name)), None) or closest(glob, names)


def _compiled(glob: str) -> re.Pattern[str]:
    return re.compile(translate(glob))


def _matches(patterns: Iterable[re.Pattern[str]], name: str) -> bool:
    return any(pattern.match(name) for pattern in patterns)
