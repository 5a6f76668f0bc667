"""``jobtool export``: a query becomes a joblist whose jobs export its rows."""

from __future__ import annotations

import getpass
import sys

import click

from jobtool.cli.console import DONE, Console
from jobtool.cli.generate import assignments_of
from jobtool.cli.options import comma_separated, command, dry_run_option, output_options
from jobtool.cli.stopsignals import stop_signals, stopping
from jobtool.errors import UsageError
from jobtool.names import quote


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
@click.option("--query", required=True, metavar="SQL|@FILE", help="The query, or a file with it.")
@click.option(
    "-d", "--destination", required=True, metavar="URL", help="The folder for the chunks."
)
@click.option("-o", "--output-path", required=True, metavar="JOBLIST", help="The joblist to make.")
@click.option(
    "--chunk-size", type=click.IntRange(min=1), metavar="ROWS", help="Rows of a file. [1,000,000]"
)
@click.option(
    "--chunk-bytes",
    type=click.IntRange(min=1024 * 1024),
    metavar="N",
    help="In place of --chunk-size: close a file once it has N bytes.",
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
    "--output-format", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True
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
    "--staged-chunks", type=click.IntRange(1, 10_000), metavar="N", help="Files waiting. [3]"
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
    values, tables = assignments_of(given)
    if values:
        raise UsageError(f"--set {min(values)}: expected SCHEME.KEY or credentials.KEY")
    credentials = tables.pop("credentials", {})
    stop = Stop()
    with stopping(stop, stop_signals()):
        export_query(
            connection,
            text_of_query(query),
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
            password=asked_password(connection),
            stores=tables,
            credentials=credentials,
            transfer={} if methods is None else {"methods": methods},
            dry_run=dry_run,
            stop=stop,
            on_event=console.emit,
        )
    if not dry_run:
        console.note(f"Run: transfer-worker -i {quote(output_path)}", DONE)
    return 0


def text_of_query(given: str) -> str:
    """Return a query, from its file if the option is ``@FILE``; raise ``UsageError``."""
    from jobtool.jobs.safe_read import UnfitFileError, read_bounded
    from jobtool.jobs.settings import MAX_BYTES

    if not given.startswith("@"):
        return given
    path = given[1:]
    try:
        return read_bounded(path, MAX_BYTES // 2).decode()
    except (OSError, UnfitFileError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"--query: can't read {quote(path)}: {reason}") from None


def asked_password(connection: str) -> str | None:
    """Ask for a password if the database needs one, none is set, and somebody is there to ask."""
    import os

    from jobtool.queries.plugins import PASSWORD_VARIABLE, type_of
    from jobtool.queries.url import ConnectionUrl

    url = ConnectionUrl.parse(connection)
    if os.environ.get(PASSWORD_VARIABLE) or not sys.stdin.isatty():
        return None
    if not type_of(url).needs_password(url):
        return None
    return getpass.getpass(f"Password of {url.user or 'the user'} at {url.host or url.scheme}: ")
