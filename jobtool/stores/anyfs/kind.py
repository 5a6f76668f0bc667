"""The store types of schemes that have no store of their own, and that fsspec knows."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from jobtool.errors import StoreSettingsError, UsageError
from jobtool.names import in_one_line, quote
from jobtool.plugins import fsspec_knows
from jobtool.redact import redact
from jobtool.stores.storetype import ROLES, Opening, Role, Setup, StoreType

if TYPE_CHECKING:
    import fsspec

    from jobtool.stores.anyfs.filesystem import Filesystem
    from jobtool.stores.location import Location
    from jobtool.stores.store import Store

#: The name that stands for the whole of a filesystem, as in ``zip://.``.
WHOLE = "."

#: Filesystems that can't be written, or not be read back while they are. They don't change while
#: they are open, and listing them again costs much.
_ONLY_READ = frozenset({"github", "gist", "git", "zip", "tar", "libarchive"})


class Filesystems:
    """The filesystems of a run, by role and root."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._lock = threading.Lock()
        self._made: dict[tuple[Role, str], Filesystem] = {}

    def get(self, location: Location, role: Role) -> Filesystem:
        """Return the filesystem of a location. It isn't made yet."""
        from jobtool.stores.anyfs.filesystem import Filesystem

        with self._lock:
            key = role, location.root
            if key not in self._made:
                options = {
                    **_options(self._setup.table, role),
                    **self._setup.secrets.get(role, {}),
                }
                shown = f"{self._setup.shown}, table [{location.scheme}]"
                self._made[key] = Filesystem(partial(_make, location, options, shown))
            return self._made[key]


def fsspec_type(scheme: str) -> StoreType | None:
    """Return the type of a scheme that fsspec knows, or None if it doesn't or isn't installed.

    Raises ``UsageError`` that says what to install for a filesystem that lacks a package.
    """
    if not fsspec_knows(scheme):
        return None
    _class_of(scheme)
    return StoreType(
        open=_open,
        share=Filesystems,
        check=_check,
        name=r"[^/]+",
        name_shown=f"the first part of a path, or '{WHOLE}' for the whole filesystem",
        modules=("fsspec",),
        extra="fsspec",
        source_only=scheme in _ONLY_READ,
        service=f"fsspec's {scheme}",
    )


def _class_of(scheme: str) -> type[fsspec.AbstractFileSystem]:
    from fsspec.registry import get_filesystem_class, known_implementations

    try:
        found: type[fsspec.AbstractFileSystem] = get_filesystem_class(scheme)
        return found
    except (ImportError, ValueError) as error:
        known: Mapping[str, Any] = known_implementations.get(scheme, {})
        said = in_one_line(known.get("err") or str(error)).rstrip(".")
        raise UsageError(
            f"{scheme}://: fsspec knows this scheme, but a package that it needs isn't installed "
            f"here: {said}. Install it where workers run, too."
        ) from None


def _check(location: Location, url: str) -> None:
    scheme = location.scheme
    if "::" in url:
        raise UsageError(
            f"{quote(url)}: chained URLs of fsspec aren't supported, since a path below one isn't "
            f"one. Name what is inside by {scheme}://{WHOLE}/PATH, and the outer file by "
            f"[{scheme}] fo in joblist.toml."
        )
    if "@" in location.name:
        after = location.name.rpartition("@")[2]
        raise UsageError(
            f"{quote(f'{scheme}://…@{after}')}: expected no login and no options in the URL; found "
            f"something before '@'. Put options into the table [{scheme}] of joblist.toml, and "
            "secrets into fsspec's own configuration."
        )


def _options(table: Mapping[str, Any], role: Role) -> dict[str, Any]:
    """Return a role's storage options: its own table over the common one."""
    common = {key: value for key, value in table.items() if key not in ROLES}
    own = table.get(role, {})
    return {**common, **own} if isinstance(own, Mapping) else common


def _make(location: Location, options: Mapping[str, Any], shown: str) -> fsspec.AbstractFileSystem:
    kind = _class_of(location.scheme)
    from_url = {} if location.name == WHOLE else dict(kind._get_kwargs_from_urls(location.url))
    from_url.pop("path", None)
    given: dict[str, Any] = {**from_url, **options}
    if location.scheme not in _ONLY_READ:
        given.setdefault("use_listings_cache", False)
    try:
        return kind(**given)
    except ImportError as error:
        raise StoreSettingsError(f"{location.scheme}://: {in_one_line(str(error))}") from None
    except (TypeError, ValueError, FileNotFoundError) as error:
        said = in_one_line(redact(f"{type(error).__name__}: {error}"), most=300)
        raise StoreSettingsError(
            f"{shown}: fsspec's {location.scheme} filesystem can't be made with these options: "
            f"{said}"
        ) from None


def _open(location: Location, opening: Opening) -> Store:
    from jobtool.stores.anyfs.store import FsspecStore

    filesystems = opening.shared
    assert isinstance(filesystems, Filesystems)
    kind = _class_of(location.scheme)
    if location.name == WHOLE:
        inner = kind.root_marker + location.path
    else:
        inner = f"{location.name}/{location.path}".rstrip("/")
    is_all = inner == kind.root_marker
    root = inner if is_all else kind._strip_protocol(f"{location.scheme}://{inner}")
    return FsspecStore(
        filesystems.get(location, opening.role), str(root), location.url, owner=opening.owner
    )
