"""The ``[filters]`` table of joblist.toml: which files of the source are transferred."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec

_Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Time = Annotated[datetime, msgspec.Meta(tz=True)]

#: The folder of a joblist with lists of names.
NAMES_FOLDER = "names"

#: Where a list lies in its joblist: its name begins with the digest of its names.
_Names = Annotated[str, msgspec.Meta(pattern=rf"^{NAMES_FOLDER}/[0-9a-f]{{32}}\Z")]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class FilterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[filters]`` table.

    ``rules`` are ``+ PATTERN`` or ``- PATTERN``, of which the first that matches a path decides;
    see ``jobtool.filters.glob``. Files from ``min_bytes`` to ``max_bytes`` that were changed from
    ``modified_since`` to ``modified_until`` are transferred. None is no bound. The times are fixed
    when the table is written, so that each attempt at a job selects the same files. ``files_from``
    is the joblist's list of the only files that are transferred (``jobtool.filters.namelist``).
    """

    rules: tuple[str, ...] = ()
    min_bytes: _Bytes | None = None
    max_bytes: _Bytes | None = None
    modified_since: _Time | None = None
    modified_until: _Time | None = None
    files_from: _Names | None = None

    def __post_init__(self) -> None:
        """Refuse malformed rules, and bounds that no file is within."""
        from jobtool.filters.rules import Rules

        try:
            Rules(self.rules)
        except ValueError as error:
            raise ValueError(f"rules: {error}") from None
        for low, high in (("min_bytes", "max_bytes"), ("modified_since", "modified_until")):
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and most is not None and least > most:
                raise ValueError(
                    f"expected {low} up to {high}; found {least} and {most}, which no file is "
                    "between"
                )

    def __bool__(self) -> bool:
        """Return True if anything is left out."""
        return self != FilterSettings()


def nanoseconds_of(time: datetime | None) -> int | None:
    """Return a time in nanoseconds since 1970; None for None."""
    return None if time is None else (time - _EPOCH) // _MICROSECOND * 1000
