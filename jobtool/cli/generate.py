"""``generate-joblist``: a results folder becomes a joblist."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from jobtool.cli.againoptions import again_options, look_again_at
from jobtool.cli.bundleoptions import bundle_options, refuse_for_packages, require_none
from jobtool.cli.console import DONE, WARNING, Console
from jobtool.cli.filteroptions import filter_options, refuse_lists
from jobtool.cli.options import (
    assignments,
    command,
    dry_run_option,
    input_options,
    output_options,
    trust_option,
)
from jobtool.cli.terminal import is_terminal
from jobtool.cli.utf8 import ensure_utf8
from jobtool.errors import UsageError
from jobtool.jobs.settingsecrets import FILESYSTEM_TABLES, refuse_secrets
from jobtool.layouts.lists.listed import ListFormat
from jobtool.names import quote, shell_word
from jobtool.plugins import is_scheme

if TYPE_CHECKING:
    from jobtool.api.update import Again


@command(
    name="generate-joblist",
    example="generate-joblist -i results -o source08 -d s3://bucket/prefix",
)
@input_options(
    name="input_path",
    metavar="SOURCE",
    help_text="The results: a folder or URL; for the layout 'manifest' a CSV or Parquet file.",
)
@click.option(
    "-o",
    "--output-path",
    required=True,
    metavar="JOBLIST",
    help="The folder for the job files. Existing job files are left as they are.",
)
@click.option(
    "-d",
    "--destination",
    metavar="URL",
    help="Where the data goes: a path or s3://bucket/prefix. Needed once; kept in joblist.toml.",
)
@click.option(
    "-l",
    "--layout",
    metavar="NAME|FILE.toml",
    help="plates, partitions, tree, manifest, packages, auto (look and pick; the default), or a "
    "file.",
)
@click.option(
    "--steps",
    metavar="NAMES",
    help="The steps of each job in order, such as 'check,copy,note'. Needed once; kept in "
    "joblist.toml. The default is 'copy'; installed packages add others.",
)
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="KEY=VALUE",
    help="A value for the layout's templates, or SCHEME.KEY, credentials.KEY, source_fs.KEY or "
    "target_fs.KEY for the joblist's table of that name, such as s3.endpoint_url. Repeatable.",
)
@filter_options
@again_options
@bundle_options
@trust_option
@dry_run_option
@output_options
def cli(
    *,
    input_path: str,
    output_path: str,
    destination: str | None,
    layout: str | None,
    steps: str | None,
    given: tuple[str, ...],
    filters: dict[str, Any] | None,
    files_from: list[str | BinaryIO],
    list_format: ListFormat,
    again: Again | None,
    bundling: dict[str, Any],
    trust: bool,
    dry_run: bool,
    verbosity: int,
    as_json: bool,
) -> int:
    """Turn a results folder into a joblist: one small text file per plate or partition.

    Running it again adds new jobs and never touches an existing job file; with --update it also
    puts jobs back whose source has changed. With the layout 'packages', items are bundled into
    tars, and each step of a package is a job.
    """
    from jobtool.api.bundle import generate_packages
    from jobtool.api.generate import generate_joblist, located_source, settings_at
    from jobtool.api.places import local_path
    from jobtool.jobs.steps import decode_words
    from jobtool.layouts.layout import AUTO, MANIFEST, PACKAGES, load_layout
    from jobtool.transfer.stores_of import sides_by

    console = Console(verbosity=verbosity, as_json=as_json)
    values, tables = assignments_of(given)
    credentials = tables.pop("credentials", {})
    source_fs, target_fs = (tables.pop(name, None) for name in FILESYSTEM_TABLES)
    before = settings_at(output_path, trust=trust)
    side = sides_by(before, {"source": source_fs}).get("source")
    source = located_source(input_path, side, before, layout or AUTO)
    console.note(f"Valid input path: {quote(source)}")
    is_bundled = layout == PACKAGES or (layout in (None, AUTO) and before.packages is not None)
    if is_bundled:
        refuse_for_packages(values=values, has_steps=steps is not None)
        refuse_lists(files_from)
        if again is not None:
            raise UsageError(
                "--update: expected a layout that copies a source; found packages. Leave it out: "
                "generating packages again finds what is new."
            )
    else:
        require_none(bundling)
    if layout not in (None, AUTO, MANIFEST, PACKAGES):
        load_layout(layout)  # reports an error in it before anything is made
    joblist_path = local_path(output_path)
    if not os.path.exists(joblist_path):
        console.note(f"The output path '{quote(joblist_path)}' does not exist.", WARNING)
        if not dry_run:
            console.note(f"Creating output path: {quote(joblist_path)}")
    console.note(f"Valid output path: {quote(joblist_path)}")
    console.note(f"Dry run: {'enabled' if dry_run else 'disabled'}")
    console.note(f"Verbosity level: {verbosity}")
    common: dict[str, Any] = {
        "destination": destination,
        "stores": tables,
        "credentials": credentials,
        "source_fs": source_fs,
        "target_fs": target_fs,
        "trust": trust,
        "dry_run": dry_run,
        "on_event": console.emit,
    }
    if is_bundled:
        exit_code = generate_packages(
            source, joblist_path, filters=filters, **bundling, **common
        ).exit_code
    else:
        generated = generate_joblist(
            source,
            joblist_path,
            layout=layout or AUTO,
            steps=() if steps is None else decode_words(steps),
            values=values,
            filters=filters,
            files_from=files_from,
            list_format=list_format,
            **common,
        )
        exit_code = generated.exit_code
        if again is not None and os.path.isdir(joblist_path):
            found = look_again_at(
                joblist_path,
                generated,
                again,
                console,
                source_fs=source_fs,
                target_fs=target_fs,
                trust=trust,
                dry_run=dry_run,
            )
            exit_code = max(exit_code, found)
    if dry_run and not is_bundled:
        console.note("For sizes, room and time: make the joblist, then transfer-worker --dry-run.")
    console.note("Processing complete.", DONE)
    if not dry_run and is_terminal(sys.stdout):  # elsewhere nobody types the next command
        named = shell_word(joblist_path)
        console.note(f"Will it work from here? jobtool doctor {named}")
        console.note(f"To transfer: transfer-worker {named}")
    return exit_code


def assignments_of(texts: tuple[str, ...]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the values for the templates, and the tables by their names."""
    of_tables = tuple(text for text in texts if _is_of_a_table(text))
    tables = assignments(of_tables, option="--set")
    # Before anything calls such a key unknown.
    refuse_secrets({k: v for k, v in tables.items() if k not in FILESYSTEM_TABLES}, path="--set")
    values: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {text}: expected KEY=VALUE; found {text!r}")
        if text not in of_tables:
            values[key] = value
    return values, tables


def _is_of_a_table(text: str) -> bool:
    """Return True if a key begins with a table's name: that of a scheme, or another."""
    table, dot, _ = text.partition("=")[0].partition(".")
    return bool(dot) and (table in ("credentials", *FILESYSTEM_TABLES) or is_scheme(table))


def main() -> None:
    """Run the command."""
    ensure_utf8()
    cli()
