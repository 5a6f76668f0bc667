"""Write the generated pages of docs/reference, and the JSON Schemas, from the code.

With ``--check`` nothing is written; the exit code is 1 if a page differs from the code.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

import click

from jobtool.cli.main import COMMANDS
from jobtool.stores.azure import codes as azure_codes
from jobtool.stores.azure.errors import failures as azure_failures
from jobtool.stores.gcs import codes as gcs_codes
from jobtool.stores.gcs.errors import failures as gcs_failures
from jobtool.stores.hdfs.errors import VERDICTS as HDFS_VERDICTS
from jobtool.stores.http.errors import STATUSES as HTTP_STATUSES
from jobtool.stores.local.errors import READING, WITHOUT_ROOT, WRITING
from jobtool.stores.s3 import codes
from jobtool.stores.s3.errors import failures
from jobtool.stores.sftp import errors as sftp_errors
from jobtool.stores.verdict import Verdict

sys.path.insert(0, str(Path(__file__).parent))

from json_page import json_page, schema_files
from messages_page import messages_page
from stores_table import stores_page

REFERENCE = Path(__file__).parent / "reference"
SCHEMAS = REFERENCE / "schemas"

INTRODUCTION = """\
<!-- Written by docs/generate_reference.py from the code. Don't edit it by hand. -->

# Commands

`generate-joblist`, `transfer-worker` and `summarise-jobs` are programs of their own, and every
command is a subcommand of `jobtool`, except `impala-transfer`, which is a program alone. Long
options may be written with dashes or underscores: `--input-path` and `--input_path` are the same.
"""

#: Programs that are no subcommands of ``jobtool``, and the modules whose ``cli`` they are.
PROGRAMS = {"impala-transfer": "jobtool.cli.impala_transfer.command"}

ERRORS_INTRODUCTION = """\
<!-- Written by docs/generate_reference.py from the code. Don't edit it by hand. -->

# Errors of stores

The answer of a store decides what an error is about:

| about | what happens |
| --- | --- |
| file | the file is in error, and the other files of the job continue |
| store | the worker stops with exit code 4, and its job goes back to `todo` |
| uncertain | one file or all: the file's if other files arrive, else the store itself is checked |

Errors that may pass are tried again: a few times, or for `patience_seconds` if a store can't be
reached.
"""

S3_CODES = """\
The error codes of S3 and compatible servers. If an answer has no code, or one that isn't listed
here, its HTTP status decides.
"""

S3_STATUSES = """\
A row for a status takes precedence over one for its class, such as `4xx`. `2xx` is an answer with
a success status that isn't an S3 answer.
"""

S3_FAILURES = "Failures without an answer, or with one that can't be read."

AZURE_CODES = "The error codes of Azure Blob Storage. If there is none, the HTTP status decides."

AZURE_STATUSES = "A row for a status takes precedence over one for its class."

GCS_CODES = """\
Reasons of the JSON API begin with a small letter, codes of the XML API with a capital one. If there
is none, the HTTP status decides.
"""

HDFS_EXCEPTIONS = "By the names of Java's classes, which the NameNode and WebHDFS give."

SFTP_READING = "The statuses of the SFTP protocol. Any other may pass, and is about the file."

WEB_STATUSES = "Other statuses are judged by their class: `4xx` is about the file, `5xx` may pass."

#: Heading, introduction and rows of each table of errors.
ERROR_TABLES: list[tuple[str, str, Sequence[Verdict]]] = [
    (
        "Reading local files",
        "Any other system error is about the file, and may pass.",
        READING,
    ),
    (
        "Writing local files",
        "Any other system error is about the file, and may pass. A refused mode or time of a file\n"
        "isn't an error.",
        WRITING,
    ),
    (
        "Writing local files below a destination that is not there",
        "If the destination itself isn't a folder, these codes have other meanings.",
        WITHOUT_ROOT,
    ),
    ("Codes of S3", S3_CODES.strip(), [*codes.CODES.values()]),
    ("HTTP statuses of S3", S3_STATUSES.strip(), [*codes.STATUSES.values()]),
    ("No answer of S3", S3_FAILURES, [*failures()]),
    ("Codes of Azure", AZURE_CODES, [*azure_codes.CODES.values()]),
    ("HTTP statuses of Azure", AZURE_STATUSES, [*azure_codes.STATUSES.values()]),
    ("No answer of Azure", S3_FAILURES, [*azure_failures()]),
    ("Codes of Google", GCS_CODES.strip(), [*gcs_codes.CODES.values()]),
    ("HTTP statuses of Google", AZURE_STATUSES, [*gcs_codes.STATUSES.values()]),
    ("No answer of Google", S3_FAILURES, [*gcs_failures()]),
    ("Exceptions of HDFS", HDFS_EXCEPTIONS, [*HDFS_VERDICTS.values()]),
    ("Reading by SFTP", SFTP_READING, sftp_errors.READING),
    ("Writing by SFTP", "Any other status may pass, and is about the file.", sftp_errors.WRITING),
    ("HTTP statuses of web servers", WEB_STATUSES, [*HTTP_STATUSES.values()]),
]


def errors_page() -> str:
    """Return the whole page of errors."""
    lines = [ERRORS_INTRODUCTION]
    for heading, introduction, verdicts in ERROR_TABLES:
        lines += [f"## {heading}", "", introduction, ""]
        lines += ["| code | about | may pass | meaning |", "| --- | --- | --- | --- |"]
        for verdict in verdicts:
            may_pass = "yes" if verdict.may_pass else "no"
            lines.append(f"| `{verdict.code}` | {verdict.scope} | {may_pass} | {verdict.meaning} |")
        lines.append("")
    return "\n".join(lines)


def commands_page() -> str:
    """Return the whole page of commands."""
    modules = {**COMMANDS, **PROGRAMS}
    commands = dict(commands_of((name, import_module(m).cli) for name, m in modules.items()))
    codes = {name: exit_codes(command) for name, command in commands.items()}
    common = next(iter(codes.values()))
    lines = [INTRODUCTION]
    for name, command in commands.items():
        lines += section(name, command)
        if codes[name] == common:
            lines += ["The exit codes are those [below](#exit-codes).", ""]
        else:
            lines += ["### Its exit codes", "", *code_table(codes[name]), ""]
    lines += ["## Exit codes", "", *code_table(common)]
    return "\n".join(lines) + "\n"


def commands_of(
    found: Iterable[tuple[str, click.Command]],
) -> Iterator[tuple[str, click.Command]]:
    """Yield the commands, those of a group in its place."""
    for name, command in found:
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", each) for inner, each in command.commands.items())
        else:
            yield name, command


def section(name: str, command: click.Command) -> Iterator[str]:
    """Yield the lines about one command, but for its exit codes."""
    context = click.Context(command, **command.context_settings)
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (f"## {command.name}", "")
    lines = dict.fromkeys((f"{command.name} {usage}", f"jobtool {name} {usage}"))
    if name in PROGRAMS:
        lines = {f"{name} {usage}": None}
    yield from ("```text", *lines, "```", "")
    yield from (inspect.cleandoc(command.help or ""), "")
    yield from ("| option | meaning |", "| --- | --- |")
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and not parameter.hidden:
            yield option_row(parameter)
    yield ""
    if example := paragraph(command, "Example:"):
        yield from ("Example:", "", "```text", inspect.cleandoc(example), "```", "")


def option_row(option: click.Option) -> str:
    """Return an option's row of the table."""
    spelling = ", ".join([*option.opts, *option.secondary_opts])
    kind = option.type
    if not option.is_flag and not option.count:
        choices = kind.choices if isinstance(kind, click.Choice) else ("N",)
        spelling += " " + (option.metavar or "|".join(choices))
    notes = ["required"] if option.required else []
    if isinstance(kind, click.IntRange):
        most = "" if kind.max is None else f" to {kind.max}"
        notes.append(f"{kind.min}{most}" if most else f"{kind.min} or more")
    if option.show_default and option.default is not None:
        notes.append(f"default {option.default}")
    meaning = " ".join((option.help or "").split())
    if option.envvar:
        notes.append(f"variable `{option.envvar}`")
    if notes:
        meaning += f" ({', '.join(notes)})"
    return f"| `{spelling}` | {meaning} |"


def paragraph(command: click.Command, heading: str) -> str:
    """Return the part of a command's epilog under a heading, without it."""
    epilog = inspect.cleandoc((command.epilog or "").replace("\b", ""))
    found = re.search(rf"^{heading}\n((?:[ ]+.*\n?)+)", epilog, re.MULTILINE)
    return found.group(1) if found else ""


def exit_codes(command: click.Command) -> list[tuple[str, str]]:
    """Return a command's exit codes with their meanings."""
    text = re.sub(r"\n +(?=[^ \d])", " ", paragraph(command, "Exit codes:"))
    return re.findall(r"^ +(\d+) +(.+)$", text, re.MULTILINE)


def code_table(codes: list[tuple[str, str]]) -> Iterator[str]:
    """Yield the lines of a table of exit codes."""
    yield from ("| code | meaning |", "| --- | --- |")
    for code, meaning in codes:
        yield f"| {code} | {meaning} |"


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "errors.md": errors_page,
    "json.md": json_page,
    "messages.md": messages_page,
    "stores.md": stores_page,
}


def main() -> int:
    """Write the pages, or with --check compare them; return the exit code."""
    if sys.argv[1:] not in ([], ["--check"]):
        sys.stderr.write("usage: generate_reference.py [--check]\n")
        return 2
    exit_code = 0
    texts = {name: page() for name, page in PAGES.items()} | schema_files()
    for stale in {path.name for path in SCHEMAS.glob("*.json")} - {Path(n).name for n in texts}:
        sys.stderr.write(f"{SCHEMAS / stale} belongs to no command: remove it\n")
        exit_code = 1
    for name, text in texts.items():
        path = REFERENCE / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue  # not written anew: tests may be reading it
        if not sys.argv[1:]:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        else:
            sys.stderr.write(
                f"{path} differs from the code: run python docs/generate_reference.py\n"
            )
            exit_code = 1
    return exit_code


if __name__ == "__main__":
    raise SystemExit(main())
