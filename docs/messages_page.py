"""docs/reference/messages.md: exit codes, what people meet most, and every message there is."""

from __future__ import annotations

import html
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

from error_templates import all_kinds, templates

from jobtool.errors import JobtoolError

EXAMPLES = Path(__file__).parents[1] / "tests" / "messages" / "examples.json"

INTRODUCTION = """\
<!-- Written by docs/generate_reference.py from the code. Don't edit it by hand. -->

# Messages

An error that ends a command is one line on standard error. It names the thing, what was expected,
what was found, and what to do next. What goes wrong with a single job is in its file, in
`summarise-jobs` and in `jobtool show`; the other jobs go on.

What the answers of stores mean, code by code: [Errors of stores](errors.md).

## Exit codes

| code | meaning | what to do |
| --- | --- | --- |
| 0 | nothing left to claim and nothing in error | nothing |
| 1 | a job is in error, or what was looked for isn't there | mend it, then `jobtool retry` |
| 2 | wrong usage or configuration | correct the command or the file that the message names |
| 3 | stopped early, work is left | run it again |
| 4 | environment problem: credentials, storage or network | mend it, run it again; no job failed |
| 5 | all that is left waits for files that can't be read yet, or is paused | run it again later |
| 74 | in place of 0: not all of the output could be written | free some space, run it again |
| 130 | Ctrl-C twice | run it again |

Some commands give a code another meaning of the same kind, which [their help](commands.md) names.

## Kinds of errors

In Python these are classes of `jobtool.errors`, each a kind of the one above it. *About* says what
else can go on: the other files (file), the other jobs (job), or nothing (store). *May pass*: it is
tried again by itself.

| class | exit code | about | may pass | meaning |
| --- | --- | --- | --- | --- |
"""

MET = """\
## Messages that people meet

What these commands print, in a folder `/data` with the joblists `list` (not begun) and `done`. A
test runs each of them.
"""

ALL = """\
## All messages

Every message, by the class of its error, as the code has it. Words in capitals stand for what
differs, `…` for other text. A message may stand behind the name of a file, a job or an option, and
before further advice.
"""

VALUES = """\
Of values that can't be used. They stand behind the name of the option, the key or the file.
"""


def messages_page() -> str:
    """Return the whole page."""
    lines = [INTRODUCTION + "\n".join(_kinds()), "", MET, *_examples(), ALL, *_templates()]
    return "\n".join(lines) + "\n"


def _kinds() -> Iterator[str]:
    public = [each for each in all_kinds() if each.__module__ == "jobtool.errors"]
    for each in public:
        depth = sum(issubclass(each, other) for other in public) - 1
        meaning = _first_sentence(each.__doc__ or "")
        name = "&nbsp;&nbsp;" * depth + f"`{each.__name__}`"
        may_pass = "yes" if each.retryable else "no"
        yield f"| {name} | {each.exit_code} | {each.scope} | {may_pass} | {meaning} |"


def _first_sentence(text: str) -> str:
    paragraph = " ".join(inspect.cleandoc(text).split("\n\n")[0].split())
    return paragraph.replace("``", "`").replace("|", "\\|")


def _examples() -> Iterator[str]:
    topic = None
    for each in json.loads(EXAMPLES.read_text(encoding="utf-8")):
        if each["topic"] != topic:
            topic = each["topic"]
            yield from (f"### {topic}", "")
        yield from ("```text", f"$ {each['command']}", each["message"])
        yield from (f"(exit code {each['exit_code']})", "```", "")


def _templates() -> Iterator[str]:
    found: dict[type[Exception], dict[str, None]] = {}
    for each in templates():
        found.setdefault(each.kind, {})[each.text] = None
    for kind in sorted(found, key=lambda each: each.__name__):
        yield from (f"### {kind.__name__}", "")
        if issubclass(kind, JobtoolError):
            yield from (f"{_first_sentence(kind.__doc__ or '')} Exit code {kind.exit_code}.", "")
        else:
            yield from (VALUES.strip(), "")
        for text in sorted(found[kind], key=str.lower):
            yield f"- {_escaped(text)}"
        yield ""


def _escaped(text: str) -> str:
    """Return a message as Markdown shows it: with its own signs, on one line."""
    shown = " ".join(html.escape(text, quote=False).split())
    return re.sub(r"([\\`*_\[\]{}#|])", r"\\\1", shown)
