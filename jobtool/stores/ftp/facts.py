"""What FTP servers say of files: the facts of MLSD and MLST (RFC 3659, 7)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Literal

import msgspec

_TIME = re.compile(r"(\d{14})(?:\.(\d{1,9}))?\d*")
_ENTRY = re.compile(r"((?:[A-Za-z0-9.\-]+=[^;]*;)+) (.+)", re.DOTALL)

_SECOND_NS = 1_000_000_000

Kind = Literal["file", "folder", "itself", "other"]

_KINDS: dict[str, Kind] = {"file": "file", "dir": "folder", "cdir": "itself", "pdir": "itself"}


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. ``itself`` is the folder that is listed, or the one above it."""

    name: str
    kind: Kind
    size: int | None
    mtime_ns: int | None


def parse_facts(line: str) -> Facts | None:
    """Return what a line of MLSD or MLST says, or None if it is something else."""
    match = _ENTRY.fullmatch(line)
    if match is None:
        return None
    pairs = (pair.partition("=") for pair in match[1].split(";"))
    facts = {name.lower(): value for name, _, value in pairs}
    size = facts.get("size", "")
    return Facts(
        name=match[2],
        kind=_KINDS.get(facts.get("type", "").lower(), "other"),
        size=int(size) if size.isascii() and size.isdigit() else None,
        mtime_ns=time_ns(facts.get("modify", "")),
    )


def time_ns(text: str) -> int | None:
    """Return a time in nanoseconds since 1970 for ``YYYYMMDDHHMMSS.sss`` in UTC, or None."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    try:
        seconds = datetime.strptime(match[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
    return int(seconds) * _SECOND_NS + int((match[2] or "").ljust(9, "0"))
