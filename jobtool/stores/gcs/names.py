"""The names of buckets and objects.

Sources: Google, "About Cloud Storage buckets" and "About Cloud Storage objects".
"""

from __future__ import annotations

import re
from urllib.parse import quote as percent_encode

from jobtool.errors import FileError
from jobtool.names import quote

#: The part of a URL after ``://``.
NAME = r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"
NAME_SHOWN = "3 or more lower-case letters, digits, '-', '_' or '.', between letters or digits"

MAX_BYTES = 1024

_LINE_BREAK = re.compile(r"[\r\n]")
_ACME = ".well-known/acme-challenge/"


def object_name(prefix: str, path: str, url: str) -> str:
    """Return the name of a file's object. Raise ``FileError`` if the service can't hold it.

    ``url`` is the file's, for the message.
    """
    name = prefix + path
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        reason = "bytes that aren't UTF-8"
    else:
        if size > MAX_BYTES:
            reason = f"{size} bytes, and {MAX_BYTES} are the most"
        elif _LINE_BREAK.search(name):
            reason = "a line break"
        elif name.startswith(_ACME):
            reason = f"{_ACME} at its beginning"
        else:
            return name
    raise FileError(
        f"{quote(url)}: expected a name that Google Cloud Storage can hold; found {reason}. Rename "
        "the file."
    )


def object_place(bucket: str, name: str) -> str:
    """Return the path of an object in the JSON API."""
    return f"/storage/v1/b/{bucket}/o/{percent_encode(name, safe='~')}"


def plain_place(bucket: str, name: str) -> str:
    """Return the path of an object in the XML API."""
    return f"/{bucket}/{percent_encode(name, safe='/~')}"
