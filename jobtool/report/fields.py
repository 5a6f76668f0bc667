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
    """The values of all fields, in the order in which fields come in job files."""

    def __init__(self) -> None:
        self._fields: dict[str, dict[str, FieldValue]] = {}

    def add(self, line: JobLine, sign: int = 1) -> None:
        """Count a job; take it out with the sign -1."""
        for name, value in line.fields.items():
            values = self._fields.setdefault(name, {})
            found = values.get(value)
            if found is None:
                found = values[value] = FieldValue(value=value)
            found.add(line, sign)
            if not found.jobs:
                del values[value]

    @property
    def names(self) -> list[str]:
        """The fields that some job has."""
        return [name for name, values in self._fields.items() if values]

    def values_of(self, name: str) -> list[FieldValue]:
        """Return the values of a field, sorted; none if no job has it."""
        values = self._fields.get(name, {})
        return [values[value] for value in sorted(values)]

    def telling(self) -> str | None:
        """Return the first field that has a few values; None if there is none."""
        counted = ((name, len(values)) for name, values in self._fields.items())
        return next((name for name, n in counted if FEWEST_VALUES <= n <= MOST_VALUES), None)
