"""A request, completed from the existing joblist, the layout or both."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec import structs
from msgspec.structs import replace

from jobtool import __version__
from jobtool.errors import JobFileError, JoblistError, UsageError
from jobtool.events import Emit
from jobtool.jobs.filtersettings import FilterSettings
from jobtool.jobs.job import COPY
from jobtool.jobs.settings import FILENAME, Settings
from jobtool.jobs.steps import require_chain
from jobtool.layouts.auto import pick_layout
from jobtool.layouts.drafts import with_absolute_folders
from jobtool.layouts.events import LayoutChosen
from jobtool.layouts.existing import canonical, existing_settings
from jobtool.layouts.layout import AUTO, MANIFEST, Layout, layout_of_table, load_layout
from jobtool.layouts.manifest import MANIFEST_VALUES
from jobtool.layouts.namedfiles import Collected, collect
from jobtool.layouts.request import Request
from jobtool.names import quote
from jobtool.stores.location import Location
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.sides import table_to_write
from jobtool.suggest import did_you_mean
from jobtool.transfer.selecting import names_at, selection_of
from jobtool.transfer.stores_of import stores_by

if TYPE_CHECKING:
    from jobtool.filters.namelist import NameList
    from jobtool.filters.selection import Selection


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that generating needs.

    ``request`` has its places as URLs. ``existing`` are the settings of the existing joblist, None
    without one. ``settings`` are those to write. ``layout`` is None for a manifest. ``is_guessed``
    is True if the layout was chosen by looking at the source.
    """

    request: Request
    existing: Settings | None
    settings: Settings
    layout_name: str
    layout: Layout | None
    is_guessed: bool
    stores: StoreRegistry
    names: NameList | None = None
    collected: Collected | None = None

    @property
    def selection(self) -> Selection | None:
        """What of the source is left out; None for nothing."""
        return selection_of(self.settings.filters, self.request.source, self.request.source)

    def require_used(self) -> None:
        """Raise ``UsageError`` for values that the layout doesn't use: one may be misspelt."""
        known = MANIFEST_VALUES if self.layout is None else self.layout.settable()
        for key in self.request.values:
            if key in known:
                continue
            if key.startswith("transfer."):
                raise UsageError(
                    f"--set {key}=…: expected a value of the layout, SCHEME.KEY or "
                    "credentials.KEY. "
                    "Settings of [transfer] are options of transfer-worker, or are written into "
                    "joblist.toml."
                )
            takes = ", ".join(sorted(known)) or "none"
            table, dot, rest = key.lower().partition(".")
            is_table = dot and table in ("s3", "credentials")
            hint = f" Did you mean {table}.{rest}?" if is_table else did_you_mean(key, known)
            raise UsageError(
                f"--set {key}=…: the layout {quote(self.layout_name)} doesn't use it."
                f"{hint} It takes these values: {takes}. --set also takes "
                "SCHEME.KEY, such as s3.endpoint_url, and credentials.KEY."
            )


def resolve(request: Request, emit: Emit, scratch: str) -> Resolution:
    """Complete a request. Lists of names are sorted in the folder ``scratch``.

    Raises ``JoblistError`` if it contradicts the existing joblist, ``UsageError``, ``LayoutError``,
    ``SourceError`` and ``InfrastructureError``.
    """
    request = replace(
        request,
        source=Location.parse(request.source).url,
        destination=request.destination and Location.parse(request.destination).url,
    )
    existing = existing_settings(request.joblist_path, trust=request.trust)
    before = canonical(existing or Settings())
    if before.export is not None:
        raise JoblistError(
            f"{quote(request.joblist_path)} is the joblist of an export. Use another --output-path."
        )
    if before.packages is not None:
        raise JoblistError(
            f"{quote(request.joblist_path)} is a joblist of packages. Use another --output-path, "
            "or --layout packages."
        )
    values: Mapping[str, str] = {**before.values, **request.values}
    tables = {**before.store_tables}
    for scheme, table in request.stores.items():
        tables[scheme] = {**tables.get(scheme, {}), **table}
    credentials = {**before.credentials, **request.credentials}
    s3 = tables.pop("s3")
    source_fs = table_to_write(before.source_fs, request.filesystems.get("source"))
    target_fs = table_to_write(before.target_fs, request.filesystems.get("destination"))
    stores = stores_by(
        Settings(
            s3=s3,
            stores=tables,
            credentials=credentials,
            source_fs=source_fs,
            target_fs=target_fs,
        ),
        filesystems=request.filesystems,
    )
    destination = request.destination or before.destination
    filters = before.filters if request.filters is None else request.filters
    collected = _collect(request, stores, scratch, emit)
    if collected is not None:
        filters = replace(filters, files_from=collected.place)
    names = _names(collected, filters, request.joblist_path)
    selection = selection_of(filters, request.source, request.source)
    layout_name, layout = _choose_layout(request, before, stores, selection, names, emit)
    _require_fitting(filters, layout_name, layout)
    if layout is None and request.list_format != "auto":
        values = {**values, "list_format": request.list_format}
    if layout is not None:
        values = {**layout.values, **values}
        if destination is None:
            values = with_absolute_folders(layout, values)
            before = structs.replace(before, values=with_absolute_folders(layout, before.values))
    settings = structs.replace(  # all else stays as it is, such as [metrics] and [notify]
        before,
        jobtool=__version__,
        steps=_chain(request.steps) or before.steps,
        filters=filters,
        id=before.id or uuid.uuid4().hex,
        source=request.source,
        destination=destination,
        layout={"preset": layout_name} if layout is None else layout.table(),
        values=dict(values),
        s3=s3,
        stores=tables,
        source_fs=source_fs,
        target_fs=target_fs,
        credentials=credentials,
    )
    resolution = Resolution(
        request=request,
        existing=existing,
        settings=settings,
        layout_name=layout_name,
        layout=layout,
        is_guessed=request.layout in (None, AUTO) and not before.layout,
        stores=stores,
        names=names,
        collected=collected,
    )
    if not resolution.is_guessed or layout is None:
        resolution.require_used()
    _require_same(before, settings, request)
    return resolution


def _collect(request: Request, stores: StoreRegistry, scratch: str, emit: Emit) -> Collected | None:
    if not request.files_from:
        return None
    return collect(
        request.files_from,
        source=request.source,
        wanted=request.list_format,
        open_store=lambda url: stores.open(url, "source"),
        scratch=scratch,
        emit=emit,
    )


def _names(
    collected: Collected | None, filters: FilterSettings, joblist_path: str
) -> NameList | None:
    if collected is not None:
        return names_at(collected.path)
    if filters.files_from is None:
        return None
    return names_at(os.path.join(joblist_path, filters.files_from))


def _require_fitting(filters: FilterSettings, name: str, layout: Layout | None) -> None:
    """Raise ``UsageError`` for filters that a layout can't have."""
    if layout is None and filters.files_from is not None:
        raise UsageError(
            "--files-from: expected none with the layout 'manifest', which names each file "
            "itself. Give the list as the input path."
        )
    if filters and layout is not None and layout.files:
        raise UsageError(
            f"the layout {quote(name)} names each file, so filters can't leave any out. "
            "Name only the files to transfer, and give no filters."
        )


def _choose_layout(
    request: Request,
    before: Settings,
    stores: StoreRegistry,
    selection: Selection | None,
    names: NameList | None,
    emit: Emit,
) -> tuple[str, Layout | None]:
    wanted = request.layout
    if wanted is None and before.layout:
        if before.layout.get("preset") == MANIFEST:
            return MANIFEST, None
        return "joblist.toml", layout_of_table(before.layout, shown=FILENAME)
    if wanted is None or wanted == AUTO:
        wanted, reason = pick_layout(stores.open(request.source, "source"), selection, names)
        emit(LayoutChosen(layout=wanted, reason=reason))
    return (MANIFEST, None) if wanted == MANIFEST else load_layout(wanted)


def _chain(steps: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return steps and require_chain(steps)
    except JobFileError as error:
        raise UsageError(f"--steps: {error}") from None


def _require_same(before: Settings, now: Settings, request: Request) -> None:
    """Raise ``JoblistError`` if the existing joblist was made in another way."""
    if before.source is None and not before.layout:
        return
    for what, way_out, old, new in (
        ("input path", "take that input path", before.source, now.source),
        ("destination", "leave out --destination", before.destination, now.destination),
        ("layout", "leave out --layout", before.layout, now.layout),
        ("values", "leave out --set", before.values, now.values),
        ("chain of steps", "leave out --steps", before.steps or (COPY,), now.steps or (COPY,)),
    ):
        if old and old != new:
            raise JoblistError(
                f"{quote(request.joblist_path)} was made with another {what}: expected {old!r}; "
                f"found {new!r}. Use another --output-path, or {way_out}."
            )
