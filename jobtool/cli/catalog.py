"""``jobtool catalog``: keeping the catalog."""

from __future__ import annotations

import click

from jobtool.cli.catalogoptions import catalog_options
from jobtool.cli.console import DONE, Console
from jobtool.cli.lines import CompactedLine, RebuiltLine
from jobtool.cli.options import OneLineErrors, command, output_options
from jobtool.cli.version import version_option
from jobtool.cli.wrongusage import unknown_command
from jobtool.names import quote


class _Group(OneLineErrors, click.Group):
    """A group whose errors are lines, too."""

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not args[0].startswith("-"):
            raise unknown_command(args[0], self.commands, context)
        return super().resolve_command(context, args)


@click.group(
    name="jobtool catalog",
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExample:\n  jobtool catalog compact --catalog s3://bucket/catalog",
)
@version_option
def cli() -> None:
    """Keep the catalog: the records of what lies where."""


@command(
    name="jobtool catalog compact",
    example="jobtool catalog compact --catalog s3://bucket/catalog",
)
@catalog_options
@output_options
def compact(
    *,
    catalog: str | None,
    sites: str | None,
    stores: dict[str, dict[str, str]],
    verbosity: int,
    as_json: bool,
) -> int:
    """Replace the many files of a catalog by one, so that it is read faster.

    Workers may write meanwhile, and others read. The new file is read back before the old ones are
    removed. If the command is killed, run it again.
    """
    from jobtool.api.catalog import compact_catalog

    console = Console(verbosity=verbosity, as_json=as_json)
    done = compact_catalog(catalog, sites=sites, stores=stores)
    if as_json:
        line = CompactedLine(
            event="compacted",
            catalog=done.url,
            file=done.file,
            inputs=done.inputs,
            records=done.records,
        )
        console.print_json(line)
    elif done.file is None:
        console.note(f"{quote(done.url)} has fewer than two files: there is nothing to compact.")
    else:
        console.note(
            f"Replaced {done.inputs} file(s) of {quote(done.url)} by {quote(done.file)} with "
            f"{done.records} record(s).",
            DONE,
        )
    return 0


@command(
    name="jobtool catalog rebuild",
    example="jobtool catalog rebuild joblist --catalog /data/catalog",
)
@click.argument("joblists", nargs=-1, required=True, metavar="JOBLIST...")
@catalog_options
@output_options
def rebuild(
    *,
    joblists: tuple[str, ...],
    catalog: str | None,
    sites: str | None,
    stores: dict[str, dict[str, str]],
    verbosity: int,
    as_json: bool,
) -> int:
    """Make the catalog anew from the receipts of joblists with packages.

    Name all joblists whose packages the catalog is to know. Where there is a catalog with other
    records already, nothing is changed.
    """
    from jobtool.api.catalog import copies_of_joblists, rebuild_catalog

    console = Console(verbosity=verbosity, as_json=as_json)
    records = rebuild_catalog(copies_of_joblists(*joblists), catalog, sites=sites, stores=stores)
    if as_json:
        console.print_json(RebuiltLine(event="rebuilt", records=records))
    else:
        console.note(f"The catalog has {records} record(s).", DONE)
    return 0


cli.add_command(compact, "compact")
cli.add_command(rebuild, "rebuild")
