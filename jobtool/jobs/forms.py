"""The forms in which a file may be stored: as it is, compressed, or unpacked.

A plan names each file of a destination as the source does. A compressed file is stored with an
ending added to that name, an unpacked one without it. ``Form`` says which, in receipts too.
"""

from __future__ import annotations

from typing import Literal, get_args

#: The setting ``compression``.
Compression = Literal["none", "zstd", "gzip", "unpack"]

#: A form other than the source's own.
Form = Literal["zstd", "gzip", "unpack-zstd", "unpack-gzip"]

FORMS: tuple[Form, ...] = get_args(Form)

#: The forms that are compressed, with the endings of their names.
ENDINGS: dict[Form, str] = {"zstd": ".zst", "gzip": ".gz"}

#: The forms that are unpacked, with the endings that their names lose.
LOST_ENDINGS: dict[Form, str] = {"unpack-zstd": ".zst", "unpack-gzip": ".gz"}


def form_for(path: str, compression: Compression) -> Form | None:
    """Return the form that a file may get by its planned path; None if it is stored as it is."""
    if compression == "unpack":
        for form, ending in LOST_ENDINGS.items():
            name = path.rpartition("/")[2]
            if name.endswith(ending) and name != ending:
                return form
        return None
    return None if compression == "none" else compression


def stored_path(planned: str, form: Form) -> str:
    """Return the path or URL at which a file is stored, from the planned one."""
    if form in ENDINGS:
        return planned + ENDINGS[form]
    return planned.removesuffix(LOST_ENDINGS[form])


def planned_path(stored: str, form: str | None) -> str:
    """Return the planned path or URL of a file from the stored one.

    An unknown form, such as one of a later version, changes nothing.
    """
    if form in ENDINGS:
        return stored.removesuffix(ENDINGS[form])
    return stored + LOST_ENDINGS[form] if form in LOST_ENDINGS else stored
