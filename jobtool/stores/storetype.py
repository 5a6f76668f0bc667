"""What a package tells of its kind of store: the entry point of a URL's scheme.

A package declares it in the group ``jobtool.stores`` of its pyproject.toml, under the scheme::

    [project.entry-points."jobtool.stores"]
    lab = "our_package.lab_store:STORE_TYPE"

It is loaded when a URL of that scheme, or a table of that name in joblist.toml, is first met. So
the module that it names should import little, and what reaches the service in ``open``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import msgspec

from jobtool.errors import UsageError
from jobtool.plugins import STORES, find, load
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the stores of one scheme are opened with, all through a run.

    ``table`` is the scheme's own of joblist.toml, which errors call ``shown``. ``connections`` is
    how many requests may be under way at once; ``links`` is what listing a local source does with
    symbolic links; with ``read_back`` what was written is proven by reading it; ``keep`` are the
    attributes of files and folders that are kept. ``providers`` are those of credentials, for the
    roles that joblist.toml names one for, and ``on_renewal`` is told of each renewal.
    """

    table: Mapping[str, Any] = field(default_factory=dict)
    shown: str = "joblist.toml"
    connections: int = 16
    links: LinkPolicy = "follow"
    read_back: bool = False
    keep: frozenset[Kept] = KEEP_BY_DEFAULT
    providers: Mapping[Role, CredentialProvider] = field(default_factory=dict)
    on_renewal: Callable[[CredentialHolder], None] = lambda holder: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What one store is opened with.

    ``owner`` marks what is written, but not finished, as somebody's. ``mirrors`` is the store whose
    folders its own are going to be given the attributes of. ``settings`` are the scheme's own, as
    its ``StoreType.settings`` has them, and ``shared`` is what its ``StoreType.share`` returned.
    """

    role: Role
    setup: Setup
    owner: str = ""
    mirrors: Store | None = None
    settings: Any = None
    shared: Any = None


@runtime_checkable
class Credentialed(Protocol):
    """What a scheme's stores share, where they need credentials."""

    def prepare(self, location: Location, role: Role) -> None:
        """Have what a place needs, so that wrong settings are told at once; contact nobody.

        Raises ``UsageError``, ``StoreSettingsError``, ``CredentialsError`` and
        ``StoreUnavailableError``.
        """

    def holders(self) -> list[CredentialHolder]:
        """Return the holders of the credentials of all clients so far."""

    def begin_job(self, scopes: Mapping[Role, CredentialScope]) -> None:
        """Have credentials for a job: its own, or those in force if they aren't due.

        Raises ``CredentialsError``.
        """

    def reach_job(self, scopes: Mapping[Role, CredentialScope]) -> None:
        """Have credentials that are good for a job's purposes; those in force, if they are.

        Raises ``CredentialsError``.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreType:
    """One kind of store.

    ``open`` returns the store at a place, and contacts nobody. ``settings`` is the type of the
    scheme's own table in joblist.toml, if it has one; a role may have a table of its own in that,
    as ``[lab.destination]``. ``share`` makes what all its stores of a run have in common, such as
    clients; if that is ``Credentialed``, it is told of each job. ``check`` refuses, by
    ``UsageError``, a place that the scheme can't have; it is given the URL as well, for its
    message. ``root`` is what stands after ``://``, in a word.
    """

    open: Callable[[Location, Opening], Store]
    settings: type[msgspec.Struct] | None = None
    share: Callable[[Setup], object] | None = None
    check: Callable[[Location, str], None] | None = None
    root: str = "name"


@cache
def store_type(scheme: str) -> StoreType | None:
    """Return the type of a scheme; None if no package has it. Raises ``UsageError``."""
    entry = find(STORES, scheme)
    if entry is None:
        return None
    loaded = load(entry, what=f"the store of {scheme}://", kind=StoreType)
    assert isinstance(loaded, StoreType)
    return loaded


def settings_of_roles(scheme: str, kind: StoreType, setup: Setup) -> dict[Role, Any]:
    """Return the settings of each role: its own table over the common one, as the type has them.

    Raises ``UsageError`` that names the file and the key.
    """
    if kind.settings is None:
        return {}
    common = {key: value for key, value in setup.table.items() if key not in ROLES}
    found: dict[Role, Any] = {}
    for role in ROLES:
        try:
            table = {**common, **setup.table.get(role, {})}
            found[role] = msgspec.convert(table, kind.settings, strict=False)
        except msgspec.ValidationError as error:
            where = f"{setup.shown}, table [{scheme}]"
            raise UsageError(misfit(error, kind.settings, where=where)) from None
        except TypeError:
            raise UsageError(
                f"{setup.shown}, table [{scheme}]: expected a table [{scheme}.{role}]; found "
                f"{setup.table[role]!r}"
            ) from None
    return found
