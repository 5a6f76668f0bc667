"""``jobtool set``: change options of a joblist while its workers run."""

from __future__ import annotations

import click

from jobtool.cli.choosing import choice_options
from jobtool.cli.console import Console
from jobtool.cli.options import command, dry_run_option, input_option, output_options
from jobtool.errors import UsageError


@command(name="jobtool set", example="jobtool set source08 bandwidth=200MB/s")
@click.argument("words", nargs=-1, metavar="[JOBLIST] [KEY=VALUE]...")
@input_option()
@choice_options
@dry_run_option
@output_options
def cli(
    *,
    words: tuple[str, ...],
    input_option: str | None,
    jobs: tuple[str, ...] | None,
    match: tuple[str, ...] | None,
    dry_run: bool,
    verbosity: int,
    as_json: bool,
) -> int:
    """Set options in [transfer] of joblist.toml; without any, print those that apply.

    Workers that are running take up bandwidth and max_requests_per_second within seconds. Other
    options are for workers that start later. KEY= alone goes back to the default. Comments in
    joblist.toml stay. With --job or --match, priority=N: workers take jobs of a higher priority
    first. The exit code is 1 if a job was left alone.
    """
    from jobtool.api.setoptions import set_options

    if input_option is None and not words:
        raise UsageError(
            "expected JOBLIST as the first argument or by -i/--input-path; found neither"
        )
    path, *settings = (input_option, *words) if input_option is not None else words
    console = Console(verbosity=verbosity, as_json=as_json)
    options = _options(settings)
    if (jobs or match) and not options:
        raise UsageError("expected priority=N with --job or --match; found no KEY=VALUE")
    found = set_options(
        path, options, jobs=jobs, match=match, dry_run=dry_run, on_event=console.emit
    )
    return found.exit_code


def _options(settings: list[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            raise UsageError(f"expected KEY=VALUE, such as bandwidth=200MB/s; found {text!r}")
        if key in options:
            raise UsageError(f"expected one value of {key}; found {options[key]!r} and {value!r}")
        options[key] = value.strip()
    return options
