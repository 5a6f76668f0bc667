"""``export_query``: a query becomes a joblist whose jobs export its rows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from jobtool import typed
from jobtool.api.generate import with_absolute_paths
from jobtool.api.places import Place, destination_url, local_path
from jobtool.errors import UsageError
from jobtool.events import Emit, ignore, unfailing

if TYPE_CHECKING:
    from jobtool.export.events import ExportGenerated
    from jobtool.stop import Stop


def export_query(
    connection: str,
    query: str,
    output: Place,
    *,
    destination: Place,
    output_format: str = "parquet",
    chunk_rows: int | None = None,
    chunk_bytes: int | None = None,
    split_by: str | None = None,
    splits: int | None = None,
    order_by: Sequence[str] = (),
    count: bool = False,
    compression: str | None = None,
    fetch_rows: int | None = None,
    staging: Place | None = None,
    staged_chunks: int | None = None,
    existing_data: Literal["error", "ignore"] = "error",
    password: str | None = None,
    s3: Mapping[str, Any] | None = None,
    stores: Mapping[str, Mapping[str, Any]] | None = None,
    credentials: Mapping[str, Any] | None = None,
    transfer: Mapping[str, Any] | None = None,
    methods: Mapping[str, Mapping[str, Any]] | None = None,
    ssh: Mapping[str, Any] | None = None,
    hadoop: Mapping[str, Any] | None = None,
    dry_run: bool = False,
    stop: Stop | None = None,
    on_event: Emit = ignore,
) -> ExportGenerated:
    """Turn a query into a joblist. ``transfer_jobs`` then exports its rows.

    The database is asked for the query's columns and, with ``split_by``, for the bounds of ranges.
    A joblist that the same call has made before stays as it is.

    Args:
        connection: The URL of the database as SQLAlchemy has it, without a password:
            ``duckdb://``, ``impala://HOST:21050/DATABASE``, ``postgresql://USER@HOST/DATABASE``.
        query: The SQL.
        output: The folder for the job files. It is made.
        destination: The folder for the chunks: a path or URL.
        output_format: ``parquet`` or ``csv``.
        chunk_rows: The number of rows of a chunk, 1,000,000 by default.
        chunk_bytes: In its place, the size in bytes at which the file of a chunk is closed.
        split_by: A column whose ranges are exported as separate jobs, side by side.
        splits: The number of those ranges, 8 by default.
        order_by: Columns in whose order the rows are asked for, after ``split_by``.
        count: Count the rows of a query without ``split_by``, to know how much is left.
        compression: That of Parquet: ``zstd`` (the default), ``snappy``, ``gzip`` or ``none``.
        fetch_rows: How many rows are fetched at a time, 16,384 by default.
        staging: The folder or URL in which chunks wait, by default in the joblist.
        staged_chunks: How many chunks of a job wait at most, 3 by default.
        existing_data: What it means if the destination has data files already, which readers would
            mix with the rows: an ``error``, or ``ignore`` them. Files with the names of the
            export's own are then overwritten.
        password: That of the database's user, for this call. It is written nowhere: workers take
            it from the environment variable ``JOBTOOL_QUERY_PASSWORD``, as this call does by
            default.
        s3: Keys of the table ``[s3]`` of joblist.toml.
        stores: Keys of the tables of other stores, by scheme.
        credentials: Keys of the table ``[credentials]``.
        transfer: Keys of the table ``[transfer]``, such as ``methods``.
        methods: Tables of methods, by name.
        ssh: Keys of the table ``[ssh]``.
        hadoop: Keys of the table ``[hadoop]``.
        dry_run: Ask the database, and write nothing.
        stop: Ends the call early, by ``StoppedError``.
        on_event: Called with each event. An exception from it stops nothing.

    Returns:
        The numbers of jobs that were ``created`` or are ``existing``, and of ``rows`` if they were
        counted.

    Raises:
        UsageError: An argument is invalid, a column's type can't be written, or the destination
            holds other data.
        JoblistError: The output isn't empty, or is another joblist.
        QueryRefusedError: The database refuses the query.
        InfrastructureError: The database can't be used, for example for lack of credentials.

    Examples:
        >>> jobtool.export_query(
        ...     "duckdb://", "SELECT range AS id FROM range(10)", "export", destination="rows"
        ... ).created
        2
    """
    import msgspec

    from jobtool.export.generate import ExportRequest, generate_export, staging_url
    from jobtool.jobs.exportsettings import DEFAULT_SPLITS, ExportSettings
    from jobtool.queries.plugins import open_source
    from jobtool.queries.url import ConnectionUrl
    from jobtool.suggest import misfit

    if existing_data not in ("error", "ignore"):
        raise UsageError(f"existing_data: expected 'error' or 'ignore'; found {existing_data!r}")
    url = ConnectionUrl.parse(connection)
    table = {
        "connection": connection,
        "query": query,
        "output_format": output_format,
        "chunk_rows": chunk_rows,
        "chunk_bytes": chunk_bytes,
        "split_by": split_by,
        "splits": DEFAULT_SPLITS if splits is None and split_by is not None else splits,
        "order_by": tuple(order_by),
        "fetch_rows": fetch_rows,
        "staging": None if staging is None else staging_url(os.fspath(staging)),
        "staged_chunks": staged_chunks,
        "compression": compression,
        "existing_data": "ignore" if existing_data == "ignore" else None,
    }
    try:
        settings = typed.convert(table, ExportSettings)
    except msgspec.ValidationError as error:
        raise UsageError(misfit(error, ExportSettings, where="export")) from None
    tables = {
        "s3": with_absolute_paths(s3 or {}),
        "stores": with_absolute_paths(stores or {}),
        "credentials": with_absolute_paths(credentials or {}),
        "methods": dict(methods or {}),
        "ssh": with_absolute_paths(ssh or {}),
        "hadoop": dict(hadoop or {}),
    }
    request = ExportRequest(
        joblist_path=local_path(output),
        destination=destination_url(destination),
        export=settings,
        count=count,
        tables=tables,
        transfer=transfer or {},
        dry_run=dry_run,
    )
    return generate_export(
        request, lambda: open_source(url, password), unfailing(on_event), stop=stop
    )
