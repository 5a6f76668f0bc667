"""``jobtool export``: a query becomes a joblist whose jobs export its rows."""

from __future__ import annotations

from typing import Literal

import click

from jobtool.cli.console import DONE, Console
from jobtool.cli.generate import assignments_of
from jobtool.cli.options import comma_separated, command, dry_run_option, output_options
from jobtool.cli.querying import asked_password, existing_data_option, text_of_query, until_stopped
from jobtool.errors import UsageError
from jobtool.jobs.exportsettings import LEAST_CHUNK_BYTES
from jobtool.names import quote
from jobtool.units import parse_size


def _as_bytes(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    try:
        size = parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if size < LEAST_CHUNK_BYTES:
        raise click.BadParameter(f"expected at least 1MiB; found {value!r}")
    return size


@command(
    name="jobtool export",
    example="jobtool export --connection duckdb:// --query \"SELECT * FROM 'in/*.parquet'\" "
    "-d s3://bucket/prefix -o rows08",
)
@click.option(
    "--connection",
    required=True,
    metavar="URL",
    help="The database: duckdb:///FILE, impala://HOST:21050/DATABASE, hive2://…, "
    "postgresql://USER@HOST/DATABASE, and what SQLAlchemy knows. Its password is taken from "
    "JOBTOOL_QUERY_PASSWORD, or asked for.",
)
@click.option(
    "--query",
    required=True,
    metavar="SQL|@FILE|-",
    help="The query, a file with it, or - for standard input.",
)
@click.option(
    "-d", "--destination", required=True, metavar="URL", help="The folder for the chunks."
)
@click.option("-o", "--output-path", required=True, metavar="JOBLIST", help="The joblist to make.")
@click.option(
    "--chunk-size", type=click.IntRange(min=1), metavar="ROWS", help="Rows of a file. [1,000,000]"
)
@click.option(
    "--chunk-bytes",
    callback=_as_bytes,
    metavar="SIZE",
    help="In place of --chunk-size: close a file once it has this size, such as 256MiB.",
)
@click.option(
    "--split-by",
    metavar="COLUMN",
    help="Export ranges of this column as separate jobs, side by side, in its order.",
)
@click.option(
    "--splits", type=click.IntRange(1, 10_000), metavar="N", help="The number of ranges. [8]"
)
@click.option(
    "--order-by",
    metavar="COLUMNS",
    callback=comma_separated,
    help="Ask for the rows in the order of these columns, after --split-by.",
)
@click.option(
    "--output-format",
    type=click.Choice(["parquet", "csv"]),
    default="parquet",
    show_default=True,
    help="The format of the files.",
)
@click.option(
    "--compression",
    type=click.Choice(["zstd", "snappy", "gzip", "none"]),
    help="Compression of Parquet. [zstd]",
)
@click.option("--count", is_flag=True, help="Count the rows first, to know how much is left.")
@click.option(
    "--staging",
    metavar="URL",
    help="Where files wait for their transfer: a folder, or a URL such as hdfs://…, from which "
    "methods such as distcp take them. [in the joblist]",
)
@click.option(
    "--staged-chunks",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="How many files of a job wait at most. [3]",
)
@click.option(
    "--fetch-rows",
    type=click.IntRange(1, 10_000_000),
    metavar="N",
    help="Rows fetched at a time. [16384]",
)
@click.option(
    "--methods",
    metavar="NAMES",
    callback=comma_separated,
    help="The methods that move the files, in order, such as distcp,stream. [stream]",
)
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="KEY=VALUE",
    help="SCHEME.KEY or credentials.KEY for the joblist's table of that name, such as "
    "s3.endpoint_url. Repeatable.",
)
@existing_data_option
@dry_run_option
@output_options
def cli(
    *,
    connection: str,
    query: str,
    destination: str,
    output_path: str,
    chunk_size: int | None,
    chunk_bytes: int | None,
    split_by: str | None,
    splits: int | None,
    order_by: tuple[str, ...] | None,
    output_format: str,
    compression: str | None,
    count: bool,
    staging: str | None,
    staged_chunks: int | None,
    fetch_rows: int | None,
    methods: tuple[str, ...] | None,
    given: tuple[str, ...],
    existing_data: Literal["error", "ignore"],
    dry_run: bool,
    verbosity: int,
    as_json: bool,
) -> int:
    """Turn a query into a joblist. Workers then export its rows, file by file.

    The rows of each job are cut into files in their order, and each file arrives proven. A manifest
    and _SUCCESS are written last. The same command again leaves the joblist as it is.
    """
    from jobtool.api.export import export_query
    from jobtool.stop import Stop

    console = Console(verbosity=verbosity, as_json=as_json)
    if chunk_size is not None and chunk_bytes is not None:
        raise UsageError("expected --chunk-size or --chunk-bytes; found both. Leave one out.")
    values, tables = assignments_of(given)
    if values:
        raise UsageError(f"--set {min(values)}: expected SCHEME.KEY or credentials.KEY")
    credentials = tables.pop("credentials", {})
    text = text_of_query(query)
    password = asked_password(connection)
    stop = Stop()

    def make() -> None:
        export_query(
            connection,
            text,
            output_path,
            destination=destination,
            output_format=output_format,
            chunk_rows=chunk_size,
            chunk_bytes=chunk_bytes,
            split_by=split_by,
            splits=splits,
            order_by=order_by or (),
            count=count,
            compression=compression,
            fetch_rows=fetch_rows,
            staging=staging,
            staged_chunks=staged_chunks,
            existing_data=existing_data,
            password=password,
            stores=tables,
            credentials=credentials,
            transfer={} if methods is None else {"methods": methods},
            dry_run=dry_run,
            stop=stop,
            on_event=console.emit,
        )

    until_stopped(make, stop)
    if not dry_run:
        console.note(f"Run: transfer-worker -i {quote(output_path)}", DONE)
    return 0
