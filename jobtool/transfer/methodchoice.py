"""Which methods would move a job's files, and why others wouldn't. Nothing is moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from jobtool.errors import FileError, JobtoolError
from jobtool.jobs.job import Job
from jobtool.jobs.settings import Settings
from jobtool.methods.method import OWN_METHODS, SERVER_SIDE, Explains, Method
from jobtool.methods.plugins import AUTO_ORDER, load_method, named_methods
from jobtool.names import in_one_line, quote
from jobtool.plugins import METHODS
from jobtool.plugins import names as names_of
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.store import Store
from jobtool.transfer.resolve import resolve, resolve_destination
from jobtool.transfer.serverside import NO_SERVICE, service_of


class MethodChoice(msgspec.Struct, frozen=True, kw_only=True):
    """One method for files between two stores.

    ``place`` is its place in the order that was asked for, from 1; None if it wasn't. ``why_not``
    says why it isn't available, None if it is. ``command`` is what it would run, None if it runs no
    program or can't say.
    """

    name: str
    place: int | None
    why_not: str | None = None
    command: str | None = None

    @property
    def is_used(self) -> bool:
        """Whether it would be given files."""
        return self.place is not None and self.why_not is None


def method_choices(
    names: Sequence[str], settings: Settings, source: Store, destination: Store
) -> list[MethodChoice]:
    """Return the methods that are asked for, in their order, then the others that are known here.

    No server is contacted. Raises ``UsageError`` for an invalid order, and what ``load_method``
    raises for a method that is asked for.
    """
    asked = named_methods(names, settings.transfer.compression or "none")
    for name in asked:
        if name not in OWN_METHODS:
            load_method(name, settings)
    others = [
        name for name in dict.fromkeys((*AUTO_ORDER, *names_of(METHODS))) if name not in asked
    ]
    return [
        _choice(name, place, settings, source, destination)
        for place, name in [*enumerate(asked, 1), *((None, name) for name in others)]
    ]


def _choice(
    name: str, place: int | None, settings: Settings, source: Store, destination: Store
) -> MethodChoice:
    if name in OWN_METHODS:
        return MethodChoice(name=name, place=place, why_not=_why_not_own(name, source, destination))
    command = None
    try:
        method = load_method(name, settings)
        why_not = method.available(source, destination)
        if why_not is None and isinstance(method, Explains):
            command = method.explain(source, destination)
    except JobtoolError as error:
        why_not = str(error)
    except Exception as error:  # a package's method may raise anything
        why_not = f"it raised {type(error).__name__}: {error}"
    return MethodChoice(
        name=name,
        place=place,
        why_not=None if why_not is None else in_one_line(why_not),
        command=command,
    )


def _why_not_own(name: str, source: Store, destination: Store) -> str | None:
    if name != SERVER_SIDE:
        return None
    service = service_of(source, destination)
    return NO_SERVICE if service is None else service.why_not_inside(source)


def pairs_of(
    job: Job, stores: StoreRegistry, *, staging: str | None = None
) -> list[tuple[Store, Store]]:
    """Return the pairs of stores that a job has files in, each once. No server is contacted.

    The chunks of an export are sent from ``staging``. Raises ``FileError`` for a job without source
    or destination, and ``UsageError`` for a place that no store can have.
    """
    if job.files:
        roots = [
            (resolve(pair.source, job.source)[0], resolve_destination(pair.destination, job)[0])
            for pair in job.files
        ]
    elif job.export is not None and staging is not None and job.destination is not None:
        roots = [(staging, job.destination)]
    elif job.source is None or job.destination is None:
        raise FileError(f"job {quote(job.name)}: expected a source and a destination")
    else:
        roots = [(job.source, job.destination)]
    pairs = []
    for source_root, destination_root in dict.fromkeys(roots):
        source = stores.open(source_root, "source")
        pairs.append((source, stores.open(destination_root, "destination", mirrors=source)))
    return pairs


def usable(methods: Sequence[Method], pairs: Iterable[tuple[Store, Store]]) -> tuple[Method, ...]:
    """Return the methods that may move files between any of these pairs of stores."""
    found = [*pairs]
    return tuple(method for method in methods if any(_may_move(method, *pair) for pair in found))


def _may_move(method: Method, source: Store, destination: Store) -> bool:
    try:
        return method.available(source, destination) is None
    except Exception:  # it is told when files are given to it
        return True
