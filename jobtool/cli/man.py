"""``jobtool man``: manual pages."""

from __future__ import annotations

import os
import shutil
import subprocess

import click

from jobtool.cli.console import DONE, Console
from jobtool.cli.installing import data_home, install
from jobtool.cli.options import command
from jobtool.cli.version import version_option
from jobtool.errors import UsageError
from jobtool.names import quote
from jobtool.suggest import closest


@command(name="jobtool man", example="jobtool man --install", is_output_result=True)
@click.argument("words", nargs=-1, metavar="[COMMAND]")
@click.option(
    "--install", "is_install", is_flag=True, help="Write all pages to ~/.local/share/man."
)
@click.option("--folder", metavar="FOLDER", help="Write all pages here instead, below man1.")
@version_option
def cli(*, words: tuple[str, ...], is_install: bool, folder: str | None) -> int:
    """Print the manual page of a command, or install those of all commands.

    The pages are made from the commands' help. Without --install or --folder one is printed, for
    instance to 'man -l -'.
    """
    from jobtool.cli.manpages import pages

    if words and (is_install or folder is not None):
        raise UsageError(f"expected no COMMAND to install all pages; found {' '.join(words)}.")
    made = pages()
    console = Console()
    if not is_install and folder is None:
        console.result(made[f"{_name_of(words, made)}.1"].rstrip("\n"))
        return 0
    root = os.path.abspath(os.path.expanduser(folder or f"{data_home()}/man"))
    install(f"{root}/man1", made)
    console.note(f"Wrote {len(made)} manual pages to {quote(root)}/man1", DONE)
    if _is_searched(root):
        console.note("Read them by: man jobtool, man transfer-worker, man jobtool-verify")
    else:
        console.note(
            "man looks there with this line in the file that your shell reads at its start: "
            f'export MANPATH="{quote(root)}:$MANPATH"'
        )
    return 0


def _name_of(words: tuple[str, ...], made: dict[str, str]) -> str:
    """Return the page that is meant: jobtool's own, or that of a command."""
    given = "-".join(words).replace("_", "-") or "jobtool"
    names = [name.removesuffix(".1") for name in made]
    for name in (given, f"jobtool-{given}"):
        if name in names:
            return name
    meant = closest(given, names) or closest(f"jobtool-{given}", names)
    hint = f" Did you mean {meant.removeprefix('jobtool-')!r}?" if meant else ""
    raise UsageError(f"there is no command {' '.join(words)!r}.{hint}")


def _is_searched(root: str) -> bool:
    """Return True if ``man`` looks for pages in the folder, or can't be asked."""
    if shutil.which("manpath") is None:
        return True
    try:
        done = subprocess.run(
            ["manpath", "-q"], check=False, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return True
    return os.path.realpath(root) in map(os.path.realpath, done.stdout.strip().split(":"))
