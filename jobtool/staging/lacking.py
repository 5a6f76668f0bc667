"""The one error for all items of a request that can't be staged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from jobtool.catalog.catalog import Catalog
from jobtool.errors import StagingError
from jobtool.names import quote, unquote
from jobtool.suggest import closest

#: How many names are compared with a misspelt one, and how many items a message names.
_MOST_COMPARED = 5000
_MOST_NAMED = 20

_ALIKE = 3


def lack_of(reasons: Mapping[str, str], catalog: Catalog, unknown: Iterable[str]) -> StagingError:
    """Return the error for items with reasons. ``unknown`` are those that aren't in the catalog."""
    meant = near_names(catalog, list(unknown)) if unknown else {}
    lines = [
        f"{quote(item)}: {reason}."
        + (f" Did you mean {quote(meant[item])}?" if item in meant else "")
        for item, reason in list(reasons.items())[:_MOST_NAMED]
    ]
    if len(reasons) > _MOST_NAMED:
        lines.append(f"And {len(reasons) - _MOST_NAMED} more.")
    return StagingError(
        f"expected items that can be staged; {len(reasons)} can't be, and nothing was changed. "
        + " ".join(lines)
        + " Correct them, or leave them out by --skip-missing."
    )


def near_names(catalog: Catalog, items: list[str]) -> dict[str, str]:
    """Return for each item the closest name in the catalog, if one is close.

    Only names that begin or end alike are compared, and so many of them.
    """
    alike: dict[str, list[str]] = {item: [] for item in items}
    for table in catalog.tables():
        for text in dict.fromkeys(table["item"].to_pylist()):
            name = unquote(text)
            for item, names in alike.items():
                is_alike = name[:_ALIKE] == item[:_ALIKE] or name[-_ALIKE:] == item[-_ALIKE:]
                if is_alike and len(names) < _MOST_COMPARED:
                    names.append(name)
    found = {item: closest(item, names) for item, names in alike.items()}
    return {item: name for item, name in found.items() if name is not None}
