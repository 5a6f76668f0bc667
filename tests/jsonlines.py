"""Output of commands with ``--json``, validated against the schemas in the documentation.

With no other fields allowed than those of the schemas: programs may see new fields, but each is
documented. ``tests.commands`` validates what every command prints in any test.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

_PROGRAMS = {
    "generate-joblist": "generate",
    "transfer-worker": "transfer",
    "summarise-jobs": "summarise",
    "impala-transfer": "impala-transfer",
}

WHAT_TO_DO = (
    "Name it in OUTPUTS of jobtool/cli/schemas.py or in the type that is named there, and run "
    "python docs/generate_reference.py"
)


def command_of(arguments: Sequence[str]) -> str | None:
    """The command as ``OUTPUTS`` names it; None for another program, and for none."""
    program = os.path.basename(arguments[0])
    if program in _PROGRAMS:
        return _PROGRAMS[program]
    if program != "jobtool":
        return None
    from jobtool.cli.main import COMMANDS

    words = [*arguments[1:3], ""]
    if words[0] not in COMMANDS:
        return None
    return " ".join(words[:2]) if words[0] == "catalog" else words[0]


def check_output(command: str, output: str) -> list[dict[str, Any]]:
    """Validate what a command printed; return its lines."""
    lines = [json.loads(line) for line in output.splitlines()]
    for line in lines:
        check_line(command, line)
    return lines


def check_line(command: str, line: Mapping[str, Any]) -> None:
    """Validate a line; fail with what to do."""
    by_event = _validators(command)
    wrong = []
    for validator in by_event.get(line.get("event"), ()):
        error = next(validator.iter_errors(line), None)
        if error is None:
            return
        wrong.append(f"{error.json_path}: {error.message}")
    why = "; ".join(wrong) or f"no schema has the event {line.get('event')!r}"
    raise AssertionError(f"{command} --json: {why}. {WHAT_TO_DO}.\nIt printed {line}")


@functools.cache
def _validators(command: str) -> dict[str | None, list[Any]]:
    """The validators of a command's lines by their event, None for lines without one."""
    from jsonschema import Draft202012Validator

    from jobtool.cli.schemas import OUTPUTS, closed, schema_of

    assert command in OUTPUTS, f"{command} --json has no schema. {WHAT_TO_DO}."
    schema = closed(schema_of(command))
    found: dict[str | None, list[Any]] = {}
    for reference in schema.get("anyOf") or [{"$ref": schema["$ref"]}]:
        name = reference["$ref"].rpartition("/")[2]
        event = schema["$defs"][name]["properties"].get("event", {}).get("const")
        validator = Draft202012Validator({"$defs": schema["$defs"], **reference})
        found.setdefault(event, []).append(validator)
    return found
