"""``jobtool``: every command under one name. A command's module is imported when it is used."""

from __future__ import annotations

from importlib import import_module

import click

from jobtool.cli.options import OneLineErrors
from jobtool.cli.utf8 import ensure_utf8
from jobtool.cli.version import version_option
from jobtool.cli.wrongusage import unknown_command

#: The commands by name, and the modules whose ``cli`` they are.
COMMANDS = {
    "generate": "jobtool.cli.generate",
    "export": "jobtool.cli.export",
    "receive": "jobtool.cli.receive",
    "transfer": "jobtool.cli.transfer",
    "sbatch": "jobtool.cli.sbatch",
    "summarise": "jobtool.cli.summarise",
    "top": "jobtool.cli.top",
    "report": "jobtool.cli.report",
    "show": "jobtool.cli.show",
    "excluded": "jobtool.cli.excluded",
    "notify": "jobtool.cli.notify",
    "verify": "jobtool.cli.verify",
    "retry": "jobtool.cli.retry",
    "pause": "jobtool.cli.pause",
    "resume": "jobtool.cli.resume",
    "stop": "jobtool.cli.stop",
    "set": "jobtool.cli.set",
    "receipts": "jobtool.cli.receipts",
    "clean": "jobtool.cli.clean",
    "release": "jobtool.cli.release",
    "doctor": "jobtool.cli.doctor",
    "methods": "jobtool.cli.methods",
    "routes": "jobtool.cli.routes",
    "ls": "jobtool.cli.ls",
    "cat": "jobtool.cli.cat",
    "get": "jobtool.cli.get",
    "refs": "jobtool.cli.refs",
    "where": "jobtool.cli.where",
    "copies": "jobtool.cli.copies",
    "catalog": "jobtool.cli.catalog",
    "stage": "jobtool.cli.stage",
    "unstage": "jobtool.cli.unstage",
    "completion": "jobtool.cli.completion",
    "man": "jobtool.cli.man",
}


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
