"""``generate_packages``: items of a source become packages, and their steps jobs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from jobtool.api.generate import (
    destination_of,
    filters_of,
    located_source,
    settings_at,
    with_absolute_paths,
)
from jobtool.api.places import Filesystem, Place, local_path, text_of
from jobtool.errors import UsageError
from jobtool.events import Emit, ignore, unfailing
from jobtool.stores.location import Location

if TYPE_CHECKING:
    from jobtool.bundling.events import PackagesGenerated
    from jobtool.jobs.packagesettings import Release, SiteStep

#: The steps at a destination, in the order in which they happen.
_STEPS = ("unpack", "verify", "archive")


def generate_packages(
    source: Place,
    output: Place,
    *,
    destination: Place | None = None,
    package_bytes: int | None = None,
    items: str | None = None,
    group_by: Sequence[str] | None = None,
    order: Literal["name", "time"] | None = None,
    max_wait_seconds: float | None = None,
    close: bool = False,
    filters: Mapping[str, Any] | None = None,
    name: str | None = None,
    sites: Place | None = None,
    origin: str | None = None,
    to: Sequence[str] | None = None,
    pack: Literal["stream", "buffer"] | None = None,
    steps: Sequence[SiteStep] | None = None,
    release: Release | None = None,
    keep_days: int | None = None,
    catalog: Place | None = None,
    s3: Mapping[str, Any] | None = None,
    stores: Mapping[str, Mapping[str, Any]] | None = None,
    credentials: Mapping[str, Any] | None = None,
    source_fs: Filesystem | None = None,
    target_fs: Filesystem | None = None,
    trust: bool = False,
    dry_run: bool = False,
    on_event: Emit = ignore,
) -> PackagesGenerated:
    """Bundle the items of a source into packages, and make a joblist of their steps.

    Running it again makes packages of new items. An item that is in a package stays there. The
    joblist keeps what was given once: leave it out from then on.

    Args:
        source: The folder or URL that holds the items.
        output: The folder for the job files. It is made if it doesn't exist.
        destination: Where packages go if there are no sites: a path or ``s3://BUCKET/PREFIX``.
        package_bytes: The size from which a package is full, by default 100 GB. An item is never
            split: a larger one is a package of its own.
        items: The pattern of the items below the source, as in layouts, such as
            ``{date}/{scan}``. By default each entry of the source's root is one.
        group_by: Fields of the pattern. Items that differ in one never share a package.
        order: ``name``, the default, or ``time``: that of the newest file of each item.
        max_wait_seconds: A package that isn't full is made once its first item was seen this long
            ago. Until then its items wait for another run. By default it is made at once.
        close: Let no item wait this time.
        filters: The table ``[filters]`` of joblist.toml, which selects the files of items. It can't
            be changed later.
        name: What the packages' names begin with, by default the name of the joblist.
        sites: The file of sites and routes.
        origin: The site of the source in it, or one of its locations as ``SITE.LOCATION``.
        to: The sites that each package goes to.
        pack: ``stream`` composes a package while it is sent, ``buffer`` writes it to the origin's
            buffer first. The default is ``buffer`` if there are several sites in ``to``.
        steps: What follows at each site: some of ``unpack``, ``verify`` and ``archive``.
        release: What is freed in the end: ``nothing``, ``buffers``, or ``source`` as well.
        keep_days: How long released files of the source stay in the trash, by default 30 days.
        catalog: The folder or URL of the catalog of copies.
        s3: Keys of the table ``[s3]`` of joblist.toml. Relative paths are made absolute.
        stores: Keys of the tables of other stores by scheme, such as ``{"az": {...}}``, likewise.
        credentials: Keys of the table ``[credentials]``, likewise.
        source_fs: The filesystem of the source, as for ``generate_joblist``.
        target_fs: The filesystem of the destination, likewise.
        trust: Run the commands that an existing joblist.toml names for credentials, even if others
            could have written it.
        dry_run: Return and report what would be done; write nothing.
        on_event: Called with each event. An exception from it stops nothing.

    Returns:
        The numbers of ``packages``, ``items``, ``members`` (files), ``bytes`` and ``jobs``, of
        items that were ``existing`` in packages, ``changed`` since, ``waiting``, ``empty`` or
        ``unreadable``, of files and folders ``excluded``, and the ``exit_code`` of
        ``generate-joblist``.

    Raises:
        UsageError: The source doesn't exist, or an argument is invalid.
        JoblistError: The output isn't a joblist of packages or empty, or was made in another way;
            another package has the same name.
        LayoutError: There are no items.
        RouteError: The file of sites is malformed, or has no way between two sites.
        PackageError: The list of an earlier package's members is damaged.
        SourceError: The source can't be read.
        InfrastructureError: A store or the joblist can't be used.

    Examples:
        >>> jobtool.generate_packages("results", "packed", destination="copies").packages
        1
    """
    from jobtool.bundling.generate import generate_packages as generate
    from jobtool.bundling.request import PackagesRequest
    from jobtool.layouts.layout import PACKAGES
    from jobtool.transfer.stores_of import sides_by

    given = {
        role: with_absolute_paths(each) if isinstance(each, Mapping) else each
        for role, each in (("source", source_fs), ("destination", target_fs))
        if each is not None
    }
    before = settings_at(output, trust=trust)
    sides = sides_by(before, given)
    options = {
        "package_bytes": package_bytes,
        "item": items,
        "group_by": None if group_by is None else tuple(group_by),
        "order": order,
        "max_wait_seconds": max_wait_seconds,
        "name": name,
        "sites": None if sites is None else local_path(os.path.expanduser(text_of(sites))),
        "origin": origin,
        "to": None if to is None else tuple(to),
        "pack": pack,
        "steps": None if steps is None else _ordered(steps),
        "release": release,
        "keep_days": keep_days,
        "catalog": None if catalog is None else Location.resolve(text_of(catalog)).url,
    }
    request = PackagesRequest(
        source=located_source(source, sides.get("source"), before, PACKAGES),
        joblist_path=local_path(output),
        destination=destination_of(
            destination,
            sides.get("destination"),
            is_known=before.destination is not None and target_fs is None,
        ),
        options=options,
        close=close,
        filters=None if filters is None else filters_of(filters),
        filesystems=given,
        stores=with_absolute_paths({**(stores or {}), **({"s3": s3} if s3 else {})}),
        credentials=with_absolute_paths(credentials or {}),
        trust=trust,
        dry_run=dry_run,
    )
    return generate(request, unfailing(on_event))


def _ordered(steps: Sequence[str]) -> tuple[str, ...]:
    """Return steps in the order in which they happen; raise ``UsageError`` for unknown ones."""
    for step in steps:
        if step not in _STEPS:
            raise UsageError(
                f"--then: expected some of {', '.join(_STEPS)}, separated by commas; found {step!r}"
            )
    return tuple(step for step in _STEPS if step in steps)
