"""``jobtool``: every command under one name. A command's module is imported when it is used."""

from __future__ import annotations

from importlib import import_module

import click

from jobtool.cli.options import OneLineErrors
from jobtool.cli.utf8 import ensure_utf8
from jobtool.cli.version import version_option
from jobtool.cli.wrongusage import unknown_command

#: The commands in the order of the help, each with its line there: of 64 characters at most, so
#: that it is whole on a terminal of 80 columns.
SECTIONS = {
    "Make a joblist": {
        "generate": "Turn a results folder into a joblist, or look at it again.",
        "export": "Turn a query of a database into a joblist.",
        "receive": "Make the joblist of packages that have arrived.",
        "excluded": "List what filters leave out.",
        "doctor": "Check that transfers will work from here.",
        "methods": "Show which methods would move a job's files.",
    },
    "Transfer": {
        "transfer": "Work on a joblist: transfer its jobs and prove each file.",
        "sbatch": "Print a script for Slurm or PBS that works until all is done.",
        "pause": "Have workers wait.",
        "resume": "End a pause.",
        "stop": "Have running workers, or some jobs, end.",
        "set": "Change options while workers run, such as bandwidth.",
        "retry": "Put jobs back to todo.",
    },
    "Watch": {
        "summarise": "Say how far it is, what is wrong and what to do.",
        "top": "Watch live, and steer by keys.",
        "show": "Say all that is known of one job.",
        "report": "Write a page about a joblist, to be sent to other people.",
        "notify": "Tell people what is due: done, failed, stalled.",
    },
    "Prove and tidy up": {
        "verify": "Compare the destination with the receipts.",
        "receipts": "Write all receipts to one file, also for md5sum -c.",
        "release": "Free the source of what has been moved and proven.",
        "clean": "Remove what killed workers left unfinished.",
    },
    "Packages": {
        "ls": "List the members of a package.",
        "cat": "Print members of a package.",
        "get": "Unpack members of a package.",
        "refs": "Write a file by which zarr reads a package in place.",
    },
    "Sites": {
        "routes": "Show which way data goes from one site to another.",
        "where": "Say where the copies of items are.",
        "copies": "Count the copies of items.",
        "catalog": "Keep the catalog of what lies where.",
        "stage": "Bring items from the archive for a time.",
        "unstage": "Free the space of staged items.",
    },
    "This program": {
        "completion": "Have the shell complete commands and options.",
        "man": "Print or install manual pages.",
    },
}

#: The commands by name, and the modules whose ``cli`` they are.
COMMANDS = {name: f"jobtool.cli.{name}" for section in SECTIONS.values() for name in section}


#: Other names that people use for the commands.
_SYNONYMS = {
    "abort": "stop",
    "cancel": "stop",
    "catalogue": "catalog",
    "check": "verify",
    "compact": "catalog",
    "config": "set",
    "configure": "set",
    "continue": "resume",
    "describe": "show",
    "diagnose": "doctor",
    "dump": "export",
    "engines": "methods",
    "filtered": "excluded",
    "filters": "excluded",
    "left-out": "excluded",
    "skipped": "excluded",
    "generate-joblist": "generate",
    "hold": "pause",
    "html": "report",
    "info": "show",
    "extract": "get",
    "fetch": "get",
    "free": "release",
    "init": "generate",
    "kill": "stop",
    "kerchunk": "refs",
    "list": "ls",
    "alert": "notify",
    "mail": "notify",
    "locate": "where",
    "pbs": "sbatch",
    "qsub": "sbatch",
    "query": "export",
    "route": "routes",
    "recall": "stage",
    "references": "refs",
    "replicas": "copies",
    "restore": "stage",
    "run": "transfer",
    "script": "sbatch",
    "sites": "routes",
    "status": "summarise",
    "summarise-jobs": "summarise",
    "summarize": "summarise",
    "summary": "summarise",
    "monitor": "top",
    "suspend": "pause",
    "sync": "transfer",
    "transfer-jobs": "transfer",
    "transfer-worker": "transfer",
    "unpack": "get",
    "unpause": "resume",
    "untar": "get",
    "upload": "transfer",
    "watch": "top",
    "work": "transfer",
    "worker": "transfer",
}


class _Lazy(OneLineErrors, click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[name]).cli
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections. No command is imported for that."""
        width = max(map(len, COMMANDS))
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), line) for name, line in section.items()])

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        is_option = name.startswith("-")
        if name not in COMMANDS and not is_option and not context.resilient_parsing:
            raise unknown_command(name, COMMANDS, context, synonyms=_SYNONYMS)
        return super().resolve_command(context, args)


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExample:\n  jobtool generate -i results -o joblist -d s3://bucket/prefix\n"
    "  mpirun -n 4 jobtool transfer -i joblist\n  jobtool summarise -i joblist",
)
@version_option
def cli() -> None:
    """Move large data sets off a cluster, and prove that every file arrived.

    A folder of small text files, the joblist, is the whole state of a transfer.
    """


def main() -> None:
    """Run the command."""
    ensure_utf8()
    cli(prog_name="jobtool")
