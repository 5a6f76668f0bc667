"""How much of a queue makes a batch, as pure functions."""

from __future__ import annotations

#: The largest batch. Little is done again when a helper dies, and all workers end together.
BATCH_BYTES = 256 * 1024 * 1024
BATCH_FILES = 4096

#: With less work left than this nothing is shared: doing it is faster than sharing it.
WORTH_BYTES = 32 * 1024 * 1024
WORTH_FILES = 64

#: How many batches may be shared for each helper: the one it works on, and the next.
BATCHES_PER_HELPER = 2


def portion_of(left: int, *, helpers: int, threads: int) -> int:
    """Return how many of ``left`` equal pieces of work make a batch.

    A batch is a share of what is left. So batches become smaller towards the end, and all workers
    finish at about the same time. A batch has enough for all ``threads`` of a helper. All pieces
    may be shared: an idle holder takes back batches that no helper has begun.
    """
    return max(left // (BATCHES_PER_HELPER * (helpers + 1)), min(left, threads))
