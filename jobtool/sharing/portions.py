"""How much of a queue makes a batch: pure decisions."""

from __future__ import annotations

#: No batch is larger, so that little is done again when its worker dies, and all end together.
BATCH_BYTES = 256 * 1024 * 1024
BATCH_FILES = 4096

#: With less left than this nothing is shared: it is done sooner than it is asked for.
WORTH_BYTES = 32 * 1024 * 1024
WORTH_FILES = 64

#: How many batches may be out for each helper: the one it works on, and the next.
BATCHES_PER_HELPER = 2


def portion_of(left: int, *, helpers: int, threads: int) -> int:
    """Return how many of ``left`` equal pieces of work make a batch.

    A share of what is left, so that batches become smaller towards the end and all workers finish
    at about the same time; but enough for all ``threads`` of a helper. All are shared, down to the
    last: what no helper has begun once the holder is idle is taken back.
    """
    return max(left // (BATCHES_PER_HELPER * (helpers + 1)), min(left, threads))
