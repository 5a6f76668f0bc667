"""The table of one call's files, from which its joblist is made."""

from __future__ import annotations

import csv
import io
import os

import msgspec

from jobtool.errors import InfrastructureError, UsageError, reason_of
from jobtool.jobs.atomic_write import replace_file
from jobtool.jobs.settings import FILENAME
from jobtool.names import quote

_SUFFIX = ".csv"


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """Files with their names, and the URL of the folder that they go to under these names."""

    rows: tuple[tuple[str, str], ...]
    destination: str


def write_table(joblist: str, files: Files) -> str:
    """Write the table beside the folder of a joblist, and return its path.

    One of a call that made no joblist, as if its arguments were refused, is replaced. Raises
    ``UsageError`` if the joblist is there with other files, and ``InfrastructureError``.
    """
    path, data = joblist + _SUFFIX, _text_of(files).encode()
    try:
        if not (os.path.exists(path) and os.path.exists(os.path.join(joblist, FILENAME))):
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            replace_file(path, data)
            return path
        with open(path, "rb") as file:
            found = file.read()
    except OSError as error:
        raise InfrastructureError(f"{quote(path)}: {reason_of(error)}") from None
    if found != data:
        raise UsageError(
            f"{quote(joblist)}: expected the joblist of this call, or none; {quote(path)} lists "
            "other files. Name another folder by joblist=…"
        )
    return path


def _text_of(files: Files) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("src_path", "dst_path"))
    rows.writerows((quote(source), quote(name)) for source, name in files.rows)
    return text.getvalue()
