"""The jobs by the values of their layout fields."""

from __future__ import annotations

from typing import Any

import msgspec

from jobtool.jobs.job import JobStatus
from jobtool.names import quote
from jobtool.report.jobline import JobLine

#: A field with so many values is worth a table that nobody has asked for.
FEWEST_VALUES, MOST_VALUES = 2, 20


class FieldValue(msgspec.Struct, kw_only=True):
    """The jobs with one value of a layout field. ``bytes_done`` have arrived."""

    value: str
    jobs: int = 0
    done: int = 0
    ongoing: int = 0
    error: int = 0
    bytes_done: int = 0

    def add(self, line: JobLine, sign: int = 1) -> None:
        """Count a job; take it out with the sign -1."""
        self.jobs += sign
        self.done += sign * (line.status is JobStatus.SUCCESS)
        self.ongoing += sign * (line.status is JobStatus.ONGOING)
        self.error += sign * (line.status in (JobStatus.ERROR, None))
        self.bytes_done += sign * line.brought[1]

    def json(self) -> dict[str, Any]:
        """Return plain values."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return {**values, "value": quote(self.value)}


class FieldCounts:
    """How many jobs have which value of which field, in the order of fields in job files."""

    def __init__(self) -> None:
        self._fields: dict[str, dict[str, int]] = {}

    def add(self, line: JobLine, sign: int = 1) -> None:
        """Count a job; take it out with the sign -1."""
        for name, value in line.fields.items():
            values = self._fields.get(name)
            if values is None:
                values = self._fields[name] = {}
            values[value] = count = values.get(value, 0) + sign
            if not count:
                del values[value]

    @property
    def names(self) -> list[str]:
        """The fields that some job has."""
        return [name for name, values in self._fields.items() if values]

    def telling(self) -> str | None:
        """Return the first field that has a few values, some of them shared by jobs; else None."""
        for name, values in self._fields.items():
            is_few = FEWEST_VALUES <= len(values) <= MOST_VALUES
            if is_few and sum(values.values()) > len(values):
                return name
        return None


class FieldTable:
    """The jobs by the values of one field, ``name``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._values: dict[str, FieldValue] = {}

    def add(self, line: JobLine, sign: int = 1) -> None:
        """Count a job; take it out with the sign -1. Jobs without the field aren't counted."""
        value = line.fields.get(self.name)
        if value is None:
            return
        found = self._values.get(value)
        if found is None:
            found = self._values[value] = FieldValue(value=value)
        found.add(line, sign)
        if not found.jobs:
            del self._values[value]

    @property
    def values(self) -> list[FieldValue]:
        """The values, sorted."""
        return [self._values[value] for value in sorted(self._values)]
