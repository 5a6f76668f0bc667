"""A step of a package as a job: its lines in a job file, and the names of such jobs.

Each step of each package is a job of its own, with its own claim, receipts and attempts. So a step
that fails doesn't make an earlier one be done again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal, get_args

import msgspec

from jobtool.errors import JobFileError
from jobtool.names import quote, unquote

#: What a job does with a package, in the order in which it happens.
PackageStep = Literal["pack", "copy", "relay", "unpack", "verify", "archive", "release", "stage"]
PACKAGE_STEPS: tuple[PackageStep, ...] = get_args(PackageStep)

#: Steps that bring no files anywhere.
BRINGS_NOTHING: tuple[PackageStep, ...] = ("verify", "release")

#: The line that names the package, and what the other lines of a task begin with.
KEY = "package"
PREFIX = "package."

_WAY = " > "
_ENDS = ("step", "to", "at", "after", "packs", "way", "route", "brought_by")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PLACE = re.compile(r"[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{1,64}")


class PackageTask(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a package.

    ``package`` is the package's name. ``to`` is the site that the job serves, None without sites.
    ``at`` are the sites whose workers do the job, empty for any worker. ``after`` are the names of
    jobs that must be a success before. With ``packs`` the tar is composed of its members in this
    job. ``way`` are the places that the package passes, as ``SITE.LOCATION``, empty as long as it
    isn't planned. ``route`` is the name of the route that the job's own leg is of. ``brought_by``
    is the name of another job that does the same leg, so that this one moves nothing.
    """

    package: str
    step: PackageStep
    to: str | None = None
    at: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    packs: bool = False
    way: tuple[str, ...] = ()
    route: str | None = None
    brought_by: str | None = None

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield the task's lines in a job file, as keys and values."""
        yield KEY, quote(self.package)
        yield f"{PREFIX}step", self.step
        if self.to is not None:
            yield f"{PREFIX}to", self.to
        if self.at:
            yield f"{PREFIX}at", ", ".join(self.at)
        for name in self.after:
            yield f"{PREFIX}after", quote(name)
        if self.packs:
            yield f"{PREFIX}packs", "true"
        if self.way:
            yield f"{PREFIX}way", _WAY.join(self.way)
        if self.route is not None:
            yield f"{PREFIX}route", quote(self.route)
        if self.brought_by is not None:
            yield f"{PREFIX}brought_by", quote(self.brought_by)

    @classmethod
    def read(cls, lines: Mapping[str, list[str]]) -> PackageTask | None:
        """Return the task of these lines of a job file, by key; None without any.

        Raises ``JobFileError``.
        """
        if not lines:
            return None
        unknown = set(lines) - {KEY, *(PREFIX + end for end in _ENDS)}
        if unknown:
            raise JobFileError(f"{min(unknown)}: there is no such line. Correct or remove it.")
        for key, values in lines.items():
            if len(values) > 1 and key != f"{PREFIX}after":
                raise JobFileError(f"expected one line {key!r}; found a second")
        one = {key: values[0] for key, values in lines.items()}
        package, step = unquote(one.get(KEY, "")), one.get(f"{PREFIX}step", "")
        if not package:
            raise JobFileError(f"{KEY}: expected the name of a package; found nothing")
        if step not in PACKAGE_STEPS:
            raise JobFileError(
                f"{PREFIX}step: expected one of {', '.join(PACKAGE_STEPS)}; found {step[:40]!r}"
            )
        packs = one.get(f"{PREFIX}packs", "false")
        if packs not in ("true", "false"):
            raise JobFileError(f"{PREFIX}packs: expected true or false; found {packs[:40]!r}")
        route, brought_by = one.get(f"{PREFIX}route"), one.get(f"{PREFIX}brought_by")
        return cls(
            package=package,
            step=step,
            to=_fit(one.get(f"{PREFIX}to"), "to", _NAME, "a site"),
            at=_words(one.get(f"{PREFIX}at"), "at", ",", _NAME, "sites, separated by commas"),
            after=tuple(map(unquote, lines.get(f"{PREFIX}after", ()))),
            packs=packs == "true",
            way=_words(one.get(f"{PREFIX}way"), "way", ">", _PLACE, "places as SITE.LOCATION"),
            route=None if route is None else unquote(route),
            brought_by=None if brought_by is None else unquote(brought_by),
        )


def job_name(package: str, step: PackageStep, place: str | None = None) -> str:
    """Return the name of the job that does a step of a package.

    ``place`` is the site that the step serves; for ``relay`` the place that the package goes to,
    as ``SITE.LOCATION``; None for ``pack`` and without sites.
    """
    return f"{package}.{step}" if place is None else f"{package}.{step}.{place}"


def _fit(value: str | None, end: str, pattern: re.Pattern[str], what: str) -> str | None:
    if value is None or pattern.fullmatch(value):
        return value
    raise JobFileError(f"{PREFIX}{end}: expected {what}; found {value[:80]!r}")


def _words(
    value: str | None, end: str, separator: str, pattern: re.Pattern[str], what: str
) -> tuple[str, ...]:
    if value is None:
        return ()
    words = tuple(word.strip() for word in value.split(separator))
    if all(map(pattern.fullmatch, words)):
        return words
    raise JobFileError(f"{PREFIX}{end}: expected {what}; found {value[:80]!r}")
