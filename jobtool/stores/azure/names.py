"""The names of accounts, containers and blobs.

Sources: Microsoft, "Naming and Referencing Containers, Blobs, and Metadata" and "Storage account
overview"; rclone's ``azureblob`` for what the service does to names that it doesn't refuse.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from jobtool.errors import FileError
from jobtool.names import quote

_CONTAINER = r"(?:[a-z0-9](?:-?[a-z0-9]){2,62}|\$(?:root|web|logs))"
_HOST = r"[a-z0-9]{3,24}\.(?:dfs|blob)\.[a-z0-9.-]+[a-z0-9]"

#: The part of a URL after ``://``: a container, and perhaps the host of its account.
NAME = rf"{_CONTAINER}(?:@{_HOST})?"
NAME_SHOWN = (
    "3 to 63 lower-case letters, digits or single '-' between them, and perhaps the account, as in "
    "CONTAINER@ACCOUNT.dfs.core.windows.net"
)

#: The longest name of a blob in characters, and the most parts between its slashes.
MAX_CHARACTERS = 1024
MAX_PARTS = 254

# The service takes a backslash for a slash, and drops a dot at the end of a part.
_UNFIT = re.compile(
    r"(?P<control>[\x00-\x1f\x7f-\x9f\ufffe\uffff])|(?P<slash>\\)|(?P<dot>\.(?=/|$))"
)
_REASONS = {
    "control": "a control character",
    "slash": "a backslash, which the service takes for a slash",
    "dot": "a part that ends in a dot, which the service drops",
}


def container_of(name: str) -> str:
    """Return the container in the part of a URL after ``://``."""
    return name.partition("@")[0]


def blob_endpoint_of(name: str) -> str | None:
    """Return the URL of the account in the part of a URL after ``://``, or None if it has none.

    The host of Data Lake Storage, ``ACCOUNT.dfs.core.windows.net``, has the same files as
    ``ACCOUNT.blob.core.windows.net``.
    """
    host = name.partition("@")[2]
    if not host:
        return None
    account, _, rest = host.partition(".")
    return f"https://{account}.blob.{rest.partition('.')[2]}"


def account_of(account_url: str) -> str:
    """Return the name of the account that a URL is of; empty if it can't be told.

    It is the first label of the host. Behind an address, ``localhost`` or a plain host name it is
    the path, as with Azurite.
    """
    parts = urlsplit(account_url)
    host, path = parts.hostname or "", parts.path.strip("/")
    if path:
        return path.partition("/")[0]
    return host.partition(".")[0] if ".blob." in host else ""


def blob_name(prefix: str, path: str, url: str) -> str:
    """Return the name of a file's blob. Raise ``FileError`` if Azure can't hold it as it is.

    ``url`` is the file's, for the message.
    """
    name = prefix + path
    try:
        name.encode()
    except UnicodeEncodeError:
        reason = "bytes that aren't UTF-8"
    else:
        found = _UNFIT.search(name)
        if found is not None:
            reason = _REASONS[str(found.lastgroup)]
        elif len(name) > MAX_CHARACTERS:
            reason = f"{len(name)} characters, and {MAX_CHARACTERS} are the most"
        elif name.count("/") >= MAX_PARTS:
            reason = f"{name.count('/') + 1} parts, and {MAX_PARTS} are the most"
        else:
            return name
    raise FileError(
        f"{quote(url)}: expected a name that Azure can hold; found {reason}. Rename the file."
    )
