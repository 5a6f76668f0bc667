"""Processes that a catalog must survive.

``python -m tests.catalog.victim STEP NTH CATALOG``: a compaction that kills itself at a step. See
``tests.faults.victim``. ``… write NAME CATALOG``: a writer that prints a line for each flush.
"""

from __future__ import annotations

import sys

from tests.faults.victim import COMPACTION_STEPS, arm, store_class

FLUSHES = 25
ITEMS = 7


def main() -> None:
    """Compact, and die at the step; or write."""
    what, argument, place = sys.argv[1:]
    if what == "write":
        write(argument, place)
        return
    from jobtool.catalog.compaction import compact

    arm(COMPACTION_STEPS[what], int(argument), store_class(place))
    compact(place)


def write(name: str, place: str) -> None:
    """Flush copies of a few items, each time with newer evidence."""
    from jobtool.catalog.writer import CatalogWriter
    from tests.catalog.made import a_copy

    writer = CatalogWriter(place, name)
    for number in range(FLUSHES):
        writer.add([a_copy(f"item{number % ITEMS}", number, url=f"/{name}", size=number)])
        writer.flush()
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
