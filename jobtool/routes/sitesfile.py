"""``sites.toml``: reading it, and refusing what can't be meant."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgspec

from jobtool import typed
from jobtool.errors import RouteError, UsageError
from jobtool.jobs.limits import Bandwidth
from jobtool.jobs.safe_read import UnfitFileError, read_bounded
from jobtool.methods.plugins import named_methods
from jobtool.names import quote
from jobtool.routes.amounts import parse_space
from jobtool.routes.hours import Hours, time_zone
from jobtool.routes.loops import loop_of
from jobtool.routes.secrets import refuse_secrets
from jobtool.routes.sites import (
    LOCATION_KINDS,
    ROUTE_TYPES,
    CatalogPlace,
    Conditions,
    Place,
    RouteRule,
    RouteType,
    Site,
    SiteLocation,
    Sites,
)
from jobtool.stores.location import Location
from jobtool.suggest import misfit, unknown_key

#: A larger file isn't read.
MAX_BYTES = 1 << 20

_MOST_PRIORITY = 10**6
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_TOP = ("time_zone", "catalog", "sites", "routes")

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


class _LocationTable(msgspec.Struct, kw_only=True):
    url: str
    keep_free: int | str | None = None
    methods: tuple[str, ...] | None = None
    bandwidth: str | None = None
    settings: dict[str, Any] = {}


class _CatalogTable(msgspec.Struct, kw_only=True):
    url: str
    settings: dict[str, Any] = {}


class _ConditionsTable(msgspec.Struct, kw_only=True):
    hours: str | None = None
    time_zone: str | None = None
    space_left: int | str | None = None
    reachable: bool = False


class _RouteTable(msgspec.Struct, kw_only=True):
    type: RouteType
    origin: str = msgspec.field(name="from")
    target: str = msgspec.field(name="to")
    via: str | None = None
    into: str | None = None
    name: str | None = None
    methods: tuple[str, ...] | None = None
    bandwidth: str | None = None
    priority: Annotated[int, msgspec.Meta(ge=-_MOST_PRIORITY, le=_MOST_PRIORITY)] = 0
    conditions: dict[str, Any] = {}


def load_sites(path: str) -> Sites:
    """Read a file of sites and routes; raises ``RouteError`` that names the file and the place."""
    try:
        text = read_bounded(path, MAX_BYTES).decode()
    except UnfitFileError as error:
        raise RouteError(f"can't read {quote(path)}: {error}") from None
    except UnicodeDecodeError:
        raise RouteError(f"can't read {quote(path)}: it isn't UTF-8. Write it as UTF-8.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RouteError(f"can't read {quote(path)}: {reason}. Correct the path.") from None
    return read_sites(text, path=path)


def read_sites(text: str, *, path: str) -> Sites:
    """Read the text of a file of sites and routes; raises ``RouteError``, which names ``path``."""
    where = quote(path)
    try:
        table = tomllib.loads(text)
        refuse_secrets(table, where)
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise RouteError(f"{where} isn't valid TOML: {error}. Correct it.") from None
    except RecursionError:
        raise RouteError(f"{where}: its tables or arrays are nested too deeply") from None
    _require_known(table, _TOP, where=where, what="a key or table")
    zone = _zone(table.get("time_zone"), where)
    sites = {
        name: _site(name, found, where)
        for name, found in _table(table.get("sites"), f"{where}, table [sites]").items()
    }
    if not sites:
        raise RouteError(f"{where}: expected sites, each a table [sites.NAME]; found none")
    entries = table.get("routes", [])
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise RouteError(f"{where}: expected routes as tables [[routes]], in double brackets")
    catalog = _catalog(table.get("catalog"), f"{where}, catalog")
    found = Sites(path=path, sites=sites, time_zone=zone, catalog=catalog)
    rules = tuple(_rule(number, each, found, where) for number, each in enumerate(entries, 1))
    _require_distinct(rules, where)
    loop = loop_of(rules)
    if loop is not None:
        raise RouteError(f"{where}: {loop}")
    return msgspec.structs.replace(found, routes=rules)


def place_of(text: str, sites: Sites, *, where: str) -> Place:
    """Read ``SITE.LOCATION``; raises ``RouteError``, with ``where`` for what names it."""
    site, dot, location = text.partition(".")
    if not dot:
        known = sites.site(site, where=where)
        raise RouteError(
            f"{where}: expected SITE.LOCATION, such as {site}.{next(iter(known.locations))}; "
            f"found {quote(text)}"
        )
    place = Place(site, location)
    sites.location(place, where=where)
    return place


def _site(name: str, found: object, where: str) -> Site:
    place = f"{where}, table [sites.{quote(name)}]"
    if not _NAME.fullmatch(name):
        raise RouteError(
            f"{place}: expected a name of letters, digits, - and _ that begins with a letter or "
            "digit, at most 100"
        )
    table = _table(found, place)
    _require_known(table, ("time_zone", *LOCATION_KINDS), where=place)
    locations: dict[str, SiteLocation] = {
        kind: _location(name, kind, table[kind], f"{where}, table [sites.{name}.{kind}]")
        for kind in LOCATION_KINDS
        if kind in table
    }
    if not locations:
        raise RouteError(
            f"{place}: expected a table for one of its locations: {', '.join(LOCATION_KINDS)}"
        )
    return Site(name=name, time_zone=_zone(table.get("time_zone"), place), locations=locations)


def _location(site: str, kind: str, found: object, where: str) -> SiteLocation:
    table = _converted(_table(found, where), _LocationTable, where)
    return SiteLocation(
        place=Place(site, kind),
        url=_url(table.url, f"{where}, url"),
        keep_free=_read(parse_space, table.keep_free, f"{where}, keep_free"),
        methods=_methods(table.methods, where),
        bandwidth=_read(Bandwidth.parse, table.bandwidth, f"{where}, bandwidth"),
        settings=table.settings,
    )


def _catalog(found: object, where: str) -> CatalogPlace | None:
    if found is None:
        return None
    if isinstance(found, str):
        return CatalogPlace(url=_url(found, where))
    if not isinstance(found, Mapping):
        raise RouteError(
            f"{where}: expected a URL, or a table of url and settings; found {found!r}"
        )
    table = _converted(found, _CatalogTable, where)
    return CatalogPlace(url=_url(table.url, f"{where}, url"), settings=table.settings)


def _url(text: str, where: str) -> str:
    try:
        return Location.parse(text).url
    except UsageError as error:
        raise RouteError(f"{where}: {error}") from None


def _rule(number: int, found: Mapping[str, Any], sites: Sites, where: str) -> RouteRule:
    name = found.get("name")
    place = f"{where}, route {number}" + (f" ({quote(name)})" if isinstance(name, str) else "")
    table = _converted(found, _RouteTable, place)
    if table.name is not None and not _NAME.fullmatch(table.name):
        raise RouteError(
            f"{place}, name: expected letters, digits, - and _, beginning with a letter or digit, "
            "at most 100"
        )
    for key, value, kinds in (
        ("via", table.via, ("relay",)),
        ("into", table.into, ROUTE_TYPES[:2]),
    ):
        if value is not None and table.type not in kinds:
            raise RouteError(
                f"{place}: {key!r} is for a route of type {' or '.join(kinds)}; found "
                f"{table.type!r}"
            )
    origin, target, via = _ends(table, sites, place)
    if len({origin.site, target.site}) == 1 and table.type != "custom":
        raise RouteError(
            f"{place}: a loop: it goes from {origin.site} to {target.site}. Name two sites, or use "
            "a route of type custom between locations of one site."
        )
    if origin == target:
        raise RouteError(f"{place}: a loop: it goes from {origin.text()} to {target.text()}")
    if via is not None and via.site in (origin.site, target.site):
        raise RouteError(
            f"{place}: a loop: it goes from {origin.site} to {target.site} via {via.site}. Name a "
            "third site, or use a route of type direct or custom."
        )
    return RouteRule(
        number=number,
        name=table.name or f"route-{number}",
        type=table.type,
        origin=origin,
        target=target,
        via=via,
        methods=_methods(table.methods, place),
        bandwidth=_read(Bandwidth.parse, table.bandwidth, f"{place}, bandwidth"),
        priority=table.priority,
        conditions=_conditions(table.conditions, sites, origin.site, place),
    )


def _ends(table: _RouteTable, sites: Sites, where: str) -> tuple[Place, Place, Place | None]:
    """Return the locations that a route begins and ends at, and that of a relay's site."""
    if table.type == "custom":
        ends = (table.origin, "from"), (table.target, "to")
        origin, target = (place_of(text, sites, where=f"{where}, {key}") for text, key in ends)
        return origin, target, None
    for key, text in (("from", table.origin), ("to", table.target), ("via", table.via)):
        if text is not None and "." in text and text.partition(".")[0] in sites.sites:
            raise RouteError(
                f"{where}, {key}: expected a site, such as {text.partition('.')[0]}, for a route "
                f"of type {table.type}; found {quote(text)}. Routes of type custom have locations."
            )
    origin = _at_site(sites, table.origin, "buffer", f"{where}, from")
    if table.type == "relay":
        target = _at_site(sites, table.target, table.into or "buffer", f"{where}, to")
        if table.via is None:
            raise RouteError(f"{where}: a relay needs via = SITE; found none")
        return origin, target, _at_site(sites, table.via, "buffer", f"{where}, via")
    if table.into == "buffer":
        raise RouteError(
            f"{where}: a direct route skips the buffer of {quote(table.target)}: expected "
            "into = 'processing' or 'archive'. A route of type custom goes to a buffer."
        )
    site = sites.site(table.target, where=f"{where}, to")
    is_archive = "processing" not in site.locations and "archive" in site.locations
    into = table.into or ("archive" if is_archive else "processing")
    return origin, _at_site(sites, table.target, into, f"{where}, to"), None


def _at_site(sites: Sites, site: str, location: str, where: str) -> Place:
    place = Place(site, location)
    sites.location(place, where=where)
    return place


def _conditions(found: Mapping[str, Any], sites: Sites, origin: str, where: str) -> Conditions:
    where = f"{where}, conditions"
    table = _converted(found, _ConditionsTable, where)
    hours = None
    zone = _zone(table.time_zone, where)
    if table.hours is not None:
        zone = zone or sites.zone_of(origin)
        if zone is None:
            raise RouteError(
                f"{where}: hours need a time zone: set time_zone here, in [sites.{origin}], or at "
                "the top of the file"
            )
        named = zone
        hours = _read(lambda text: Hours.parse(text, named), table.hours, f"{where}, hours")
    return Conditions(
        hours=hours,
        space_left=_read(parse_space, table.space_left, f"{where}, space_left"),
        reachable=table.reachable,
    )


def _require_distinct(rules: Sequence[RouteRule], where: str) -> None:
    names: dict[str, int] = {}
    for rule in rules:
        if rule.name in names:
            raise RouteError(
                f"{where}: routes {names[rule.name]} and {rule.number} have one name, "
                f"{rule.name!r}. Give each a name of its own."
            )
        names[rule.name] = rule.number


def _methods(names: Sequence[str] | None, where: str) -> tuple[str, ...]:
    if names is None:
        return ()
    try:
        named_methods(names)
    except UsageError as error:
        raise RouteError(f"{where}, {error}") from None
    return tuple(names)  # `auto` stays: what it stands for depends on the worker's machine


def _zone(name: object, where: str) -> str | None:
    if name is not None and not isinstance(name, str):
        raise RouteError(f"{where}, time_zone: expected text; found {name!r}")
    return _read(lambda text: time_zone(text).key, name, f"{where}, time_zone")


def _read(read: Callable[[Any], T], value: object, where: str) -> T | None:
    try:
        return None if value is None else read(value)
    except ValueError as error:
        raise RouteError(f"{where}: {error}") from None


def _table(found: object, where: str) -> Mapping[str, Any]:
    if found is not None and not isinstance(found, Mapping):
        raise RouteError(f"{where}: expected a table; found {type(found).__name__}")
    return found or {}


def _converted(table: Mapping[str, Any], kind: type[S], where: str) -> S:
    _require_known(
        table, [field.encode_name for field in msgspec.structs.fields(kind)], where=where
    )
    try:
        return typed.convert(table, kind)
    except msgspec.ValidationError as error:
        raise RouteError(misfit(error, kind, where=where)) from None


def _require_known(
    table: Mapping[str, Any], known: Sequence[str], *, where: str, what: str = "a key"
) -> None:
    for key in table:
        if key not in known:
            raise RouteError(f"{where}: {unknown_key(key, known, what=what)}")
