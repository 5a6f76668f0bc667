"""How the metadata and the headers of an object tell the attributes of a file.

Every object carries ``mtime`` (seconds, as rclone writes it) and ``md5chksum`` (base64, likewise)
in its metadata, so that ``rclone check`` can audit it.
"""

from __future__ import annotations

import base64
import re
from datetime import datetime
from typing import Any

from jobtool.stores.store import Attributes

_MD5 = re.compile(r"[0-9a-f]{32}")
_MTIME = re.compile(r"(-?)(\d{1,10})(?:\.(\d{1,9})\d*)?")


def in_whole_seconds(time: datetime) -> int:
    """Return a time in nanoseconds since 1970, without its fraction of a second."""
    # Listings tell milliseconds, answers to GET and HEAD whole seconds; both must compare.
    return int(time.timestamp()) * 1_000_000_000


def condition_of(attributes: Attributes) -> dict[str, str]:
    """Return the condition under which a request writes: none, or that nothing is there."""
    return {} if attributes.may_replace else {"IfNoneMatch": "*"}


def etag_of(value: str | None) -> str | None:
    """Return an ETag without the quotes that servers put around it."""
    return value.strip('"') if value else None  # as it came: some servers' are no hexadecimal


def base64_of(md5: str) -> str:
    """Return an MD5 in hex as ``Content-MD5`` and ``md5chksum`` have it."""
    return base64.b64encode(bytes.fromhex(md5)).decode()


def to_metadata(attributes: Attributes) -> dict[str, str]:
    """Return the metadata that an object carries for its file."""
    seconds, rest = divmod(abs(attributes.mtime_ns), 1_000_000_000)
    sign = "-" if attributes.mtime_ns < 0 else ""
    metadata = {"mtime": f"{sign}{seconds}.{rest:09d}"}
    if attributes.md5 is not None:
        metadata["md5chksum"] = base64_of(attributes.md5)
    return metadata


def metadata_of(answer: dict[str, Any]) -> dict[str, str]:
    """Return the metadata in an answer to boto3, their names in lower case."""
    return {name.lower(): value for name, value in answer.get("Metadata", {}).items()}


def attributes_of(metadata: dict[str, str], mtime_ns: int) -> Attributes:
    """Return what the metadata tell; ``mtime_ns`` counts where they tell no time."""
    if match := _MTIME.fullmatch(metadata.get("mtime", "")):
        sign, seconds, rest = match.groups(default="")
        mtime_ns = int(f"{sign}{seconds}{rest.ljust(9, '0')}")
    try:
        md5: str | None = base64.b64decode(metadata.get("md5chksum", ""), validate=True).hex()
    except ValueError:
        md5 = None
    return Attributes(mtime_ns=mtime_ns, md5=md5 if md5 and _MD5.fullmatch(md5) else None)
