"""The JSON that each command prints with ``--json``, as JSON Schemas (draft 2020-12).

``OUTPUTS`` says which command prints what: whole modules of events, so that a new event needs no
entry here, and types of other lines. The schemas are made from these types. Each line of a
command's output is one of them.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any, TypedDict

import msgspec

from jobtool.audit.events import Finding, LeftAlone, Leftover, PutBack, TimesIgnored, Verified
from jobtool.cli import lines
from jobtool.doctor.checkresult import CheckResult
from jobtool.events import Event
from jobtool.notify.notice import Notice
from jobtool.report.documents import ShownJobDocument, SummaryDocument
from jobtool.report.optionsset import OptionsSet
from jobtool.report.steered import Steered

DIALECT = "https://json-schema.org/draft/2020-12/schema"

#: The modules of the events of workers.
WORKER_EVENTS = (
    "jobtool.worker.events.files",
    "jobtool.worker.events.jobs",
    "jobtool.worker.events.steps",
    "jobtool.worker.events.preview",
    "jobtool.worker.events.workers",
    "jobtool.worker.events.runs",
    "jobtool.worker.events.steering",
    "jobtool.metrics.events",
    "jobtool.notify.events",
)


class Rank(TypedDict, total=False):
    """What each line of one worker of several has in addition."""

    host: str
    rank: int
    worker: int


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """What one command prints with ``--json``.

    ``modules`` are modules all of whose events it prints, ``types`` further events and lines. With
    ``is_document`` it prints one JSON document. ``more`` are fields that lines may have in
    addition.
    """

    modules: tuple[str, ...] = ()
    types: tuple[type, ...] = ()
    is_document: bool = False
    more: type | None = None

    def all_types(self) -> list[type]:
        """Return the types of its lines, the events first."""
        return [*dict.fromkeys([*events_of(self.modules), *self.types])]


OUTPUTS: dict[str, Output] = {
    "generate": Output(
        modules=("jobtool.layouts.events", "jobtool.bundling.events", "jobtool.mirror.events")
    ),
    "export": Output(modules=("jobtool.export.events",)),
    "receive": Output(modules=("jobtool.receiving.events",)),
    "transfer": Output(modules=WORKER_EVENTS, more=Rank),
    "summarise": Output(types=(SummaryDocument,), is_document=True),
    "pause": Output(types=(Steered,)),
    "resume": Output(types=(Steered,)),
    "stop": Output(types=(Steered,)),
    "set": Output(types=(OptionsSet,)),
    "report": Output(types=(lines.ReportLine,)),
    "show": Output(types=(ShownJobDocument,), is_document=True),
    "verify": Output(types=(Finding, TimesIgnored, PutBack, LeftAlone, Verified)),
    "notify": Output(modules=("jobtool.notify.events",), types=(Notice,)),
    "excluded": Output(modules=("jobtool.layouts.excluded",)),
    "retry": Output(types=(PutBack, LeftAlone)),
    "receipts": Output(types=(lines.ReceiptsLine,)),
    "clean": Output(types=(Leftover, LeftAlone)),
    "release": Output(modules=("jobtool.release.events",), types=(LeftAlone,)),
    "doctor": Output(types=(CheckResult,)),
    "methods": Output(types=(lines.MethodChoiceLine,)),
    "routes": Output(types=(lines.RouteLine,), is_document=True),
    "ls": Output(types=(lines.MemberLine, lines.ReindexedLine)),
    "get": Output(modules=("jobtool.packages.readevents",)),
    "refs": Output(types=(lines.ReferencesLine,)),
    "where": Output(types=(lines.CopyLine,)),
    "copies": Output(types=(lines.ItemLine,)),
    "catalog compact": Output(types=(lines.CompactedLine,)),
    "catalog rebuild": Output(types=(lines.RebuiltLine,)),
    "stage": Output(
        modules=WORKER_EVENTS,
        types=(lines.StageItemLine, lines.StageSkippedLine, lines.StagingLine, lines.StagedLine),
    ),
    "unstage": Output(types=(lines.UnstagedLine,)),
    "impala-transfer": Output(modules=("jobtool.export.events", *WORKER_EVENTS), more=Rank),
}


def events_of(modules: tuple[str, ...]) -> list[type[Event]]:
    """Return the classes of events that are defined in these modules, in their order."""
    return [
        found
        for module in modules
        for found in vars(import_module(module)).values()
        if isinstance(found, type) and issubclass(found, Event) and found.__module__ == module
    ]


def schema_of(command: str) -> dict[str, Any]:
    """Return the JSON Schema of a command's output: of each line, or of its only document."""
    output = OUTPUTS[command]
    types = output.all_types()
    asked = [*types, output.more] if output.more else types
    references, components = msgspec.json.schema_components(asked, ref_template="#/$defs/{name}")
    more = {}
    if output.more:
        more = components.pop(references[-1]["$ref"].rpartition("/")[2])["properties"]
        references = references[: len(types)]
    for found, reference in zip(types, references, strict=True):
        values = components[reference["$ref"].rpartition("/")[2]]
        if issubclass(found, Event):  # which prints all its fields
            values["properties"] = {"event": {"const": found.kind}, **values["properties"]}
            values["required"] = list(values["properties"])
        values["properties"].update(more)
    for name, values in components.items():
        if any("default" in field for field in values.get("properties", {}).values()):
            values["required"] = [key for key in values["properties"] if key not in more]
        components[name] = _tidy(values)
    what = "The JSON document" if output.is_document else "Each line of the output"
    program = command if command == "impala-transfer" else f"jobtool {command}"
    return {
        "$schema": DIALECT,
        "title": f"{program} --json",
        "description": f"{what} of {program} --json.",
        **(references[0] if len(references) == 1 else {"anyOf": list(references)}),
        "$defs": dict(sorted(components.items())),
    }


def file_of(command: str) -> str:
    """Return the name of the file of a command's schema."""
    return f"{command.replace(' ', '-')}.json"


def closed(schema: Any) -> Any:
    """Return a schema that refuses fields which it doesn't name; for tests of what is printed."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    values = {key: closed(part) for key, part in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        values["additionalProperties"] = False
    return values


def _tidy(schema: Any) -> Any:
    """Return a schema without defaults, which are for reading, in its shortest form."""
    if isinstance(schema, list):
        return [_tidy(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    values = {key: _tidy(part) for key, part in schema.items() if key != "default"}
    if isinstance(text := values.get("description"), str):
        paragraphs = inspect.cleandoc(text).replace("``", "`").split("\n\n")
        values["description"] = "\n\n".join(" ".join(part.split()) for part in paragraphs)
    choices = values.get("anyOf", [])
    if choices and all(list(choice) == ["type"] for choice in choices):
        return {"type": [choice["type"] for choice in choices]}
    if len(words := values.get("enum", [])) == 1:
        return {"const": words[0]}
    return values
