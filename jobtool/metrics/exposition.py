"""Prometheus's text format, version 0.0.4.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/. In a label's value a
backslash, a double quote and a line feed are escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from jobtool.names import quote

Labels = tuple[tuple[str, str], ...]


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """A metric with its samples: values by labels."""

    name: str
    help: str
    type: Literal["counter", "gauge"]
    samples: Mapping[Labels, float]


def text_of(families: Iterable[Family]) -> str:
    """Return families in the text format. Those without samples are left out."""
    lines: list[str] = []
    for family in families:
        if not family.samples:
            continue
        lines.append(f"# HELP {family.name} {family.help}")
        lines.append(f"# TYPE {family.name} {family.type}")
        for labels, value in family.samples.items():
            pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels)
            lines.append(f"{family.name}{{{pairs}}} {value!r}")
    return "\n".join(lines) + "\n"


def as_label(name: str) -> str:
    """Return a name as the value of a label: one line of UTF-8, whatever bytes the name has."""
    return quote(name)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
