"""Making the joblist of an export: a job for each range of rows, and one for the manifest.

The joblist appears as a whole: it is made under a hidden name beside its own, and renamed. A
joblist that lacked a range would lose rows without notice.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from jobtool import __version__, typed
from jobtool.errors import JoblistError, UsageError, reason_of
from jobtool.events import Emit, ignore
from jobtool.export.asking import ask
from jobtool.export.bounds import encode_value
from jobtool.export.columns import require_column
from jobtool.export.events import (
    Counting,
    DestinationUnseen,
    ExportGenerated,
    QueryAccepted,
    RangePlanned,
    Splitting,
)
from jobtool.export.formats.by_name import format_of
from jobtool.export.placement import require_apart, require_no_data
from jobtool.export.ranges import Range, plan_ranges
from jobtool.jobs.exportsettings import DEFAULT_SPLITS, ExportSettings, require_uncompressed
from jobtool.jobs.exportshare import MANIFEST_JOB, ExportShare
from jobtool.jobs.job import Job
from jobtool.jobs.joblist import JobList
from jobtool.jobs.requirements import EXPORT
from jobtool.jobs.settings import FILENAME, Settings
from jobtool.names import quote
from jobtool.queries.dialect import stripped
from jobtool.queries.source import QuerySource
from jobtool.stop import Stop
from jobtool.stores.location import is_local
from jobtool.transfer.stores_of import stores_by

if TYPE_CHECKING:
    pass


#: Two values of a setting are shown if they are short enough to be compared by eye.
_MOST_TOLD = 300


class ExportRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A joblist to make.

    ``joblist_path`` is absolute, ``destination`` a URL or an absolute path, and so is
    ``export.staging``. With ``count`` the rows of an unsplit query are counted. ``tables`` are
    those of joblist.toml for stores and filesystems (keywords of ``Settings``), ``transfer`` its
    table ``[transfer]``.
    """

    joblist_path: str
    destination: str
    export: ExportSettings
    count: bool = False
    tables: Mapping[str, Any] = msgspec.field(default_factory=dict)
    transfer: Mapping[str, Any] = msgspec.field(default_factory=dict)
    dry_run: bool = False


def generate_export(
    request: ExportRequest,
    open_source: Callable[[], QuerySource],
    emit: Emit = ignore,
    *,
    stop: Stop | None = None,
) -> ExportGenerated:
    """Make the joblist; leave one that was made by the same request as it is.

    Raises ``JoblistError`` if another joblist is there, ``UsageError`` for places that aren't apart
    or hold other data and for a column that the query lacks or the format can't hold,
    ``StoppedError``, and what ``open_source`` and the database raise.
    """
    if not stripped(request.export.query):
        raise UsageError("--query: expected the SQL of a query; found nothing")
    if request.export.splits is not None and request.export.split_by is None:
        raise UsageError(
            "--splits: expected --split-by, the column to split by; found none. Add it."
        )
    require_apart(request.joblist_path, request.destination, request.export.staging)
    chunk_format = format_of(request.export.output_format, compression=request.export.compression)
    settings = _settings_of(request)
    require_uncompressed(settings.transfer.compression or "none")
    existing = _existing(request, settings)
    if existing is not None:
        emit(existing)
        return existing
    if request.export.existing_data != "ignore":
        why_unseen = require_no_data(
            request.destination,
            lambda: stores_by(settings).open(request.destination, "destination"),
        )
        if why_unseen is not None:
            emit(DestinationUnseen(destination=request.destination, reason=why_unseen))
    source = open_source()
    try:
        schema = source.describe(stripped(request.export.query))
        emit(QueryAccepted(columns=tuple((field.name, str(field.type)) for field in schema)))
        chunk_format.check(schema)
        for column in request.export.order_by:
            require_column(schema, column, doing="order by")
        ranges = _ranges(source, request, emit, stop)
    finally:
        source.close()
    jobs = [*_jobs(ranges, request.destination)]
    for job, rows in zip(jobs, ranges, strict=False):
        assert job.export is not None
        emit(
            RangePlanned(
                job=job.name, lower=job.export.lower, upper=job.export.upper, rows=rows.rows
            )
        )
    if not request.dry_run:
        _write(request.joblist_path, settings, jobs)
    counted = [each.rows for each in ranges]
    generated = ExportGenerated(
        created=len(jobs),
        existing=0,
        rows=None if None in counted else sum(each or 0 for each in counted),
        dry_run=request.dry_run,
    )
    emit(generated)
    return generated


def _settings_of(request: ExportRequest) -> Settings:
    return typed.convert(
        {
            **request.tables,
            "jobtool": __version__,
            "requires": (EXPORT,),
            "id": uuid.uuid4().hex,
            "destination": request.destination,
            "export": request.export,
            "transfer": request.transfer,
        },
        Settings,
    )


def _existing(request: ExportRequest, settings: Settings) -> ExportGenerated | None:
    """Return the result for a joblist that is there; None if there is none yet."""
    path = request.joblist_path
    if os.path.exists(os.path.join(path, FILENAME)):
        joblist = JobList.open(path)
        _require_same(request, settings, joblist.settings)
        return ExportGenerated(
            created=0, existing=len(joblist.job_ids()), rows=None, dry_run=request.dry_run
        )
    if os.path.isdir(path) and os.listdir(path):
        raise JoblistError(
            f"{quote(path)} is neither a joblist nor empty. Choose another folder for the joblist."
        )
    if os.path.lexists(path) and not os.path.isdir(path):
        raise JoblistError(
            f"expected a folder for the joblist at {quote(path)}; found a file. "
            "Choose another folder."
        )
    return None


def _require_same(request: ExportRequest, settings: Settings, found: Settings) -> None:
    """Raise ``JoblistError`` unless ``found`` are the ``settings`` that a request asks for.

    Tables may have further keys: what workers are to do is changed there.
    """
    path = quote(request.joblist_path)
    if found.export is None:
        raise JoblistError(
            f"{path} is a joblist that copies files. Choose another folder for the joblist."
        )
    pairs = [("destination", found.destination, request.destination)]
    names = [name for name in ExportSettings.__struct_fields__ if name != "existing_data"]
    pairs += [(name, getattr(found.export, name), getattr(request.export, name)) for name in names]
    for name, old, new in pairs:
        if old != new:
            told = f": expected {old!r}; found {new!r}"
            raise JoblistError(
                f"{path} was made with another {name}{told if len(told) <= _MOST_TOLD else ''}. "
                "Choose another folder for the joblist."
            )
    old_tables, new_tables = _tables_of(found), _tables_of(settings)
    given = {**request.tables, **request.tables.get("stores", {}), "transfer": request.transfer}
    for table in given.keys() - {"stores"}:
        for key in given[table]:
            if old_tables.get(table, {}).get(key) != new_tables[table].get(key):
                raise JoblistError(
                    f"{path} was made with another {key!r} in [{table}]. Change that in its "
                    f"{FILENAME}, or choose another folder for the joblist."
                )


def _tables_of(settings: Settings) -> dict[str, Any]:
    tables: dict[str, Any] = msgspec.to_builtins(settings)
    return {**tables, **tables["stores"]}


def _ranges(
    source: QuerySource, request: ExportRequest, emit: Emit, stop: Stop | None
) -> tuple[Range, ...]:
    query, column = request.export.query, request.export.split_by
    if column is not None:
        emit(Splitting(column=column))
        splits = request.export.splits or DEFAULT_SPLITS
        return plan_ranges(source, stripped(query), column, splits, stop=stop)
    rows = None
    if request.count:
        emit(Counting())
        counted = ask(source, source.dialect.rows_of(query, "COUNT(*)"), stop)
        rows = int(counted.column(0)[0].as_py())
    return (Range(number=1, count=1, rows=rows),)


def _jobs(ranges: tuple[Range, ...], destination: str) -> Iterator[Job]:
    width = max(4, len(str(len(ranges))))
    for each in ranges:
        is_only = len(ranges) == 1
        yield Job(
            name="rows" if is_only else f"rows-{each.number:0{width}d}",
            destination=destination,
            requires=(EXPORT,),
            export=ExportShare(
                kind="rows",
                number=each.number,
                count=each.count,
                lower=None if each.lower is None else encode_value(each.lower),
                upper=None if each.upper is None else encode_value(each.upper),
                has_nulls=each.has_nulls,
                rows=each.rows,
            ),
        )
    yield Job(
        name=MANIFEST_JOB,
        destination=destination,
        requires=(EXPORT,),
        export=ExportShare(kind="manifest"),
    )


def _write(path: str, settings: Settings, jobs: list[Job]) -> None:
    parent, name = os.path.split(path)
    hidden = os.path.join(parent, f".{name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        os.makedirs(parent, exist_ok=True)
        joblist = JobList.create(hidden, settings)
        for job in jobs:
            joblist.add(job, b"")
        joblist.flush()
        os.rename(hidden, path)  # over an empty folder, too
    except OSError as error:
        raise JoblistError(f"can't make the joblist {quote(path)}: {reason_of(error)}") from None
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def staging_url(place: str) -> str:
    """Return a staging place as joblist.toml has it: an absolute path, or a URL."""
    return os.path.abspath(os.path.expanduser(place)) if is_local(place) else place
