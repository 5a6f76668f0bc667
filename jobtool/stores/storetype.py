"""The type of a store: what the entry point of a URL's scheme names.

A package declares it in the group ``jobtool.stores`` of its pyproject.toml, under the scheme::

    [project.entry-points."jobtool.stores"]
    lab = "our_package.lab_store:STORE_TYPE"

Types whose stores lie inside files of other stores have a name that ends in a plus, such as
``package+``. Their URLs have the other store's scheme after it: ``package+s3://BUCKET/NAME.tar``.

The entry point is loaded for the first URL of that scheme, or for a table of that name in
joblist.toml. Its module should import little. Import the client of the service in ``open``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import msgspec

from jobtool import typed
from jobtool.errors import UsageError
from jobtool.names import quote
from jobtool.plugins import STORES, find, load
from jobtool.redact import Unshown
from jobtool.stores.preserve import KEEP_BY_DEFAULT, Kept
from jobtool.suggest import misfit

if TYPE_CHECKING:
    from jobtool.stores.credentials.holder import CredentialHolder
    from jobtool.stores.credentials.provider import CredentialProvider, CredentialScope
    from jobtool.stores.local.links import LinkPolicy
    from jobtool.stores.location import Location
    from jobtool.stores.store import Store

Role = Literal["source", "destination"]

ROLES: tuple[Role, ...] = ("source", "destination")


class Setup(Unshown, frozen=True, kw_only=True):
    """The settings of a run that all stores of one scheme are opened with.

    - ``table``: the scheme's table of joblist.toml. Errors call that file ``shown``.
    - ``connections``: how many requests may be under way at once.
    - ``links``: what listing a local source does with symbolic links.
    - ``read_back``: prove what was written by reading it.
    - ``keep``: the attributes of files and folders to keep.
    - ``providers``: the credential providers of the roles for which joblist.toml names one.
    - ``on_renewal``: called at each renewal of credentials.
    - ``secrets``: what the roles log in with, given in Python, by the names of
      ``jobtool.stores.dialects``; for other filesystems of fsspec, their options.
    - ``filesystems``: the filesystem objects of the roles, for the scheme of objects.
    """

    table: Mapping[str, Any] = msgspec.field(default_factory=dict)
    shown: str = "joblist.toml"
    connections: int = 16
    links: LinkPolicy = "follow"
    read_back: bool = False
    keep: frozenset[Kept] = KEEP_BY_DEFAULT
    providers: Mapping[Role, CredentialProvider] = msgspec.field(default_factory=dict)
    on_renewal: Callable[[CredentialHolder], None] = lambda holder: None
    secrets: Mapping[Role, Mapping[str, Any]] = msgspec.field(default_factory=dict)
    filesystems: Mapping[Role, Any] = msgspec.field(default_factory=dict)

    shown_fields = ("shown",)


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments that one store is opened with.

    ``owner`` marks the store's unfinished files. ``mirrors`` is the store whose folder attributes
    this store's folders will be given. ``settings`` are those of the role, of the type
    ``StoreType.settings``. ``shared`` is what ``StoreType.share`` returned. ``other`` opens the
    store of another URL for the same role, by the settings of the same run.
    """

    role: Role
    setup: Setup
    owner: str = ""
    mirrors: Store | None = None
    settings: Any = None
    shared: Any = None
    other: Callable[[str], Store] | None = None


@runtime_checkable
class Credentialed(Protocol):
    """What a scheme's stores share if they need credentials."""

    def prepare(self, location: Location, role: Role) -> None:
        """Make the client of a location, so that wrong settings are reported at once.

        Contacts no server.

        Raises ``UsageError``, ``StoreSettingsError``, ``CredentialsError`` and
        ``StoreUnavailableError``.
        """

    def holders(self) -> list[CredentialHolder]:
        """Return the credential holders of all clients made so far."""

    def begin_job(self, scopes: Mapping[Role, CredentialScope]) -> None:
        """Get credentials for a job: its own, or the current ones if they aren't due.

        Raises ``CredentialsError``.
        """

    def reach_job(self, scopes: Mapping[Role, CredentialScope]) -> None:
        """Get credentials valid for a job's scopes. Keep the current ones if they are.

        Raises ``CredentialsError``.
        """


class StoreType(msgspec.Struct, frozen=True, kw_only=True):
    """One type of store.

    - ``open``: returns the store at a location. Contacts no server.
    - ``settings``: the type of the scheme's table in joblist.toml, if it has one. A role may have
      a table of its own in it, such as ``[lab.destination]``.
    - ``share``: makes what all stores of a run share, such as clients. If that is
      ``Credentialed``, its methods are called for each job.
    - ``check``: raises ``UsageError`` for a location that the scheme can't have. It is also passed
      the URL, for its message.
    - ``as_typed``: returns the URL, as jobtool writes it, for one that a person wrote. Needed if
      people write other text: web addresses are percent-encoded, and jobtool's URLs have the plain
      names. Raises ``UsageError``.
    - ``split``: only for types whose stores lie inside files of other stores. Splits a path of the
      other store into that of the file and that inside the file; None if no part of it names one.
    - ``file_shown``: what the file's name looks like, for messages.
    - ``root``: a word for the part after ``://``.
    - ``name``: a regular expression for that part, and ``name_shown`` the same in words.
    - ``modules``: the modules of other packages that the store imports. ``extra`` is the extra of
      jobtool that installs them.
    - ``source_only``: nothing can be written there.
    - ``service``: the service's name for messages, if it has one.
    - ``clock_tolerance_seconds``: how far the clocks of client and server may differ before the
      server refuses requests; None if it doesn't compare them.
    - ``lists_own_times``: an entry has the time that its file was written with
      (``Attributes.mtime_ns``), so another time shows a change. Otherwise it may be the time of
      the writing.
    """

    open: Callable[[Location, Opening], Store]
    settings: type[msgspec.Struct] | None = None
    share: Callable[[Setup], object] | None = None
    check: Callable[[Location, str], None] | None = None
    as_typed: Callable[[str], str] | None = None
    split: Callable[[str], tuple[str, str] | None] | None = None
    file_shown: str = ""
    root: str = "name"
    name: str = r"[A-Za-z0-9][A-Za-z0-9._:-]+"
    name_shown: str = (
        "2 or more letters, digits, '.', '-', '_' or ':', beginning with a letter or digit"
    )
    modules: tuple[str, ...] = ()
    extra: str = ""
    source_only: bool = False
    service: str = ""
    clock_tolerance_seconds: float | None = None
    lists_own_times: bool = False


@cache
def store_type(scheme: str) -> StoreType | None:
    """Return the type of a scheme, or None if no package has it. Raises ``UsageError``.

    A scheme without an entry point may be one that fsspec knows.
    """
    outer, plus, other = scheme.partition("+")
    entry = find(STORES, scheme) if other or not plus else None
    if entry is None and other and store_type(other) is not None:
        entry = find(STORES, outer + plus)
    if entry is None:
        from jobtool.stores.anyfs.kind import fsspec_type

        return fsspec_type(scheme)
    loaded = load(entry, what=f"the store of {scheme}://", kind=StoreType)
    assert isinstance(loaded, StoreType)
    return loaded


def require_modules(scheme: str, kind: StoreType) -> None:
    """Raise ``UsageError`` unless the modules that a store imports are installed."""
    missing = [module for module in kind.modules if not _is_installed(module)]
    if missing:
        known = f" Did you mean to install it? pip install 'jobtool[{kind.extra}]'" * bool(
            kind.extra
        )
        raise UsageError(
            f"{scheme}://: this store needs the Python module {missing[0]}, which isn't installed "
            f"here. Install it where workers run, too.{known}"
        )


def require_writable(url: str, scheme: str, kind: StoreType) -> None:
    """Raise ``UsageError`` for a destination whose stores can only be sources."""
    if kind.source_only:
        raise UsageError(
            f"{quote(url)}: expected a destination that can be written; {scheme}:// can only be a "
            "source"
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that would hold it
        return False


def settings_of_roles(scheme: str, kind: StoreType, setup: Setup) -> dict[Role, Any]:
    """Return the settings of each role: its own table over the common one, as ``kind.settings``.

    Raises ``UsageError`` that names the file and the key.
    """
    if kind.settings is None:
        return {}
    common = {key: value for key, value in setup.table.items() if key not in ROLES}
    found: dict[Role, Any] = {}
    for role in ROLES:
        try:
            table = {**common, **setup.table.get(role, {})}
            found[role] = typed.convert(table, kind.settings, strict=False)
        except msgspec.ValidationError as error:
            where = f"{setup.shown}, table [{scheme}]"
            raise UsageError(misfit(error, kind.settings, where=where)) from None
        except TypeError:
            raise UsageError(
                f"{setup.shown}, table [{scheme}]: expected a table [{scheme}.{role}]; found "
                f"{setup.table[role]!r}"
            ) from None
    return found
