"""The types of the JSON document of ``jobtool routes``; see ``jobtool.cli.schemas``.

A new version adds fields and never removes any.
"""

from __future__ import annotations

from typing import TypedDict

# Not as classes, since ``from`` is a word of Python.

LegDocument = TypedDict(
    "LegDocument",
    {
        "from": str,
        "to": str,
        "source": str,
        "destination": str,
        "route": str,
        "methods": list[str],
        "bandwidth": str | None,
    },
)

ConsideredDocument = TypedDict(
    "ConsideredDocument",
    {
        "route": str,
        "type": str,
        "priority": int,
        "from": str,
        "to": str,
        "verdict": str,
        "why": str,
        "usable_from": str | None,
        "assumed": list[str],
    },
)

WayDocument = TypedDict(
    "WayDocument",
    {
        "from": str,
        "to": str,
        "at": str,
        "size_bytes": int | None,
        "is_usable": bool,
        "usable_from": str | None,
        "legs": list[LegDocument],
        "considered": list[ConsideredDocument],
    },
)
