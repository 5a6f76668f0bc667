"""The options of ``impala-transfer``."""

from __future__ import annotations

from typing import Any

import click

from jobtool.cli.generate import assignments_of
from jobtool.cli.impala_transfer.connection import connection_url
from jobtool.cli.impala_transfer.targets import Given, way_of
from jobtool.cli.impala_transfer.variables import is_given, is_on_command_line, option
from jobtool.cli.impala_transfer.working import Request, transfer_rows
from jobtool.cli.options import comma_separated, command, dry_run_option, output_options
from jobtool.cli.querying import existing_data_option
from jobtool.cli.utf8 import ensure_utf8
from jobtool.errors import UsageError

#: Options that say where files go; which of them counts depends on where it was given.
_OF_PLACES = (
    "source_hdfs_path",
    "target_cluster",
    "target_hdfs_path",
    "scp_target",
    "target_path",
)

#: Options that are parts of the database's URL.
_OF_THE_SOURCE = (
    "source_host",
    "source_port",
    "source_database",
    "user",
    "auth_mechanism",
    "use_ssl",
    "ca_cert",
    "kerberos_service_name",
)


@command(
    name="impala-transfer",
    example="impala-transfer --source-host cluster1.example.com --query @day.sql \\\n"
    "    --source-hdfs-path /data/source --target-cluster cluster2.example.com \\\n"
    "    --target-hdfs-path /data/target --target-table day",
)
@option("--source-host", variable="SOURCE_HOST", metavar="HOST", help="The host of Impala.")
@option(
    "--source-port",
    variable="SOURCE_PORT",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Its port for HiveServer2's protocol. [21050]",
)
@option(
    "--source-database", variable="SOURCE_DATABASE", metavar="NAME", help="The database of tables."
)
@option("--user", variable="SOURCE_USER", metavar="NAME", help="Who logs in there. The password "
    "is taken from JOBTOOL_QUERY_PASSWORD, or asked for.")  # fmt: skip
@option(
    "--auth-mechanism",
    variable="SOURCE_AUTH_MECHANISM",
    type=click.Choice(["NOSASL", "PLAIN", "LDAP", "GSSAPI", "JWT"], case_sensitive=False),
    help="How: GSSAPI is Kerberos. [NOSASL]",
)
@option(
    "--kerberos-service-name",
    variable="SOURCE_KERBEROS_SERVICE_NAME",
    metavar="NAME",
    help="The server's name in Kerberos. [impala]",
)
@option(
    "--use-ssl/--no-ssl", "use_ssl", variable="SOURCE_USE_SSL", default=None, help="Use TLS. [no]"
)
@option(
    "--ca-cert",
    variable="SOURCE_CA_CERT",
    type=click.Path(),
    metavar="FILE",
    help="The certificates to trust.",
)
@option(
    "--connection",
    variable="SOURCE_CONNECTION",
    metavar="URL",
    help="In place of the options above: any database that jobtool export knows, such as "
    "hive2://HOST:10000/DATABASE or duckdb:///FILE.",
)
@option(
    "--query",
    variable="QUERY",
    metavar="SQL|@FILE|-",
    help="The query, a file with it, or - for standard input. Needed.",
)
@option(
    "--chunk-size",
    variable="CHUNK_SIZE",
    type=click.IntRange(min=1),
    metavar="ROWS",
    help="Rows of a file. [1,000,000]",
)
@option(
    "--max-workers",
    variable="MAX_WORKERS",
    type=click.IntRange(1, 256),
    default=4,
    metavar="N",
    help="With --split-by: how many processes export ranges at a time. Without: how many files are "
    "sent at a time. [4]",
)
@option(
    "--output-format",
    variable="OUTPUT_FORMAT",
    type=click.Choice(["parquet", "csv"], case_sensitive=False),
    default="parquet",
    help="What the files are. [parquet]",
)
@option(
    "--split-by",
    variable="SPLIT_BY",
    metavar="COLUMN",
    help="Export ranges of this column side by side, by as many queries.",
)
@option(
    "--splits",
    variable="SPLITS",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="The number of ranges. [8]",
)
@click.option(
    "--order-by",
    metavar="COLUMNS",
    callback=comma_separated,
    help="Ask for the rows in the order of these columns, after --split-by.",
)
@click.option("--count", is_flag=True, help="Count the rows first, to know how much is left.")
@option(
    "--use-distcp/--no-distcp",
    variable="USE_DISTCP",
    default=None,
    help="Copy files between clusters by hadoop distcp. [by default where there are hadoop, "
    "--source-hdfs-path and a target in HDFS]",
)
@option(
    "--source-hdfs-path",
    variable="SOURCE_HDFS_PATH",
    metavar="PATH|URL",
    help="A folder of HDFS where files wait for distcp. A path is in the cluster of Hadoop's "
    "configuration.",
)
@option(
    "--target-cluster",
    variable="TARGET_CLUSTER",
    metavar="HOST[:PORT]",
    help="The target's cluster, or the name of a nameservice. [that of Hadoop's configuration; "
    "port 8020]",
)
@option(
    "--target-hdfs-path",
    variable="TARGET_HDFS_PATH",
    metavar="PATH|URL",
    help="The target: a folder in that cluster.",
)
@option(
    "--scp-target",
    variable="SCP_TARGET",
    metavar="[USER@]HOST:/PATH",
    help="In place of HDFS, the target is a folder of an SSH server.",
)
@option(
    "--target-path",
    variable="TARGET_PATH",
    metavar="PATH|URL",
    help="In place of HDFS, the target is a local folder or a URL such as s3://bucket/prefix.",
)
@option(
    "--target-table",
    variable="TARGET_TABLE",
    metavar="NAME",
    help="The files go to the folder of this name in the target. [into the target itself]",
)
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="KEY=VALUE",
    help="SCHEME.KEY or credentials.KEY for the joblist's table of that name, such as "
    "s3.endpoint_url or sftp.identity_file. Repeatable.",
)
@existing_data_option
@click.option(
    "--joblist",
    type=click.Path(),
    metavar="FOLDER",
    help="Where the state is kept. [a folder for these options in "
    "~/.local/state/jobtool/impala_transfer]",
)
@click.option("--fresh", is_flag=True, help="Export all rows again, also if they have arrived.")
@click.option(
    "--make-only", is_flag=True, help="Make the joblist, for transfer-worker on other nodes."
)
@dry_run_option
@output_options
def cli(
    *,
    connection: str | None,
    query: str | None,
    use_distcp: bool | None,
    target_table: str | None,
    order_by: tuple[str, ...] | None,
    given: tuple[str, ...],
    **options: Any,
) -> int:
    """Transfer the rows of a query from Impala into another cluster, as files.

    A query becomes a joblist, whose chunks are made and arrive in order, each proven. The same
    command again goes on where it was stopped or killed. Options win over environment variables.
    """
    if query is None:
        raise UsageError("expected the query: --query (or the variable QUERY); found none")
    on_command_line = frozenset(filter(is_on_command_line, (*_OF_PLACES, "use_distcp")))
    places = {name: options[name] for name in _OF_PLACES if options[name] is not None}
    way = way_of(
        Given(values=places, on_command_line=on_command_line),
        table=target_table,
        use_distcp=use_distcp,
    )
    source = connection_url(
        connection,
        host=options["source_host"],
        port=options["source_port"],
        database=options["source_database"],
        user=options["user"],
        options={
            name: options[name]
            for name in ("auth_mechanism", "kerberos_service_name", "use_ssl", "ca_cert")
        },
        is_url_preferred=is_on_command_line("connection")
        and not any(map(is_on_command_line, _OF_THE_SOURCE)),
    )
    values, tables = assignments_of(given)
    if values:
        raise UsageError(f"--set {min(values)}: expected SCHEME.KEY or credentials.KEY")
    return transfer_rows(
        Request(
            connection=source,
            query=query,
            way=way,
            table=target_table,
            order_by=order_by or (),
            use_distcp=use_distcp if is_given("use_distcp") else None,
            credentials=tables.pop("credentials", {}),
            tables=tables,
            **{name: options[name] for name in Request.__struct_fields__ if name in options},
        )
    )


def main() -> None:
    """Run the command."""
    ensure_utf8()
    cli()
