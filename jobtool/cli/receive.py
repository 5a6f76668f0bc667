"""``jobtool receive``: packages that have arrived become a joblist."""

from __future__ import annotations

import click

from jobtool.cli.console import DONE, Console
from jobtool.cli.generate import assignments_of
from jobtool.cli.options import (
    comma_separated,
    command,
    dry_run_option,
    output_options,
    trust_option,
)
from jobtool.cli.stopsignals import stop_signals, stopping
from jobtool.errors import UsageError
from jobtool.names import quote


@command(
    name="jobtool receive",
    example="jobtool receive s3://bucket/buffer -o arrived --sites sites.toml --site cologne "
    "--then unpack,verify,archive",
)
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
@click.option(
    "-o",
    "--output-path",
    required=True,
    metavar="JOBLIST",
    help="The joblist to make, or to add to.",
)
@click.option("--sites", metavar="FILE", help="The file of sites and routes, a TOML file.")
@click.option("--site", metavar="NAME", help="The site at which the packages have arrived.")
@click.option(
    "--then",
    "steps",
    metavar="STEPS",
    callback=comma_separated,
    help="What is done here, of unpack,verify,archive. [unpack; nothing with --to]",
)
@click.option(
    "--unpack", metavar="URL", help="Where items are unpacked. [the site's location processing]"
)
@click.option(
    "--archive", metavar="URL", help="Where packages are archived. [the site's location archive]"
)
@click.option(
    "--to",
    multiple=True,
    metavar="SITE",
    help="A site that the packages are carried on to, by the routes. Repeatable.",
)
@click.option(
    "--release",
    metavar="WHAT",
    help="What is freed once all is done: nothing, or buffers, the packages at URL. [nothing]",
)
@click.option("--catalog", metavar="URL", help="The catalog that workers record copies in.")
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="KEY=VALUE",
    help="SCHEME.KEY or credentials.KEY for the joblist's table of that name, such as "
    "s3.endpoint_url. Repeatable.",
)
@dry_run_option
@trust_option
@output_options
def cli(
    *,
    urls: tuple[str, ...],
    output_path: str,
    sites: str | None,
    site: str | None,
    steps: tuple[str, ...] | None,
    unpack: str | None,
    archive: str | None,
    to: tuple[str, ...],
    release: str | None,
    catalog: str | None,
    given: tuple[str, ...],
    dry_run: bool,
    trust: bool,
    verbosity: int,
    as_json: bool,
) -> int:
    """Make the joblist of the packages that have arrived in a folder, or add the new ones to it.

    URL is the path or URL of a folder. A package counts once its manifest is there, and its tar and
    index have the sizes that the manifest says; others are reported and looked at again next time.
    The same command again adds what has arrived since. The exit code is 1 if a package is left out,
    such as for a manifest that can't be read.
    """
    from jobtool.api.receive import receive_packages
    from jobtool.stop import Stop

    console = Console(verbosity=verbosity, as_json=as_json)
    values, tables = assignments_of(given)
    if values:
        raise UsageError(f"--set {min(values)}: expected SCHEME.KEY or credentials.KEY")
    credentials = tables.pop("credentials", {})
    stop = Stop()
    with stopping(stop, stop_signals(), doing="finishing the package"):
        received = receive_packages(
            *urls,
            output=output_path,
            sites=sites,
            site=site,
            steps=steps,
            unpack=unpack,
            archive=archive,
            to=to,
            release=release,
            catalog=catalog,
            stores=tables,
            credentials=credentials,
            trust=trust,
            dry_run=dry_run,
            stop=stop,
            on_event=console.emit,
        )
    if received.jobs and not dry_run:
        at = "" if site is None else f" --site {site}"
        console.note(f"Run: transfer-worker -i {quote(output_path)}{at}", DONE)
    return received.exit_code
