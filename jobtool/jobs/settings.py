"""``joblist.toml``: the settings of a joblist, which every worker reads."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import tomli_w

from jobtool import typed
from jobtool.errors import JobFileError, JoblistError, UnmetRequirementError
from jobtool.jobs.exportsettings import ExportSettings
from jobtool.jobs.filtersettings import FilterSettings
from jobtool.jobs.forms import Compression
from jobtool.jobs.limits import Bandwidth
from jobtool.jobs.metricssettings import MetricsSettings
from jobtool.jobs.notifysettings import MailSettings, NotifySettings, WebhookSettings
from jobtool.jobs.packagesettings import PackageSettings
from jobtool.jobs.requirements import require_understood
from jobtool.jobs.settingsecrets import refuse_secrets
from jobtool.jobs.steps import require_chain
from jobtool.names import quote, unquote
from jobtool.plugins import METHODS, find, is_scheme
from jobtool.plugins import names as names_of_plugins
from jobtool.suggest import misfit, nearly, unknown_key

FILENAME = "joblist.toml"
FORMAT = 1

#: A larger ``joblist.toml`` isn't read: jobtool doesn't write one.
MAX_BYTES = 256 * 1024

#: What ``[layout]`` may hold: the fields of ``layouts.layout.Layout``, or a preset's name.
LAYOUT_KEYS = (
    "pattern",
    "name",
    "destination",
    "require",
    "files",
    "optional",
    "files_match",
    "values",
    "preset",
)

_MEBIBYTE = 1024 * 1024

#: The sizes that S3 allows for a part.
_PART_SIZES = msgspec.Meta(ge=5 * _MEBIBYTE, le=5 * 1024 * _MEBIBYTE)

#: How long a lease may last without a heartbeat.
LeaseSeconds = Annotated[float, msgspec.Meta(ge=1, le=86400)]


#: How long a worker may make no progress before its leases are given up: up to 30 days.
StallSeconds = Annotated[float, msgspec.Meta(ge=1, le=30 * 86400)]


class TransferSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[transfer]`` table; None means the default.

    ``part_size_bytes`` is also the size from which files go in parts. ``if_exists``, ``links``,
    ``verify``, ``if_gone``, ``compression``, ``preserve``, ``methods``, ``bandwidth`` and
    ``max_requests_per_second`` are what the options of those names say. Workers read the last two
    again while they run. ``trash`` is the folder or URL that files go to which are deleted at the
    destination, ``keep_days`` how long they stay there.
    """

    threads: Annotated[int, msgspec.Meta(ge=1, le=256)] | None = None
    part_size_bytes: Annotated[int, _PART_SIZES] | None = None
    max_attempts: Annotated[int, msgspec.Meta(ge=1)] | None = None
    patience_seconds: Annotated[float, msgspec.Meta(ge=0)] | None = None
    if_exists: Literal["verify", "overwrite", "error"] | None = None
    verify: Literal["digest", "read-back"] | None = None
    links: Literal["follow", "skip", "error", "keep"] | None = None
    if_gone: Literal["error", "ignore"] | None = None
    compression: Compression | None = None
    preserve: (
        tuple[Literal["mode", "times", "xattrs", "acl", "owner", "none", "all"], ...] | None
    ) = None
    methods: tuple[str, ...] | None = None
    bandwidth: str | None = None
    max_requests_per_second: Annotated[float, msgspec.Meta(ge=0)] | None = None
    trash: str | None = None
    keep_days: Annotated[float, msgspec.Meta(ge=0, le=36500)] | None = None

    def __post_init__(self) -> None:
        """Refuse a bandwidth that can't be read."""
        if self.bandwidth is not None:
            try:
                Bandwidth.parse(self.bandwidth)
            except ValueError as error:
                raise ValueError(f"bandwidth: {error}") from None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of ``joblist.toml``.

    ``id`` marks the unfinished writes of this joblist's workers. ``layout`` is the layout's own
    table, so that a joblist doesn't depend on a file elsewhere. ``values`` are the values that
    ``--set`` gave to its templates. ``s3`` is the table of the S3 store, ``stores`` are those of
    other stores by scheme, and ``credentials`` is the table of credentials. ``source_fs`` and
    ``target_fs`` are the filesystems of the two sides (``jobtool.stores.sides``).

    ``claims`` is the kind of claims that workers use. ``lease_seconds`` is how long a lease lasts
    without a heartbeat, ``stall_seconds`` how long a worker that makes no progress keeps its
    leases. None means the default. ``requires`` are words that every version which uses the
    joblist must know (``jobs.requirements``). ``steps`` is the chain of steps that new jobs get,
    empty for ``copy`` alone. ``methods`` holds the tables of methods that run other programs, by
    the method's name, ``ssh`` and ``hadoop`` what several of these have in common. ``export`` is
    the query of an export, ``packages`` says how packages are made; None for other joblists.
    ``metrics`` says where workers send what they have done, ``notify`` who is told on which
    occasions.
    """

    format: int = FORMAT
    jobtool: str = ""
    requires: tuple[str, ...] = ()
    id: str = ""
    source: str | None = None
    destination: str | None = None
    layout: dict[str, Any] = {}
    values: dict[str, str] = {}
    s3: dict[str, Any] = {}
    credentials: dict[str, Any] = {}
    stores: dict[str, dict[str, Any]] = {}
    source_fs: dict[str, Any] = {}
    target_fs: dict[str, Any] = {}
    steps: tuple[str, ...] = ()
    filters: FilterSettings = FilterSettings()
    methods: dict[str, dict[str, Any]] = {}
    ssh: dict[str, Any] = {}
    hadoop: dict[str, Any] = {}
    export: ExportSettings | None = None
    packages: PackageSettings | None = None
    metrics: MetricsSettings = MetricsSettings()
    notify: NotifySettings = NotifySettings()
    claims: Literal["auto", "lock", "lease"] | None = None
    lease_seconds: LeaseSeconds | None = None
    stall_seconds: StallSeconds | None = None
    transfer: TransferSettings = TransferSettings()

    @property
    def store_tables(self) -> dict[str, dict[str, Any]]:
        """The tables of stores, by scheme."""
        return {"s3": self.s3, **self.stores}

    @property
    def names_a_command(self) -> bool:
        """Whether the settings name a command to run for credentials."""
        sides = (self.credentials.get(side) for side in ("source", "destination"))
        tables = [self.credentials, *(side for side in sides if isinstance(side, dict))]
        return any("command" in table for table in tables)

    @property
    def names_an_ssh_config(self) -> bool:
        """Whether the settings name an ssh_config, which may name commands (ProxyCommand)."""
        sftp = self.stores.get("sftp", {})
        tables = [sftp, *(sftp.get(side) for side in ("source", "destination"))]
        tables += [self.source_fs, self.target_fs]
        return any("config" in table for table in tables if isinstance(table, dict))

    @property
    def sends_metrics(self) -> bool:
        """Whether the settings name a place for metrics, to which the token may be sent."""
        return self.metrics.is_sent

    @property
    def tells_people(self) -> bool:
        """Whether the settings name a command for notices, or a place to which they are sent.

        A password may be sent there, too, and mail goes out under the name of this user.
        """
        return self.notify.is_told

    @property
    def steers_programs(self) -> bool:
        """Whether the settings name programs for methods, or options for them.

        Such options may make a program run another. Numbers and switches can't.
        """
        tables = [self.ssh, self.hadoop, *self.methods.values()]
        return any(
            not isinstance(value, (bool, int, float))
            for table in tables
            for value in table.values()
        )


def decode(text: str, *, path: str) -> Settings:
    """Read the text of a ``joblist.toml``.

    Raises ``JoblistError``, which names ``path`` and the place in it.
    """
    try:
        table = tomllib.loads(text)
        found = table.get("format")
        if found != FORMAT:
            raise JoblistError(
                f"{quote(path)}: expected 'format = {FORMAT}'; found {found!r}. "
                "Was it written by another version of jobtool?"
            )
        _require_understood(table.get("requires"), path=path)
        refuse_secrets(table, path=path)
        _refuse_unknown(table, path=path)
        return from_table(table, path=path)
    except tomllib.TOMLDecodeError as error:
        raise JoblistError(f"{quote(path)} isn't valid TOML: {error}. Correct it.") from None
    except RecursionError:
        raise JoblistError(f"{quote(path)}: its tables or arrays are nested too deeply") from None


def from_table(table: Mapping[str, Any], *, path: str) -> Settings:
    """Make settings from the tables of a TOML document; raises ``JoblistError``."""
    stores = {key: value for key, value in table.items() if _is_of_a_store(key, value)}
    rest = {key: value for key, value in table.items() if key not in stores}
    try:
        settings = typed.convert({**rest, "stores": stores}, Settings)
    except msgspec.ValidationError as error:
        raise JoblistError(misfit(error, Settings, where=quote(path))) from None
    is_received = settings.packages is not None and settings.packages.receive is not None
    if settings.filters and (settings.export or is_received):
        raise JoblistError(
            f"{quote(path)}: expected [filters] only in a joblist of files; found it in one "
            f"{'of an export' if settings.export else 'of received packages'}, where it can't "
            "select any"
        )
    try:
        return msgspec.structs.replace(
            settings,
            steps=settings.steps and require_chain(settings.steps),
            source=settings.source and unquote(settings.source),
            destination=settings.destination and unquote(settings.destination),
        )
    except JobFileError as error:
        raise JoblistError(f"{quote(path)}: {error}") from None


def encode(settings: Settings, *, path: str = FILENAME) -> str:
    """Return the text of a ``joblist.toml``.

    Raises ``JoblistError``, which names ``path``, if a setting looks like a secret.
    """
    table = msgspec.to_builtins(settings, builtin_types=(datetime,))
    table |= table.pop("stores")
    refuse_secrets(table, path=path)
    for key in ("source", "destination"):
        if table[key] is not None:
            table[key] = quote(table[key])
    for key in ("requires", "steps"):
        table[key] = table[key] or None
    table["filters"]["rules"] = table["filters"]["rules"] or None
    heading = "# What was decided when this joblist was made. Workers read it when they start.\n"
    return heading + tomli_w.dumps(_without_none(table))


def _require_understood(words: object, *, path: str) -> None:
    """Refuse a joblist of a newer version before anything else in it is checked."""
    if not isinstance(words, list):
        return
    try:
        require_understood([str(word) for word in words])
    except UnmetRequirementError as error:
        raise JoblistError(f"{quote(path)}: {error}") from None


def _refuse_unknown(table: Mapping[str, Any], *, path: str) -> None:
    """Refuse unknown keys: a misspelt setting would be ignored without notice.

    The tables ``s3``, ``credentials`` and those of other stores are checked where they are used.
    """
    fields = [name for name in Settings.__struct_fields__ if name != "stores"]
    ours = [key for key, value in table.items() if not _is_of_a_store(key, value)]
    _require_known(ours, fields, where=quote(path), what="a key or table")
    for name, keys in (
        ("transfer", TransferSettings.__struct_fields__),
        ("layout", LAYOUT_KEYS),
        ("export", ExportSettings.__struct_fields__),
        ("packages", PackageSettings.__struct_fields__),
        ("metrics", MetricsSettings.__struct_fields__),
        ("filters", FilterSettings.__struct_fields__),
        ("notify", NotifySettings.__struct_fields__),
        ("notify.mail", MailSettings.__struct_encode_fields__),
        ("notify.webhook", WebhookSettings.__struct_fields__),
    ):
        outer, _, inner = name.partition(".")
        found = table.get(outer)
        if inner:
            found = found.get(inner) if isinstance(found, Mapping) else None
        if isinstance(found, Mapping):
            _require_known(found, keys, where=f"{quote(path)}, table [{name}]", what="a key")
    methods = table.get("methods")
    for name in methods if isinstance(methods, Mapping) else ():
        # A method may be installed only where workers run, so only slips are refused.
        meant = nearly(name, names_of_plugins(METHODS)) if find(METHODS, name) is None else None
        if meant is not None:
            raise JoblistError(
                f"{quote(path)}: there is no method for the table [methods.{name}]. Did you mean "
                f"[methods.{meant}]? Correct or remove it."
            )


def _is_of_a_store(key: str, value: object) -> bool:
    """Return True for a table that is named after the scheme of an installed store."""
    is_other = isinstance(value, Mapping) and key not in Settings.__struct_fields__
    return is_other and is_scheme(key)


def _require_known(table: Iterable[str], names: Sequence[str], *, where: str, what: str) -> None:
    for key in table:
        if key not in names:
            raise JoblistError(f"{where}: {unknown_key(key, names, what=what)}")


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    kept = {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if value is not None
    }
    return {key: value for key, value in kept.items() if value != {}}
