"""docs/reference/json.md and the JSON Schemas beside it, from ``jobtool.cli.schemas``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from jobtool.cli.schemas import OUTPUTS, file_of, schema_of
from jobtool.events import Event

INTRODUCTION = """\
<!-- Written by docs/generate_reference.py from the code. Don't edit it by hand. -->

# JSON

With `--json` a command prints JSON on standard output: one object on each line, or one in all.
Errors that end a command are text on standard error, as without `--json`, and the [exit
codes](messages.md#exit-codes) are the same.

The schemas below (JSON Schema, draft 2020-12) describe each line. They are made from the types that
the commands print, and tests validate the commands' output against them.

New versions add fields and kinds of events, and never remove or rename any. So a program must
ignore what it doesn't know. The schemas allow other fields than theirs for the same reason.

## Validate

With the Python package [jsonschema](https://python-jsonschema.readthedocs.io), for instance before
a program of yours relies on fields:

```python
import json
import subprocess
from pathlib import Path

import jsonschema

schema = json.loads(Path("docs/reference/schemas/summarise.json").read_text())
found = subprocess.run(["summarise-jobs", "source08", "--json"], capture_output=True, text=True)
for line in found.stdout.splitlines():
    jsonschema.validate(json.loads(line), schema)
```

## Schemas

| command | prints | schema |
| --- | --- | --- |
"""


WORKERS = """\
Objects with an `event` are lines; the others are parts of them. Lines of one worker of several have
`host` and `rank` in addition, those of `impala-transfer` with several workers `worker`. Sizes are
in bytes if their name doesn't say otherwise. Paths and names of jobs are spelled as in [job
files](job-files.md).
"""

#: The verbosity from which on an event is printed, by the name of its class.
_LEVELS = {
    each.__name__: int(each.level)
    for output in OUTPUTS.values()
    for each in output.all_types()
    if issubclass(each, Event)
}

#: Fields that `WORKERS` describes.
_OF_RANKS = ("host", "rank", "worker")


def json_page() -> str:
    """Return the whole page."""
    rows = []
    for command, output in OUTPUTS.items():
        program = command if command == "impala-transfer" else f"jobtool {command}"
        what = "one object" if output.is_document else "JSON lines"
        name = file_of(command)
        rows.append(f"| `{program}` | {what} | [{name}](schemas/{name}) |")
    lines = [INTRODUCTION + "\n".join(rows), ""]
    schemas = {command: schema_of(command) for command in OUTPUTS}
    lines += ["## Objects", "", *WORKERS.splitlines(), ""]
    printed_by: dict[str, list[str]] = {}
    kinds: dict[str, dict[str, Any]] = {}
    for command, schema in schemas.items():
        for name, values in schema["$defs"].items():
            if "properties" not in values:  # words, which are told where they are used
                continue
            kind = values["properties"].get("event", {}).get("const")
            heading = f"`{kind}`" if kind else _words(name)
            key = f"{heading} {sorted(set(values['properties']) - set(_OF_RANKS))}"
            printed_by.setdefault(key, []).append(command)
            kinds.setdefault(key, {"heading": heading, "all": schema["$defs"], **values})
    for key in sorted(kinds, key=lambda each: kinds[each]["heading"].strip("`").lower()):
        lines += _object(kinds[key], printed_by[key])
    return "\n".join(lines)


def schema_files() -> dict[str, str]:
    """Return the files of schemas by their names below ``docs/reference``, and their texts."""
    return {
        f"schemas/{file_of(command)}": json.dumps(schema_of(command), indent=1) + "\n"
        for command in OUTPUTS
    }


def _object(values: dict[str, Any], commands: list[str]) -> Iterator[str]:
    optional = set(values["properties"]) - set(values.get("required", ()))
    hidden = {"event"} | (optional & set(_OF_RANKS))
    fields = {name: each for name, each in values["properties"].items() if name not in hidden}
    yield from (f"### {values['heading']}", "")
    of = "Of " + ", ".join(f"`{command}`" for command in dict.fromkeys(commands))
    level = _LEVELS.get(values["title"], 0)
    yield from (f"{of}{f', from `-v {level}` on' if level > 1 else ''}.", "")
    if text := values.get("description"):
        for word, spelled in (("None", "null"), ("True", "true"), ("False", "false")):
            text = re.sub(rf"\b{word}\b", spelled, text)
        yield from (text, "")
    if fields:
        yield from ("| field | type |", "| --- | --- |")
        for name, field in fields.items():
            absent = ", may be absent" if name in optional else ""
            yield f"| `{name}` | {_type(field, values['all'])}{absent} |"
        yield ""


def _type(field: dict[str, Any], known: dict[str, Any]) -> str:
    """Return a type in words; ``known`` are the definitions that it may refer to."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return _words(name) if "properties" in known[name] else _type(known[name], known)
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{word}`" for word in field["enum"])
    if "anyOf" in field:
        return " or ".join(_type(each, known) for each in field["anyOf"])
    kinds = field.get("type", "any")
    if "prefixItems" in field:
        return f"[{', '.join(_type(each, known) for each in field['prefixItems'])}]"
    if kinds == "array":
        return f"list of {_type(field.get('items', {}), known)}"
    if kinds == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"object of {_type(field['additionalProperties'], known)}"
    return " or ".join([kinds] if isinstance(kinds, str) else kinds)


def _words(name: str) -> str:
    """Return the name of a type as words: ``job object``."""
    words = "".join(f" {sign.lower()}" if sign.isupper() else sign for sign in name).split()
    return " ".join([*(word for word in words if word not in ("document", "values")), "object"])
