"""``receive_packages``: the joblist of packages that have arrived."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from jobtool.api.generate import with_absolute_paths
from jobtool.api.places import Place, destination_url, existing_path, local_path, text_of
from jobtool.errors import UsageError
from jobtool.events import Emit, ignore, unfailing
from jobtool.suggest import did_you_mean

if TYPE_CHECKING:
    from jobtool.receiving.events import Received
    from jobtool.stop import Stop

Word = TypeVar("Word", bound=str)


def receive_packages(
    *urls: Place,
    output: Place,
    sites: Place | None = None,
    site: str | None = None,
    steps: Collection[str] | None = None,
    unpack: Place | None = None,
    archive: Place | None = None,
    to: Collection[str] = (),
    release: str | None = None,
    catalog: Place | None = None,
    s3: Mapping[str, Any] | None = None,
    stores: Mapping[str, Mapping[str, Any]] | None = None,
    credentials: Mapping[str, Any] | None = None,
    trust: bool = False,
    dry_run: bool = False,
    stop: Stop | None = None,
    on_event: Emit = ignore,
) -> Received:
    """Make the joblist of the packages that have arrived in folders, or add what is new to it.

    A package counts once its manifest is there, and its tar and its index have the sizes that the
    manifest says. Jobs that the joblist has are left as they are. What is left out of a later call
    is as in the first one.

    Args:
        urls: The folders, as paths or URLs.
        output: The folder of the joblist.
        sites: The file of sites and routes.
        site: The site at which the packages have arrived.
        steps: What is done there, of ``unpack``, ``verify`` and ``archive``; by default ``unpack``,
            and nothing with ``to``.
        unpack: Where items are unpacked, by default the site's location ``processing``.
        archive: Where packages are archived, by default the site's location ``archive``.
        to: Sites that the packages are carried on to, by the routes.
        release: What is freed in the end: ``nothing`` (the default) or ``buffers``, the packages
            themselves.
        catalog: The catalog of copies that workers write to.
        s3: Keys of the table ``[s3]`` of joblist.toml.
        stores: Keys of the tables of other stores, by scheme.
        credentials: Keys of the table ``[credentials]``.
        trust: Run the commands that an existing joblist.toml names for credentials, even if others
            could have written it.
        dry_run: Look, and write nothing.
        stop: Ends the call early, by ``StoppedError``.
        on_event: Called with each event. An exception from it stops nothing.

    Returns:
        How many packages are ``new``, ``known``, ``incomplete`` and ``refused``.

    Raises:
        UsageError: An argument is invalid, or there is nothing at a path.
        RouteError: The file of sites lacks a site, a location or a route.
        JoblistError: The output is another joblist, or was made with other arguments.
        InfrastructureError: A store or the joblist can't be used.

    Examples:
        >>> jobtool.receive_packages("buffer", output="arrived", unpack="work").new
        2
    """
    from jobtool.jobs.packagesettings import Release, SiteStep
    from jobtool.receiving.receive import receive_packages as receive
    from jobtool.receiving.request import ReceiveRequest

    if not urls:
        raise UsageError("expected a folder of packages; found none")
    for name, value in (("steps", steps), ("to", to)):
        if isinstance(value, str):
            raise UsageError(f"{name}: expected several words, as [{value!r}]; found a str")
    words: tuple[SiteStep, ...] = get_args(SiteStep)
    releases: tuple[Release, ...] = get_args(Release)
    tables = {
        "s3": with_absolute_paths(s3 or {}),
        "stores": with_absolute_paths(stores or {}),
        "credentials": with_absolute_paths(credentials or {}),
    }
    request = ReceiveRequest(
        urls=tuple(dict.fromkeys(existing_path(url) for url in urls)),
        joblist_path=local_path(output),
        sites_path=None if sites is None else existing_path(sites),
        site=site,
        steps=None if steps is None else tuple(_one_of(step, words, "--then") for step in steps),
        unpack=None if unpack is None else destination_url(unpack),
        archive=None if archive is None else destination_url(archive),
        to=tuple(dict.fromkeys(to)),
        release=None if release is None else _one_of(release, releases, "--release"),
        catalog=None if catalog is None else destination_url(text_of(catalog)),
        tables={name: table for name, table in tables.items() if table},
        dry_run=dry_run,
    )
    return receive(request, unfailing(on_event), trust=trust, stop=stop)


def _one_of(word: str, words: tuple[Word, ...], option: str) -> Word:
    for known in words:
        if known == word:
            return known
    raise UsageError(
        f"{option}: expected one of {', '.join(words)}; found {word!r}.{did_you_mean(word, words)}"
    )
